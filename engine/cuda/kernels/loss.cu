// The loss of package metrix for forms that are sums over pairs, from similarities, a block per anchor. A mixed
// pair is never a row: with G the similarities of candidates and h those of an anchor,
//
//	s(a, mix(p, n)) = first h[p] + second h[n]
//	first = lam r, second = (1 - lam) r, r = 1 / sqrt(lam^2 + (1 - lam)^2 + 2 lam (1 - lam) G[p, n])
//
// so that a block reads the anchor's row of h and the rows of G of its class, tile by tile as wide as the block,
// and keeps nothing per pair. Sums of exponentials are kept relative to their greatest exponent, which moves as
// it is found (Acc). The order of launches: loss_terms, loss_finish, then the gradients (lossgradient.cu), which
// make every mix again.

// Shorter mixes (squared) have no direction: similarity 0 with everything, no gradient.
#define SHORTEST 1e-6f

// rho returns the value of a side's function, or its exponent, and the derivative.
__device__ __forceinline__ float rho(const LossSide& f, float s, float& slope) {
    const float x = f.slope * (s - f.shift);
    slope = f.rho == 1 && !(x > 0) ? 0.0f : f.slope;
    return f.rho == 1 ? fmaxf(x, 0.0f) : x;
}

// Acc is the sum of weight e^x, as value e^log, or of weight x.
struct Acc {
    float value, log;
    int count; // terms above 0

    __device__ __forceinline__ Acc() : value(0), log(-INFINITY), count(0) {}

    __device__ __forceinline__ void add(const LossSide& f, float s, float weight) {
        float slope;
        const float x = rho(f, s, slope);
        count += weight > 0 && (f.rho == 2 || x > 0);
        if (f.rho != 2) {
            value += weight * x;
        } else if (x > log) {
            value = value * expf(log - x) + weight;
            log = x;
        } else {
            value += weight * expf(x - log);
        }
    }

    // finish adds up over the block and writes the sum to slot k of a term; thread 0's is written.
    __device__ void finish(const LossSide& f, LossTerm& term, int k) {
        float top = 0;
        if (f.rho == 2) {
            top = blockMax(log);
            value = log == -INFINITY ? 0.0f : value * expf(log - top);
        }
        const float sum = blockSum(value);
        const int terms = blockSum(count);
        term.value[k] = sum;
        term.log[k] = top == -INFINITY ? 0.0f : top;
        term.count[k] = terms;
    }
};

// Pair is a mix as an anchor sees it.
struct Pair {
    float first, second, lambda;

    __device__ __forceinline__ Pair(float lam, float g) : lambda(lam) {
        const float rest = 1 - lam, squared = lam * lam + rest * rest + 2 * lam * rest * g;
        const float r = squared < SHORTEST ? 0.0f : rsqrtf(squared);
        first = lam * r;
        second = rest * r;
    }
};

// View is what an anchor's block reads.
struct View {
    LossAnchor a;
    const float* h;
    const float* g;
    const float* lambdas;
    const unsigned char* keep; // of the anchor, or null
    int columns;

    __device__ __forceinline__ View(const float* h, const float* g, const LossAnchor* anchors, int anchor, const float* lambdas, const unsigned char* keep, int columns)
        : a(anchors[anchor]), h(h + (i64)anchors[anchor].row * columns), g(g), lambdas(lambdas),
          keep(keep == nullptr ? nullptr : keep + (i64)anchor * columns), columns(columns) {}

    __device__ __forceinline__ bool negative(int n) const { return n < a.lo || n >= a.hi; }
    __device__ __forceinline__ bool mixed(int n) const { return negative(n) && (keep == nullptr || keep[n]); }
    __device__ __forceinline__ Pair pair(const LossMix& mix, int p, int n) const {
        const i64 at = (i64)p * columns + n;
        return Pair(lambdas == nullptr ? mix.lambda : lambdas[at], g[at]);
    }
    // The first rows of the anchor's pairs: [begin, end) without skip.
    __device__ __forceinline__ int begin(const LossMix& mix) const { return mix.kind == 2 ? a.self : a.lo; }
    __device__ __forceinline__ int end(const LossMix& mix) const { return mix.kind == 2 ? a.self + 1 : a.hi; }
    __device__ __forceinline__ int skip(const LossMix& mix) const { return mix.kind == 2 ? -1 : a.self; }
    // The similarity to a first row, which is 1 and constant where it is the anchor itself.
    __device__ __forceinline__ float toFirst(const LossMix& mix, int p) const { return mix.kind == 2 ? 1.0f : h[p]; }
};

__device__ __forceinline__ float negativeWeight(const LossForm& form, float y) { return form.all ? 1.0f : 1 - y; }

// bounds sets the miner's thresholds, or those that keep everything.
__device__ inline void bounds(const View& v, const LossForm& form, LossTerm& term) {
    term.bound[0] = INFINITY;
    term.bound[1] = -INFINITY;
    if (!form.mine) return;
    float least = INFINITY, greatest = -INFINITY;
    for (int j = threadIdx.x; j < v.columns; j += THREADS) {
        if (v.negative(j)) greatest = fmaxf(greatest, v.h[j]);
        else if (j != v.a.self) least = fminf(least, v.h[j]);
    }
    term.bound[0] = blockMax(greatest) + form.epsilon;
    term.bound[1] = -blockMax(-least) - form.epsilon;
}

