/*
 * Everything that computes and is not a convolution. The file is compiled once for each instruction
 * set, with BLOCK channels side by side in a vector and the table's name in KERNELS.
 */
#include "shim.h"

#include <math.h>
#include <string.h>

typedef float V __attribute__((vector_size(4 * BLOCK)));
typedef float Vu __attribute__((vector_size(4 * BLOCK), aligned(4))); /* in memory of Go */
typedef int32_t I __attribute__((vector_size(4 * BLOCK)));
typedef uint32_t U __attribute__((vector_size(4 * BLOCK)));
typedef uint16_t H __attribute__((vector_size(2 * BLOCK)));
typedef uint8_t B __attribute__((vector_size(BLOCK)));

#define RESTRICT __restrict__

static inline V get(const float *p) { return *(const Vu *)p; }
static inline void put(float *p, V v) { *(Vu *)p = v; }
static inline V select(I mask, V a) { return (V)((I)a & mask); }
static inline V positive(V a) { return select(a > 0, a); }
static inline V larger(V a, V b) { return (V)(((I)a & (a > b)) | ((I)b & ~(a > b))); }

static inline V load_f32(const float *p) { return *(const V *)p; }
static inline void store_f32(float *p, V v) { *(V *)p = v; }

static inline V load_bf16(const uint16_t *p) {
    return (V)(__builtin_convertvector(*(const H *)p, U) << 16);
}

/* Rounds to the nearest bfloat16, ties to even. */
static inline void store_bf16(uint16_t *p, V v) {
    U u = (U)v;
    u += 0x7fff + ((u >> 16) & 1);
    *(H *)p = __builtin_convertvector(u >> 16, H);
}

static inline float widen_f32(float x) { return x; }
static inline float narrow_f32(float x) { return x; }

static inline float widen_bf16(uint16_t x) {
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t narrow_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (u + 0x7fff + ((u >> 16) & 1)) >> 16;
}

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(x) JOIN(x, TYPE)

#define TYPE f32
#define T float
#include "typed.h"
#undef T
#undef TYPE

#define TYPE bf16
#define T uint16_t
#include "typed.h"
#undef T
#undef TYPE

/* hash folds n floats into 64 lanes. Each lane is a bijection of every float it sees, so a change of
 * one float per lane is always noticed, and a larger one but for one chance in 2^32 per lane. */
static void hash(void *const *p, const int64_t *n) {
    const uint32_t *x = p[0];
    uint64_t *out = p[1];
    enum { LANES = 64 };
    uint32_t h[LANES];
    for (int l = 0; l < LANES; l++) h[l] = 2166136261u + l;
    int64_t i = 0;
    for (; i + LANES <= n[0]; i += LANES)
        for (int l = 0; l < LANES; l++) h[l] = (h[l] ^ x[i + l]) * 16777619u;
    for (int l = 0; i < n[0]; i++, l++) h[l] = (h[l] ^ x[i]) * 16777619u;
    uint64_t a = 1469598103934665603u, b = ~a;
    for (int l = 0; l < LANES; l++) {
        a = (a ^ h[l]) * 1099511628211u;
        b = (b ^ (uint64_t)h[l] << 17) * 0x9E3779B97F4A7C15u;
    }
    out[0] = a;
    out[1] = b;
}

/* unpack adds n[5] partial gradients of a weight, each [O/BLOCK][I/BLOCK][k][BLOCK i][BLOCK o] and
 * n[4] floats from the next, to the plain [O][I][k] at p[1], for the output blocks [n[6], n[7]). If
 * n[3], a partial is [O/BLOCK][k][I][BLOCK o], the layout of a convolution that reads plain images. */
static void unpack(void *const *p, const int64_t *n) {
    const float *src = p[0];
    float *dst = p[1];
    const int64_t outs = n[0], ins = n[1], taps = n[2], apart = n[4], parts = n[5];
    const int64_t width = n[3] ? ins : BLOCK, blocks = n[3] ? 1 : (ins + BLOCK - 1) / BLOCK;
    for (int64_t ob = n[6]; ob < n[7]; ob++)
        for (int64_t ib = 0; ib < blocks; ib++)
            for (int64_t k = 0; k < taps; k++)
                for (int64_t i = 0; i < width && ib * BLOCK + i < ins; i++) {
                    const float *s = src + (((ob * blocks + ib) * taps + k) * width + i) * BLOCK;
                    V sum = get(s);
                    for (int64_t q = 1; q < parts; q++) sum += get(s + q * apart);
                    float *d = dst + (ob * BLOCK * ins + ib * BLOCK + i) * taps + k;
                    for (int64_t o = 0; o < BLOCK && ob * BLOCK + o < outs; o++) d[o * ins * taps] += sum[o];
                }
}

/* fold adds n[1] parts of n[0] floats, n[2] floats apart, in order: p[1] += sum of p[0]. */
static void fold(void *const *p, const int64_t *n) {
    const float *src = p[0];
    float *dst = p[1];
    for (int64_t i = 0; i < n[0]; i++) {
        float sum = src[i];
        for (int64_t q = 1; q < n[1]; q++) sum += src[q * n[2] + i];
        dst[i] += sum;
    }
}

/* scale multiplies the n[0] rows of n[1] floats of a plain weight by one factor each. */
static void scale(void *const *p, const int64_t *n) {
    float *RESTRICT dst = p[0];
    const float *RESTRICT src = p[1], *factor = p[2];
    for (int64_t o = 0; o < n[0]; o++)
        for (int64_t i = 0; i < n[1]; i++) dst[o * n[1] + i] = src[o * n[1] + i] * factor[o];
}

#define BOTH(name) {#name, name##_f32, name##_bf16}
#define ANY(name) {#name, name, name}

static const entry entries[] = {
    BOTH(pack), BOTH(plain), BOTH(unblock), BOTH(unplain), BOTH(stats), BOTH(affine), BOTH(reduce),
    BOTH(slope), BOTH(relu), BOTH(join), BOTH(maxpool), BOTH(maxpool_back), BOTH(avgmax), BOTH(avgmax_back),
    BOTH(l2), BOTH(l2_back), ANY(hash), ANY(unpack), ANY(fold), ANY(scale), {0, 0, 0},
};

const kernels KERNELS = {BLOCK, entries};
