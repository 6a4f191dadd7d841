// Updates of the flat block, in the order of operations of package optim: every product and sum is rounded by
// itself, so that the bits are those of the Go loops on a processor that does not fuse them either.

__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }

// groupOf returns the group that element i is of.
__device__ __forceinline__ int groupOf(const i64* starts, int count, i64 i) {
    int lo = 0, hi = count;
    while (hi - lo > 1) {
        const int mid = (lo + hi) / 2;
        if (starts[mid] <= i) lo = mid; else hi = mid;
    }
    return lo;
}

SINGLE(adam, (float* params, float* mean, float* square, const float* grads, const i64* starts, const AdamGroup* groups, int count)) {
    for (i64 i = starts[0] + first(); i < starts[count]; i += stride()) {
        const AdamGroup c = groups[groupOf(starts, count, i)];
        float p = params[i];
        const float g = plus(grads[i], mul(c.decay, p));
        p = mul(p, c.shrink);
        const float m = plus(mul(c.keep1, mean[i]), mul(c.new1, g));
        const float v = plus(mul(c.keep2, square[i]), mul(mul(c.new2, g), g));
        mean[i] = m;
        square[i] = v;
        params[i] = plus(p, -__fdiv_rn(mul(c.rate, m), plus(__fdiv_rn(__fsqrt_rn(v), c.correction), c.eps)));
    }
}

SINGLE(sgd, (float* params, float* buffer, const float* grads, const i64* starts, const SGDGroup* groups, float momentum, int count)) {
    for (i64 i = starts[0] + first(); i < starts[count]; i += stride()) {
        const SGDGroup c = groups[groupOf(starts, count, i)];
        const float p = params[i];
        const float b = plus(mul(momentum, buffer[i]), plus(grads[i], mul(c.decay, p)));
        buffer[i] = b;
        params[i] = plus(p, -mul(c.rate, b));
    }
}

SINGLE(clip_value, (float* x, float limit, i64 n)) {
    for (i64 i = first(); i < n; i += stride()) {
        const float v = x[i];
        x[i] = v > limit ? limit : v < -limit ? -limit : v;
    }
}

enum { SquareBlocks = 512 };

SINGLE(sum_squares, (double* partial, const float* x, i64 n)) {
    double sum = 0;
    for (i64 i = first(); i < n; i += (i64)SquareBlocks * THREADS) sum += (double)x[i] * (double)x[i];
    sum = blockSum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

SINGLE(sum_partial, (double* dst, const double* partial)) {
    const double sum = blockSum(partial[threadIdx.x] + partial[threadIdx.x + THREADS]);
    if (threadIdx.x == 0) *dst = sum;
}
