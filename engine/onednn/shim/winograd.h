/*
 * Convolutions of 3 x 3 pixels with stride 1 by Winograd's F(4x4, 3x3): 36 multiplications for 16 outputs
 * instead of 144. They multiply in single precision, whatever the type of activations: what knows of
 * that is in winograd_typed.h. Included once by kernels.c.
 *
 * A tile of 4 x 4 outputs comes from 6 x 6 inputs x, which overlap the next tile's by two. Inputs and
 * kernel g are taken as polynomials and evaluated at the points 0, P, -P, Q, -Q and infinity, in each
 * direction; there a convolution is 36 products, summed over input channels c:
 *
 *     y = A' (sum over c of (G g G') * (B' x B)) A
 *
 * So the work is 36 products of matrices, tiles x channels by channels x channels. The gradient by x is
 * the same convolution of the gradient by y, with turned kernels, and the gradient by g is
 *
 *     dg = G' (sum over tiles of (B' x B) * (A dy A')) G
 *
 * Each output is summed by itself over c in order, so its bits do not depend on how tiles are grouped.
 * P = 5/8 and Q = 3/2 need no rounding here, and their powers are near 1: outputs are off by twice what
 * a direct sum in order is (1e-6 to 2e-6 of their size), where the usual 1 and 2 make it four times.
 */
static const float P1 = 0.625f, P2 = 0.625f * 0.625f, P3 = 0.625f * 0.625f * 0.625f;
static const float Q1 = 1.5f, Q2 = 1.5f * 1.5f, Q3 = 1.5f * 1.5f * 1.5f;

/* One over the product of a point's distances from the others, but for 0, P and -P, Q and -Q. */
static const float AT_0 = 1 / (0.625f * 0.625f * 1.5f * 1.5f);
static const float AT_P = 1 / (2 * 0.625f * 0.625f * (0.625f * 0.625f - 1.5f * 1.5f));
static const float AT_Q = 1 / (2 * 1.5f * 1.5f * (1.5f * 1.5f - 0.625f * 0.625f));

enum { TAPS = 3, STEP = 4, SIDE = STEP + TAPS - 1, POINTS = SIDE * SIDE };

/*
 * The transforms of one dimension: vectors s apart to vectors t apart.
 */

/* B' x: six values to six. */
static inline void input_points(V *y, int t, const V *x, int s) {
    const V x1 = x[s], x2 = x[2 * s], x3 = x[3 * s], x4 = x[4 * s];
    const V ep = x4 - Q2 * x2, op = P1 * (x3 - Q2 * x1), eq = x4 - P2 * x2, oq = Q1 * (x3 - P2 * x1);
    y[0] = (P2 * Q2) * x[0] - (P2 + Q2) * x2 + x4;
    y[t] = ep + op;
    y[2 * t] = ep - op;
    y[3 * t] = eq + oq;
    y[4 * t] = eq - oq;
    y[5 * t] = (P2 * Q2) * x1 - (P2 + Q2) * x3 + x[5 * s];
}

/* A' m: six values to four. */
static inline void outputs_of(V *y, int t, const V *m, int s) {
    const V sp = m[s] + m[2 * s], dp = m[s] - m[2 * s], sq = m[3 * s] + m[4 * s], dq = m[3 * s] - m[4 * s];
    y[0] = m[0] + sp + sq;
    y[t] = P1 * dp + Q1 * dq;
    y[2 * t] = P2 * sp + Q2 * sq;
    y[3 * t] = P3 * dp + Q3 * dq + m[5 * s];
}

/* A y: four values to six. */
static inline void output_points(V *m, int t, const V *y, int s) {
    const V y0 = y[0], y1 = y[s], y2 = y[2 * s], y3 = y[3 * s];
    const V ep = y0 + P2 * y2, op = P1 * y1 + P3 * y3, eq = y0 + Q2 * y2, oq = Q1 * y1 + Q3 * y3;
    m[0] = y0;
    m[t] = ep + op;
    m[2 * t] = ep - op;
    m[3 * t] = eq + oq;
    m[4 * t] = eq - oq;
    m[5 * t] = y3;
}

/* G g: three values to six. */
static inline void kernel_points(V *u, int t, const V *g, int s) {
    const V ep = AT_P * (g[0] + P2 * g[2 * s]), op = (AT_P * P1) * g[s];
    const V eq = AT_Q * (g[0] + Q2 * g[2 * s]), oq = (AT_Q * Q1) * g[s];
    u[0] = AT_0 * g[0];
    u[t] = ep + op;
    u[2 * t] = ep - op;
    u[3 * t] = eq + oq;
    u[4 * t] = eq - oq;
    u[5 * t] = g[2 * s];
}

