// Gradients of loss.cu. With c = dL/ds of a mix (a, p, n),
//
//	dL/dh[p] += c first,   dL/dh[n] += c second,   dL/dG[p, n] -= c s first second
//
// Every element of dh and dG is written by one thread: loss_anchor_gradient gathers over the mixes of an anchor,
// loss_pair_gradient over the anchors of a pair. With h = G (anchors are candidates) both end in one matrix dG, and
// the gradient by the rows is (dG + dG^T) X, two products of cuBLAS.

// Slopes is dL/ds at any similarity, for the clean or the mixed part of an anchor.
struct Slopes {
    LossSide positive, negative;
    float byPositive, byNegative, logPositive, logNegative;

    __device__ __forceinline__ Slopes(const LossForm& form, const LossTerm& t, const LossSlope& s, int part)
        : positive(form.positive), negative(form.negative), byPositive(s.by[2 * part]), byNegative(s.by[2 * part + 1]),
          logPositive(t.log[2 * part]), logNegative(t.log[2 * part + 1]) {}

    static __device__ __forceinline__ float one(const LossSide& f, float by, float log, float s) {
        float slope;
        const float x = rho(f, s, slope);
        return f.rho == 2 ? by * expf(x - log) * slope : by * slope;
    }
    __device__ __forceinline__ float ofPositive(float s) const { return one(positive, byPositive, logPositive, s); }
    __device__ __forceinline__ float ofNegative(float s) const { return one(negative, byNegative, logNegative, s); }
    // A mix of label y.
    __device__ __forceinline__ float ofMix(const LossForm& form, float s, float y) const {
        return y * ofPositive(s) + negativeWeight(form, y) * ofNegative(s);
    }
};

SINGLE(loss_anchor_gradient, (float* dh, const float* h, const float* g, const LossAnchor* anchors, const LossTerm* terms, const LossSlope* slopes, const float* lambdas, const unsigned char* keep, int columns, LossForm form, LossMix mix)) {
    const View v(h, g, anchors, blockIdx.x, lambdas, keep, columns);
    const LossTerm term = terms[blockIdx.x];
    const Slopes clean(form, term, slopes[blockIdx.x], 0), mixed(form, term, slopes[blockIdx.x], 1);
    float* to = dh + (i64)v.a.row * columns;
    for (int j = threadIdx.x; j < columns; j += THREADS) {
        float c = 0;
        const float s = v.h[j];
        if (v.negative(j)) {
            if (s > term.bound[1]) c = clean.ofNegative(s);
        } else if (j != v.a.self) {
            if (s < term.bound[0]) c = clean.ofPositive(s);
            if (form.all) c += clean.ofNegative(s);
        }
        to[j] = v.a.counted ? c : 0.0f;
    }
    if (mix.kind == 0 || !v.a.counted) return;
    for (int p = v.begin(mix); p < v.end(mix); p++) { // a thread meets the same n for every p
        if (p == v.skip(mix)) continue;
        const float toFirst = v.toFirst(mix, p);
        float byFirst = 0;
        for (int n = threadIdx.x; n < columns; n += THREADS) {
            if (!v.mixed(n)) continue;
            const Pair m = v.pair(mix, p, n);
            const float c = mixed.ofMix(form, m.first * toFirst + m.second * v.h[n], m.lambda);
            byFirst += c * m.first;
            to[n] += c * m.second;
        }
        byFirst = blockSum(byFirst); // orders the store below behind the loop's above
        if (mix.kind == 1 && threadIdx.x == 0) to[p] += byFirst;
    }
}