SINGLE(loss_terms, (LossTerm* terms, const float* h, const float* g, const LossAnchor* anchors, const float* lambdas, const unsigned char* keep, int columns, LossForm form, LossMix mix)) {
    const View v(h, g, anchors, blockIdx.x, lambdas, keep, columns);
    LossTerm term;
    bounds(v, form, term);
    Acc positive, negative, mixedPositive, mixedNegative;
    for (int j = threadIdx.x; j < columns; j += THREADS) {
        const float s = v.h[j];
        if (!v.negative(j)) {
            if (j == v.a.self) continue;
            if (s < term.bound[0]) positive.add(form.positive, s, 1.0f);
            if (form.all) negative.add(form.negative, s, 1.0f);
            continue;
        }
        if (s > term.bound[1]) negative.add(form.negative, s, 1.0f);
        if (mix.kind == 0 || !v.mixed(j)) continue;
        for (int p = v.begin(mix); p < v.end(mix); p++) {
            if (p == v.skip(mix)) continue;
            const Pair m = v.pair(mix, p, j);
            const float sm = m.first * v.toFirst(mix, p) + m.second * s;
            mixedPositive.add(form.positive, sm, m.lambda);
            mixedNegative.add(form.negative, sm, negativeWeight(form, m.lambda));
        }
    }
    positive.finish(form.positive, term, 0);
    negative.finish(form.negative, term, 1);
    mixedPositive.finish(form.positive, term, 2);
    mixedNegative.finish(form.negative, term, 3);
    if (threadIdx.x == 0) terms[blockIdx.x] = term;
}

// sigma applies a side's outer function to value e^log and returns the derivative by value.
__device__ inline double sigma(const LossSide& f, double value, double log_, double& slope) {
    if (f.sigma == 2) {
        slope = value > 0 ? f.scale / value : 0;
        return value > 0 ? f.scale * (log_ + log(value)) : 0;
    }
    if (f.sigma == 1 && log_ > 0) { // 1 + v e^L = e^L (e^-L + v)
        const double rest = exp(-log_) + value;
        slope = f.scale / rest;
        return f.scale * (log_ + log(rest));
    }
    const double e = exp(log_);
    slope = f.sigma == 0 ? e : f.scale * e / (1 + value * e);
    return f.sigma == 0 ? value * e : f.scale * log1p(value * e);
}

SINGLE(loss_finish, (LossSlope* slopes, double* value, const LossTerm* terms, const LossAnchor* anchors, int count, LossForm form, LossMix mix, LossReduction by)) {
    double factor[4];
    for (int k = 0; k < 4; k++) {
        factor[k] = by.factor[k];
        if (!by.nonzero) continue;
        i64 n = 0;
        for (int a = threadIdx.x; a < count; a += THREADS) n += terms[a].count[k];
        n = blockSum(n);
        factor[k] = n == 0 ? 0 : 1 / by.share / (double)n;
    }
    double part[2] = {};
    for (int a = threadIdx.x; a < count; a += THREADS) {
        const LossTerm t = terms[a];
        LossSlope s = {};
        for (int m = 0; m < 2 && anchors[a].counted; m++) { // clean, mixed
            double dp, dn, dt = by.share;
            const double p = sigma(form.positive, t.value[2 * m], t.log[2 * m], dp), n = sigma(form.negative, t.value[2 * m + 1], t.log[2 * m + 1], dn);
            double x = factor[2 * m] * p + factor[2 * m + 1] * n;
            if (form.hinge && !(x > 0)) x = dt = 0;
            part[m] += x * by.share;
            if (m == 1) dt *= mix.weight;
            s.by[2 * m] = (float)(dt * factor[2 * m] * dp);
            s.by[2 * m + 1] = (float)(dt * factor[2 * m + 1] * dn);
        }
        slopes[a] = s;
    }
    const double clean = blockSum(part[0]), mixed = blockSum(part[1]);
    if (threadIdx.x != 0) return;
    value[0] = clean;
    value[1] = mixed;
    value[2] = clean + (double)mix.weight * mixed;
}

// orderOf maps floats to unsigned integers of the same order.
__device__ __forceinline__ unsigned orderOf(float x) {
    const unsigned bits = __float_as_uint(x + 0.0f); // -0 counts as 0
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

// The k-th greatest similarity is found bit by bit, and among those that equal it the place in the batch up to
// which they are kept.
SINGLE(loss_hardest, (unsigned char* keep, const float* h, const LossAnchor* anchors, const int* order, int columns, int k)) {
    const View v(h, nullptr, anchors, blockIdx.x, nullptr, nullptr, columns);
    unsigned least = 0;
    for (unsigned bit = 0x80000000; bit != 0; bit >>= 1) {
        int n = 0;
        for (int j = threadIdx.x; j < columns; j += THREADS) n += v.negative(j) && orderOf(v.h[j]) >= (least | bit);
        if (blockSum(n) >= k) least |= bit;
    }
    int above = 0;
    for (int j = threadIdx.x; j < columns; j += THREADS) above += v.negative(j) && orderOf(v.h[j]) > least;
    const int open = k - blockSum(above); // places for those that equal it
    unsigned last = 0xffffffff;          // greatest bound with too few below it is last - 1
    for (unsigned bit = 0x80000000; bit != 0; bit >>= 1) {
        const unsigned bound = last - bit;
        int n = 0;
        for (int j = threadIdx.x; j < columns; j += THREADS) n += v.negative(j) && orderOf(v.h[j]) == least && (unsigned)order[j] <= bound;
        if (blockSum(n) >= open) last = bound;
    }
    for (int j = threadIdx.x; j < columns; j += THREADS) {
        const unsigned x = orderOf(v.h[j]);
        keep[(i64)blockIdx.x * columns + j] = v.negative(j) && (x > least || (x == least && (unsigned)order[j] <= last));
    }
}