/* G' u: six values to three. */
static inline void kernel_of(V *g, int t, const V *u, int s) {
    const V sp = AT_P * (u[s] + u[2 * s]), dp = (AT_P * P1) * (u[s] - u[2 * s]);
    const V sq = AT_Q * (u[3 * s] + u[4 * s]), dq = (AT_Q * Q1) * (u[3 * s] - u[4 * s]);
    g[0] = AT_0 * u[0] + sp + sq;
    g[t] = dp + dq;
    g[2 * t] = P2 * sp + Q2 * sq + u[5 * s];
}

/*
 * Tiles and their points.
 */

/* A convolution: channels in blocks, sizes in pixels, and the tiles of a row. */
typedef struct {
    int64_t rows, in, height, width, out, out_height, out_width, pad, across, tiles;
} convolution;

/* convolution_of reads rows, in, height, width, out and pad. */
static convolution convolution_of(const int64_t *n) {
    convolution c = {.rows = n[0], .in = (n[1] + BLOCK - 1) / BLOCK, .height = n[2], .width = n[3],
            .out = (n[4] + BLOCK - 1) / BLOCK, .pad = n[5]};
    c.out_height = c.height + 2 * c.pad - (TAPS - 1);
    c.out_width = c.width + 2 * c.pad - (TAPS - 1);
    c.across = (c.out_width + STEP - 1) / STEP;
    c.tiles = c.across * ((c.out_height + STEP - 1) / STEP);
    return c;
}

/* Tiles that a product holds in registers, for two blocks of outputs. */
enum { GROUP = BLOCK == 16 ? 14 : 6 };

/* together is the number of tiles whose points are held at a time: so many that these are as large as the
 * kernels' that they meet, which come from further away. */
static int64_t together(const convolution *c) {
    const int64_t tiles = c->rows * c->tiles, fair = c->in * c->out * BLOCK / (c->in + c->out);
    const int64_t most = fair > 2 * GROUP ? fair : 2 * GROUP, parts = (tiles + most - 1) / most;
    return (tiles + parts - 1) / parts;
}

/* A place for points: floats from point to point and from block to block. */
typedef struct {
    float *at;
    int64_t point, block;
} points;

typedef void transform(V *to, int t, const V *from, int s);

/* some reads a block of channels, as many as there are up to n; the others are zero. */
static inline V some(const float *p, int64_t first, int64_t n) {
    V v = {0};
    if (first + BLOCK <= n) return get(p + first);
    for (int64_t l = 0; first + l < n; l++) v[l] = p[first + l];
    return v;
}

/*
 * Forward, and backward to the inputs.
 */

/* product: at one point, count tiles of v by the kernels of one or two blocks of outputs, u and u + apart. */
static inline __attribute__((always_inline)) void product(float *m, int64_t out, const float *v, int64_t in, int64_t blocks,
        const float *u, int64_t apart, const int count, const int two) {
    V sum[GROUP][2];
#pragma GCC unroll 14
    for (int t = 0; t < count; t++) sum[t][0] = sum[t][1] = (V){0};
    for (int64_t b = 0; b < blocks; b++, v += in)
#pragma GCC unroll 2
        for (int c = 0; c < BLOCK; c++, u += BLOCK) {
            const V g0 = load_f32(u), g1 = two ? load_f32(u + apart) : (V){0};
#pragma GCC unroll 14
            for (int t = 0; t < count; t++) {
                const V x = (V){0} + v[t * BLOCK + c];
                sum[t][0] += x * g0;
                if (two) sum[t][1] += x * g1;
            }
        }
#pragma GCC unroll 14
    for (int t = 0; t < count; t++) {
        store_f32(m + t * BLOCK, sum[t][0]);
        if (two) store_f32(m + out + t * BLOCK, sum[t][1]);
    }
}

#define FEW(n) (n < GROUP ? n : GROUP)
#define PRODUCT(n) \
    case n: \
        if (two) product(m, out, v, in, blocks, u, apart, FEW(n), 1); \
        else product(m, out, v, in, blocks, u, apart, FEW(n), 0); \
        break;

/* products is product for a count that the compiler does not know, at most GROUP. */
static void products(float *m, int64_t out, const float *v, int64_t in, int64_t blocks, const float *u, int64_t apart,
        int64_t count, int two) {
    switch (count) {
        PRODUCT(1) PRODUCT(2) PRODUCT(3) PRODUCT(4) PRODUCT(5) PRODUCT(6) PRODUCT(7)
        PRODUCT(8) PRODUCT(9) PRODUCT(10) PRODUCT(11) PRODUCT(12) PRODUCT(13) PRODUCT(14)
    }
}

