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

#include "winograd.h"

#define TYPE f32
#define T float
#include "typed.h"
#include "winograd_typed.h"
#undef T
#undef TYPE

#define TYPE bf16
#define T uint16_t
#include "typed.h"
#include "winograd_typed.h"
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

/* turn transposes a square: lane j of v[i] and lane i of v[j] change places. */
static inline void turn(V v[BLOCK]) {
#pragma GCC unroll 4
    for (int h = BLOCK / 2; h > 0; h /= 2) {
        I low, high;
        for (int l = 0; l < BLOCK; l++) {
            low[l] = (l & ~h) + (l & h ? BLOCK : 0);
            high[l] = low[l] + h;
        }
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK; i++) {
            if (i & h) continue;
            const V a = v[i], b = v[i + h];
            v[i] = __builtin_shuffle(a, b, low);
            v[i + h] = __builtin_shuffle(a, b, high);
        }
    }
}

/* What unpack holds of each row at a time, in the cache: rows of a weight may be pages apart. */
enum { TILE = 8 * BLOCK };

/* A place in a partial gradient, in the order of a plain row: taps within input channels. */
typedef struct {
    int64_t channel, tap;
} place;

/* unpack_tile reads n values of BLOCK rows from parts at src, from a place on, which it moves. */
static inline void unpack_tile(float tile[BLOCK][TILE], const float *src, place *at, int64_t count, const int64_t *n) {
    const int64_t ins = n[1], taps = n[2], plain = n[3], apart = n[4], parts = n[5];
    for (int64_t e = 0; e < count; e += BLOCK) {
        V v[BLOCK];
        for (int64_t l = 0; l < BLOCK; l++) {
            v[l] = (V){0};
            if (e + l >= count) continue;
            const int64_t c = at->channel, k = at->tap;
            const float *s = src + (plain ? k * ins + c : (c / BLOCK * taps + k) * BLOCK + c % BLOCK) * BLOCK;
            V sum = get(s);
            for (int64_t q = 1; q < parts; q++) sum += get(s + q * apart);
            v[l] = sum;
            if (++at->tap == taps) at->tap = 0, at->channel++;
        }
        turn(v);
        for (int o = 0; o < BLOCK; o++) store_f32(tile[o] + e, v[o]);
    }
}

/* unpack adds n[5] partial gradients of a weight, each [O/BLOCK][I/BLOCK][k][BLOCK i][BLOCK o] and
 * n[4] floats from the next, to the plain [O][I][k] at p[1], for the output blocks [n[6], n[7]). If
 * n[3], a partial is [O/BLOCK][k][I][BLOCK o], the layout of a convolution that reads plain images.
 * n = O, I, k, ... */
static void unpack(void *const *p, const int64_t *n) {
    const int64_t outs = n[0], size = n[1] * n[2];
    const int64_t block = n[2] * (n[3] ? n[1] : (n[1] + BLOCK - 1) / BLOCK * BLOCK) * BLOCK;
    float tile[BLOCK][TILE] __attribute__((aligned(64)));
    for (int64_t ob = n[6]; ob < n[7]; ob++) {
        const float *src = (const float *)p[0] + ob * block;
        const int64_t rows = outs - ob * BLOCK < BLOCK ? outs - ob * BLOCK : BLOCK;
        place at = {0, 0};
        for (int64_t e = 0; e < size; e += TILE) {
            const int64_t count = size - e < TILE ? size - e : TILE;
            unpack_tile(tile, src, &at, count, n);
            for (int64_t o = 0; o < rows; o++) {
                float *RESTRICT dst = (float *)p[1] + (ob * BLOCK + o) * size + e;
                for (int64_t i = 0; i < count; i++) dst[i] += tile[o][i];
            }
        }
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

const kernels KERNELS = {BLOCK, entries, {winograd_f32, winograd_bf16},
        {winograd_weights_f32, winograd_weights_bf16}, winograd_pack, winograd_scratch};
