// metrix.Operator on the card: mixes of two rows, and their transpose as a gather, so that every row is written by
// one thread that adds in the order of the pairs.

template <class T, int V> __device__ void mixVector(T* dst, const T* x, const int* pairs, const float* lambda, int count, int width) {
    const int per = width / V;
    for (i64 i = first(); i < (i64)count * per; i += stride()) {
        const i64 v = i / per, at = (i - v * per) * V;
        const float lam = lambda[v], rest = 1 - lam;
        float a[V], b[V];
        load(a, x + (i64)pairs[2 * v] * width + at);
        load(b, x + (i64)pairs[2 * v + 1] * width + at);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] = __fadd_rn(__fmul_rn(lam, a[k]), __fmul_rn(rest, b[k]));
        store(dst + v * width + at, a);
    }
}
template <class T> __device__ void mixBody(T* dst, const T* x, const int* pairs, const float* lambda, int count, int width) {
    VECTOR(T, width, mixVector, (dst, x, pairs, lambda, count, width))
}
BOTH(mix, mixBody, (T* dst, const T* x, const int* pairs, const float* lambda, int count, int width), (dst, x, pairs, lambda, count, width))

template <class T, int V>
__device__ void mixTransposeVector(float* dst, const T* dy, const int* starts, const int* from, const float* share, int rows, int width) {
    const int per = width / V;
    for (i64 i = first(); i < (i64)rows * per; i += stride()) {
        const i64 row = i / per, at = (i - row * per) * V;
        float* to = dst + row * width + at;
        float sum[V];
        each(sum, to);
        for (int k = starts[row]; k < starts[row + 1]; k++) {
            float g[V];
            load(g, dy + (i64)from[k] * width + at);
            const float s = share[k];
#pragma unroll
            for (int j = 0; j < V; j++) sum[j] = __fadd_rn(sum[j], __fmul_rn(s, g[j]));
        }
#pragma unroll
        for (int j = 0; j < V; j++) to[j] = sum[j];
    }
}
template <class T> __device__ void mixTransposeBody(float* dst, const T* dy, const int* starts, const int* from, const float* share, int rows, int width) {
    VECTOR(T, width, mixTransposeVector, (dst, dy, starts, from, share, rows, width))
}
BOTH(mix_transpose, mixTransposeBody, (float* dst, const T* dy, const int* starts, const int* from, const float* share, int rows, int width),
     (dst, dy, starts, from, share, rows, width))

SINGLE(gather_rows, (float* dst, const float* src, const int* index, int n, int d)) {
    for (i64 i = first(); i < (i64)n * d; i += stride()) {
        const i64 row = i / d;
        dst[i] = src[(i64)index[row] * d + (i - row * d)];
    }
}

SINGLE(scatter_add_rows, (float* dst, const float* src, const int* index, int n, int d)) {
    for (i64 i = first(); i < (i64)n * d; i += stride()) {
        const i64 row = i / d;
        dst[(i64)index[row] * d + (i - row * d)] += src[i];
    }
}