/* side_by_side is a place for the points of so many tiles, one vector behind the other. The odd vector keeps
 * the points of a tile out of each other's cache lines. */
static points side_by_side(float *at, int64_t blocks, int64_t tiles) {
    return (points){at, (blocks * tiles + 1) * BLOCK, tiles * BLOCK};
}

/* winograd_pack: plain weights p[0] to the points p[1] of the kernels, [out block][point][in][BLOCK out].
 * n = out, in, and whether for the way back to the inputs: kernels turned, in and out changing places. */
static void winograd_pack(void *const *p, const int64_t *n) {
    const int64_t turned = n[2], outs = turned ? n[1] : n[0], ins = turned ? n[0] : n[1], taps = TAPS * TAPS;
    const int64_t lane = turned ? taps : n[1] * taps, deep = turned ? n[1] * taps : taps;
    const int64_t depth = (ins + BLOCK - 1) / BLOCK * BLOCK;
    float *u = p[1];
    for (int64_t o = 0; o < outs; o += BLOCK, u += POINTS * depth * BLOCK)
        for (int64_t i = 0; i < depth; i++) {
            V kernel[TAPS * TAPS] = {0}, half[TAPS * SIDE], whole[SIDE];
            for (int64_t l = 0; i < ins && l < BLOCK && o + l < outs; l++) {
                const float *from = (const float *)p[0] + (o + l) * lane + i * deep;
                for (int k = 0; k < taps; k++) kernel[k][l] = from[turned ? taps - 1 - k : k];
            }
            for (int y = 0; y < TAPS; y++) kernel_points(half + y * SIDE, 1, kernel + y * TAPS, 1);
            for (int x = 0; x < SIDE; x++) {
                kernel_points(whole, 1, half + x, SIDE);
                for (int y = 0; y < SIDE; y++) store_f32(u + ((y * SIDE + x) * depth + i) * BLOCK, whole[y]);
            }
        }
}

/*
 * Backward to the kernels.
 */

/* outer adds the products of count tiles of v by those of d, a block each and at one point, to u, [BLOCK in][BLOCK out]. */
static inline void outer(float *u, const float *v, const float *d, int64_t count, int first) {
    V sum[BLOCK];
#pragma GCC unroll 16
    for (int c = 0; c < BLOCK; c++) sum[c] = first ? (V){0} : load_f32(u + c * BLOCK);
    for (int64_t t = 0; t < count; t++, v += BLOCK, d += BLOCK) {
        const V g = load_f32(d);
#pragma GCC unroll 16
        for (int c = 0; c < BLOCK; c++) sum[c] += v[c] * g;
    }
#pragma GCC unroll 16
    for (int c = 0; c < BLOCK; c++) store_f32(u + c * BLOCK, sum[c]);
}

/* to_kernel makes [tap][BLOCK in][BLOCK out] of the points u of so many kernels. */
static void to_kernel(float *g, const float *u) {
    for (int i = 0; i < BLOCK; i++) {
        V column[SIDE], half[TAPS * SIDE], out[TAPS * TAPS];
#pragma GCC unroll 6
        for (int x = 0; x < SIDE; x++) {
#pragma GCC unroll 6
            for (int y = 0; y < SIDE; y++) column[y] = load_f32(u + ((y * SIDE + x) * BLOCK + i) * BLOCK);
            kernel_of(half + x, SIDE, column, 1);
        }
#pragma GCC unroll 3
        for (int y = 0; y < TAPS; y++) kernel_of(out + y * TAPS, 1, half + y * SIDE, 1);
#pragma GCC unroll 9
        for (int k = 0; k < TAPS * TAPS; k++) store_f32(g + (k * BLOCK + i) * BLOCK, out[k]);
    }
}

/* one_by_one is a place for points, all of a block before the next block. */
static points one_by_one(float *at, int64_t tiles) {
    return (points){at, (tiles + 1) * BLOCK, POINTS * (tiles + 1) * BLOCK};
}

/* winograd_scratch is the bytes of scratch of winograd, or of winograd_weights. n as above. */
static int64_t winograd_scratch(const int64_t *n, int weights) {
    const convolution c = convolution_of(n);
    const int64_t size = together(&c);
    if (!weights) return 4 * POINTS * (side_by_side(0, c.in, size).point + side_by_side(0, c.out, size).point);
    const int64_t sums = size < c.rows * c.tiles ? c.in * c.out : 1;
    return 4 * ((c.in + c.out) * one_by_one(0, size).block + sums * POINTS * BLOCK * BLOCK);
}