SINGLE(loss_pair_gradient, (float* dg, const float* h, const float* g, const LossAnchor* anchors, const LossRow* ranges, const LossTerm* terms, const LossSlope* slopes, const float* lambdas, const unsigned char* keep, int columns, int add, LossForm form, LossMix mix)) {
    const int p = blockIdx.x;
    const LossRow range = ranges[p];
    float* to = dg + (i64)p * columns;
    bool begun = add != 0;
    for (int a = range.a0; a < range.a1; a++) { // a thread meets the same n for every anchor
        const View v(h, g, anchors, a, lambdas, keep, columns);
        if (!v.a.counted || (v.a.self == p) != (mix.kind == 2)) continue;
        const Slopes mixed(form, terms[a], slopes[a], 1);
        const float toFirst = v.toFirst(mix, p);
        for (int n = threadIdx.x; n < columns; n += THREADS) {
            float x = 0;
            if (v.mixed(n)) {
                const Pair m = v.pair(mix, p, n);
                const float s = m.first * toFirst + m.second * v.h[n];
                x = mixed.ofMix(form, s, m.lambda) * s * m.first * m.second;
            }
            to[n] = begun ? to[n] - x : -x;
        }
        begun = true;
    }
    if (begun) return;
    for (int n = threadIdx.x; n < columns; n += THREADS) to[n] = 0;
}

// ---- mixed rows that went through the network ----

__device__ __forceinline__ bool uses(const LossAnchor& a, const LossMix& mix, int first) { return (first == a.id) == (mix.kind == 2); }

SINGLE(loss_rows_similarities, (float* s, const float* rows, const float* v, const LossAnchor* anchors, int d)) {
    const LossAnchor a = anchors[blockIdx.x];
    const float* row = rows + (i64)a.row * d;
    const int lane = threadIdx.x % 32;
    for (int r = a.r0 + threadIdx.x / 32; r < a.r1; r += THREADS / 32) {
        const float* mix = v + (i64)r * d;
        float dot = 0;
        for (int i = lane; i < d; i += 32) dot += row[i] * mix[i];
        dot = warpSum(dot);
        if (lane == 0) s[a.slot + r - a.r0] = dot;
    }
}

SINGLE(loss_rows_terms, (LossTerm* terms, const float* s, const LossAnchor* anchors, const int* first, const float* lambda, LossForm form, LossMix mix)) {
    const LossAnchor a = anchors[blockIdx.x];
    Acc positive, negative;
    for (int r = a.r0 + threadIdx.x; r < a.r1; r += THREADS) {
        if (!uses(a, mix, first[r])) continue;
        const float x = s[a.slot + r - a.r0];
        positive.add(form.positive, x, lambda[r]);
        negative.add(form.negative, x, negativeWeight(form, lambda[r]));
    }
    LossTerm term = terms[blockIdx.x];
    positive.finish(form.positive, term, 2);
    negative.finish(form.negative, term, 3);
    if (threadIdx.x == 0) terms[blockIdx.x] = term;
}

SINGLE(loss_rows_slopes, (float* s, const LossAnchor* anchors, const LossTerm* terms, const LossSlope* slopes, const int* first, const float* lambda, LossForm form, LossMix mix)) {
    const LossAnchor a = anchors[blockIdx.x];
    const Slopes mixed(form, terms[blockIdx.x], slopes[blockIdx.x], 1);
    for (int r = a.r0 + threadIdx.x; r < a.r1; r += THREADS) {
        float* x = s + a.slot + r - a.r0;
        *x = a.counted && uses(a, mix, first[r]) ? mixed.ofMix(form, *x, lambda[r]) : 0.0f;
    }
}

SINGLE(loss_rows_anchor_gradient, (float* drows, const float* s, const float* v, const LossAnchor* anchors, int d)) {
    const LossAnchor a = anchors[blockIdx.x];
    for (int i = threadIdx.x; i < d; i += THREADS) {
        float sum = drows[(i64)a.row * d + i];
        for (int r = a.r0; r < a.r1; r++) sum += s[a.slot + r - a.r0] * v[(i64)r * d + i];
        drows[(i64)a.row * d + i] = sum;
    }
}

SINGLE(loss_rows_mixed_gradient, (float* dv, const float* s, const float* rows, const LossAnchor* anchors, const LossRow* ranges, int d)) {
    const int r = blockIdx.x;
    for (int i = threadIdx.x; i < d; i += THREADS) {
        float sum = 0;
        for (int k = ranges[r].a0; k < ranges[r].a1; k++) {
            const LossAnchor a = anchors[k];
            sum += s[a.slot + r - a.r0] * rows[(i64)a.row * d + i];
        }
        dv[(i64)r * d + i] = sum;
    }
}
