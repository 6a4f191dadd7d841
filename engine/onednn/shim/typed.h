/* Kernels over activations of type T; included once for each type by kernels.c. */

#define LOAD NAME(load)
#define STORE NAME(store)
#define WIDEN NAME(widen)
#define NARROW NAME(narrow)

/* pack: rows of plain [C][P] floats p[1] to blocked p[0]. n = rows, C, P. */
static void NAME(pack)(void *const *p, const int64_t *n) {
    T *dst = p[0];
    const float *src = p[1];
    const int64_t channels = n[1], pixels = n[2];
    for (int64_t r = 0; r < n[0]; r++)
        for (int64_t c0 = 0; c0 < channels; c0 += BLOCK) {
            const float *s = src + (r * channels + c0) * pixels;
            const int64_t width = channels - c0 < BLOCK ? channels - c0 : BLOCK;
            for (int64_t i = 0; i < pixels; i++, dst += BLOCK)
                for (int64_t l = 0; l < BLOCK; l++) dst[l] = l < width ? NARROW(s[l * pixels + i]) : 0;
        }
}

/* unblock: the way back. */
static void NAME(unblock)(void *const *p, const int64_t *n) {
    float *dst = p[0];
    const T *src = p[1];
    const int64_t channels = n[1], pixels = n[2];
    for (int64_t r = 0; r < n[0]; r++)
        for (int64_t c0 = 0; c0 < channels; c0 += BLOCK) {
            float *d = dst + (r * channels + c0) * pixels;
            const int64_t width = channels - c0 < BLOCK ? channels - c0 : BLOCK;
            for (int64_t i = 0; i < pixels; i++, src += BLOCK)
                for (int64_t l = 0; l < width; l++) d[l * pixels + i] = WIDEN(src[l]);
        }
}

/* plain: n[0] floats p[1] to T, layout unchanged. */
static void NAME(plain)(void *const *p, const int64_t *n) {
    T *RESTRICT dst = p[0];
    const float *RESTRICT src = p[1];
    for (int64_t i = 0; i < n[0]; i++) dst[i] = NARROW(src[i]);
}

/* unplain: the way back. */
static void NAME(unplain)(void *const *p, const int64_t *n) {
    float *RESTRICT dst = p[0];
    const T *RESTRICT src = p[1];
    for (int64_t i = 0; i < n[0]; i++) dst[i] = WIDEN(src[i]);
}

/* Sums run over segments of this many pixels before they are added up, which keeps rounding small. */
enum { NAME(SEGMENT) = 128 };

/* stats: mean p[1] and sum of squared differences from it p[2], for each row and channel of p[0].
 * n = rows x blocks, P. */
static void NAME(stats)(void *const *p, const int64_t *n) {
    const T *x = p[0];
    float *mean = p[1], *m2 = p[2];
    const int64_t pixels = n[1];
    for (int64_t b = 0; b < n[0]; b++, x += pixels * BLOCK, mean += BLOCK, m2 += BLOCK) {
        V sum = {0}, squares = {0};
        for (int64_t i = 0; i < pixels;) {
            V s0 = {0}, s1 = {0};
            const int64_t end = i + NAME(SEGMENT) < pixels ? i + NAME(SEGMENT) : pixels;
            for (; i + 2 <= end; i += 2) {
                s0 += LOAD(x + i * BLOCK);
                s1 += LOAD(x + (i + 1) * BLOCK);
            }
            for (; i < end; i++) s0 += LOAD(x + i * BLOCK);
            sum += s0 + s1;
        }
        const V m = sum / (float)pixels;
        for (int64_t i = 0; i < pixels;) {
            V s0 = {0}, s1 = {0};
            const int64_t end = i + NAME(SEGMENT) < pixels ? i + NAME(SEGMENT) : pixels;
            for (; i + 2 <= end; i += 2) {
                const V a = LOAD(x + i * BLOCK) - m, c = LOAD(x + (i + 1) * BLOCK) - m;
                s0 += a * a;
                s1 += c * c;
            }
            for (; i < end; i++) {
                const V a = LOAD(x + i * BLOCK) - m;
                s0 += a * a;
            }
            squares += s0 + s1;
        }
        put(mean, m);
        put(m2, squares);
    }
}

/* affine: y = a x + b [+ other] [, then ReLU]. p = y, x, other or 0, a, b; n = rows, blocks, P,
 * floats of a and b from row to row, ReLU. */
static inline void NAME(affine_block)(T *y, const T *x, const T *other, V a, V b, int64_t pixels, int relu) {
    for (int64_t i = 0; i < pixels * BLOCK; i += BLOCK) {
        V v = LOAD(x + i) * a + b;
        if (other) v += LOAD(other + i);
        STORE(y + i, relu ? positive(v) : v);
    }
}

static void NAME(affine)(void *const *p, const int64_t *n) {
    T *y = p[0];
    const T *x = p[1], *other = p[2];
    const int64_t size = n[2] * BLOCK;
    for (int64_t r = 0; r < n[0]; r++) {
        const float *a = (const float *)p[3] + r * n[3], *b = (const float *)p[4] + r * n[3];
        for (int64_t k = 0; k < n[1]; k++, a += BLOCK, b += BLOCK, y += size, x += size) {
            if (other) {
                if (n[4]) NAME(affine_block)(y, x, other, get(a), get(b), n[2], 1);
                else NAME(affine_block)(y, x, other, get(a), get(b), n[2], 0);
                other += size;
            } else if (n[4]) NAME(affine_block)(y, x, NULL, get(a), get(b), n[2], 1);
            else NAME(affine_block)(y, x, NULL, get(a), get(b), n[2], 0);
        }
    }
}

/* What decides whether a gradient passes a ReLU behind a norm. */
enum { NAME(OPEN), NAME(BY_INPUT), NAME(BY_OUTPUT) };

static inline void NAME(reduce_block)(T *d, const T *g0, const T *g1, const T *x, const T *y, V a, V b, V mean,
        float *s1, float *s2, int64_t pixels, int mask) {
    V sum1 = {0}, sum2 = {0};
    for (int64_t i = 0; i < pixels;) {
        V t1 = {0}, t2 = {0};
        const int64_t end = i + NAME(SEGMENT) < pixels ? i + NAME(SEGMENT) : pixels;
        for (; i < end; i++) {
            V g = LOAD(g0 + i * BLOCK);
            const V v = LOAD(x + i * BLOCK);
            if (g1) g += LOAD(g1 + i * BLOCK);
            if (mask == NAME(BY_INPUT)) g = select(v * a + b > 0, g);
            if (mask == NAME(BY_OUTPUT)) g = select(LOAD(y + i * BLOCK) > 0, g);
            if (d) STORE(d + i * BLOCK, g);
            t1 += g;
            t2 += g * (v - mean);
        }
        sum1 += t1;
        sum2 += t2;
    }
    put(s1, sum1);
    put(s2, sum2);
}

/* reduce: the gradient g = p[1] [+ p[2]] by a norm's output, stopped where its ReLU was closed, and
 * its sums over each row's pixels, of g at p[8] and of g (x - mean) at p[9]. If p[0], g is written
 * there; it may be p[1] or p[2]. p = dst or 0, g0, g1 or 0, x, y, a, b, mean, s1, s2; n = rows,
 * blocks, P, floats of a, b and mean from row to row, what stops. */
static void NAME(reduce)(void *const *p, const int64_t *n) {
    const int64_t size = n[2] * BLOCK;
    for (int64_t r = 0; r < n[0]; r++)
        for (int64_t k = 0; k < n[1]; k++) {
            const int64_t at = (r * n[1] + k) * size, c = r * n[3] + k * BLOCK, s = (r * n[1] + k) * BLOCK;
            T *d = p[0] ? (T *)p[0] + at : NULL;
            const T *g0 = (const T *)p[1] + at, *g1 = p[2] ? (const T *)p[2] + at : NULL;
            const T *x = (const T *)p[3] + at, *y = p[4] ? (const T *)p[4] + at : NULL;
            const V mean = get((const float *)p[7] + c);
            float *s1 = (float *)p[8] + s, *s2 = (float *)p[9] + s;
            V a = {0}, b = {0};
            if (n[4] == NAME(BY_INPUT)) a = get((const float *)p[5] + c), b = get((const float *)p[6] + c);
#define REDUCE(d, g1, mask) NAME(reduce_block)(d, g0, g1, x, y, a, b, mean, s1, s2, n[2], mask)
            if (n[4] == NAME(BY_INPUT)) {
                if (g1) REDUCE(d, g1, NAME(BY_INPUT));
                else REDUCE(d, NULL, NAME(BY_INPUT));
            } else if (n[4] == NAME(BY_OUTPUT)) {
                if (g1) REDUCE(d, g1, NAME(BY_OUTPUT));
                else REDUCE(d, NULL, NAME(BY_OUTPUT));
            } else if (d) REDUCE(d, g1, NAME(OPEN));
            else REDUCE(NULL, NULL, NAME(OPEN));
#undef REDUCE
        }
}

/* slope: dx = a g + b (x - mean) + c; without x, dx = a g. p = dx, g, x or 0, a, b, mean, c;
 * n = rows, blocks, P, floats of the coefficients from row to row. dx may be g or x. */
static void NAME(slope)(void *const *p, const int64_t *n) {
    const int64_t size = n[2] * BLOCK;
    for (int64_t r = 0; r < n[0]; r++)
        for (int64_t k = 0; k < n[1]; k++) {
            const int64_t at = (r * n[1] + k) * size, j = r * n[3] + k * BLOCK;
            T *dx = (T *)p[0] + at;
            const T *g = (const T *)p[1] + at;
            const V a = get((const float *)p[3] + j);
            if (!p[2]) {
                for (int64_t i = 0; i < size; i += BLOCK) STORE(dx + i, LOAD(g + i) * a);
                continue;
            }
            const T *x = (const T *)p[2] + at;
            const V b = get((const float *)p[4] + j), m = get((const float *)p[5] + j), c = get((const float *)p[6] + j);
            for (int64_t i = 0; i < size; i += BLOCK)
                STORE(dx + i, LOAD(g + i) * a + (LOAD(x + i) - m) * b + c);
        }
}

/* relu: p[0] = max(p[1], 0). n[0] values. */
static void NAME(relu)(void *const *p, const int64_t *n) {
    T *y = p[0];
    const T *x = p[1];
    for (int64_t i = 0; i < n[0]; i += BLOCK) STORE(y + i, positive(LOAD(x + i)));
}

/* join: p[0] = p[1] [+ p[2]], where p[3] > 0 if it is given. n[0] values. */
static void NAME(join)(void *const *p, const int64_t *n) {
    T *d = p[0];
    const T *a = p[1], *b = p[2], *y = p[3];
    for (int64_t i = 0; i < n[0]; i += BLOCK) {
        V v = LOAD(a + i);
        if (b) v += LOAD(b + i);
        if (y) v = select(LOAD(y + i) > 0, v);
        STORE(d + i, v);
    }
}

/* maxpool: y p[0] and the place in the window of the first largest value p[2], from x p[1].
 * n = rows x blocks, H, W, OH, OW, kernel, stride, pad. */
static void NAME(maxpool)(void *const *p, const int64_t *n) {
    T *y = p[0];
    const T *x = p[1];
    uint8_t *from = p[2];
    const int64_t h = n[1], w = n[2], oh = n[3], ow = n[4], kernel = n[5], stride = n[6], pad = n[7];
    for (int64_t b = 0; b < n[0]; b++, x += h * w * BLOCK)
        for (int64_t oy = 0; oy < oh; oy++)
            for (int64_t ox = 0; ox < ow; ox++, y += BLOCK, from += BLOCK) {
                V best = (V){0} - INFINITY;
                I where = {0};
                for (int64_t ky = 0; ky < kernel; ky++) {
                    const int64_t iy = oy * stride - pad + ky;
                    if (iy < 0 || iy >= h) continue;
                    for (int64_t kx = 0; kx < kernel; kx++) {
                        const int64_t ix = ox * stride - pad + kx;
                        if (ix < 0 || ix >= w) continue;
                        const V v = LOAD(x + (iy * w + ix) * BLOCK);
                        const I wins = v > best;
                        best = (V)(((I)v & wins) | ((I)best & ~wins));
                        where = (wins & (int32_t)(ky * kernel + kx)) | (where & ~wins);
                    }
                }
                STORE(y, best);
                *(B *)from = __builtin_convertvector(where, B);
            }
}

/* maxpool_back: dx p[0] from dy p[1] and the places p[2]. n as above. */
static void NAME(maxpool_back)(void *const *p, const int64_t *n) {
    T *dx = p[0];
    const T *dy = p[1];
    const uint8_t *from = p[2];
    const int64_t h = n[1], w = n[2], oh = n[3], ow = n[4], kernel = n[5], stride = n[6], pad = n[7];
    for (int64_t b = 0; b < n[0]; b++, dy += oh * ow * BLOCK, from += oh * ow * BLOCK)
        for (int64_t iy = 0; iy < h; iy++)
            for (int64_t ix = 0; ix < w; ix++, dx += BLOCK) {
                V sum = {0};
                int64_t y0 = (iy + pad - kernel + stride) / stride, x0 = (ix + pad - kernel + stride) / stride;
                if (iy + pad < kernel) y0 = 0;
                if (ix + pad < kernel) x0 = 0;
                for (int64_t oy = y0; oy < oh && oy * stride <= iy + pad; oy++)
                    for (int64_t ox = x0; ox < ow && ox * stride <= ix + pad; ox++) {
                        const int32_t k = (iy + pad - oy * stride) * kernel + ix + pad - ox * stride;
                        const int64_t o = (oy * ow + ox) * BLOCK;
                        const I where = __builtin_convertvector(*(const B *)(from + o), I);
                        sum += select(where == k, LOAD(dy + o));
                    }
                STORE(dx, sum);
            }
}

/* avgmax: y p[0] = mean + maximum over the pixels of x p[1], and where the maximum first is p[2].
 * n = rows x blocks, P. */
static void NAME(avgmax)(void *const *p, const int64_t *n) {
    T *y = p[0];
    const T *x = p[1];
    int32_t *from = p[2];
    for (int64_t b = 0; b < n[0]; b++, y += BLOCK, from += BLOCK) {
        V sum = {0}, best = (V){0} - INFINITY;
        I where = {0};
        for (int64_t i = 0; i < n[1]; i++, x += BLOCK) {
            const V v = LOAD(x);
            const I wins = v > best;
            sum += v;
            best = (V)(((I)v & wins) | ((I)best & ~wins));
            where = (wins & (int32_t)i) | (where & ~wins);
        }
        STORE(y, sum / (float)n[1] + best);
        *(I *)from = where;
    }
}

/* avgmax_back: dx p[0] from dy p[1] and the places p[2]. n as above. */
static void NAME(avgmax_back)(void *const *p, const int64_t *n) {
    T *dx = p[0];
    const T *dy = p[1];
    const int32_t *from = p[2];
    for (int64_t b = 0; b < n[0]; b++, dy += BLOCK, from += BLOCK) {
        const V g = LOAD(dy), share = g / (float)n[1];
        const I where = *(const I *)from;
        for (int64_t i = 0; i < n[1]; i++, dx += BLOCK) STORE(dx, share + select(where == (int32_t)i, g));
    }
}

/* l2: y p[0] = x p[1] / max(|x|, p[3][0]), lengths to p[2]. n = rows, values of a row. */
static void NAME(l2)(void *const *p, const int64_t *n) {
    T *y = p[0];
    const T *x = p[1];
    double *lengths = p[2];
    const double least = *(const double *)p[3];
    for (int64_t r = 0; r < n[0]; r++, x += n[1], y += n[1]) {
        double sum = 0;
        for (int64_t i = 0; i < n[1]; i++) sum += (double)WIDEN(x[i]) * WIDEN(x[i]);
        lengths[r] = sqrt(sum);
        const double length = lengths[r] > least ? lengths[r] : least;
        for (int64_t i = 0; i < n[1]; i++) y[i] = NARROW(WIDEN(x[i]) / length);
    }
}

/* l2_back: dx p[0] = (dy - y (y dy)) / length from dy p[1] and y p[4]; 0 for a row shorter than
 * p[3][0]. */
static void NAME(l2_back)(void *const *p, const int64_t *n) {
    T *dx = p[0];
    const T *dy = p[1], *y = p[4];
    const double *lengths = p[2], least = *(const double *)p[3];
    for (int64_t r = 0; r < n[0]; r++, dx += n[1], dy += n[1], y += n[1]) {
        double dot = 0;
        for (int64_t i = 0; i < n[1]; i++) dot += (double)WIDEN(y[i]) * WIDEN(dy[i]);
        for (int64_t i = 0; i < n[1]; i++)
            dx[i] = lengths[r] < least ? 0 : NARROW((WIDEN(dy[i]) - WIDEN(y[i]) * dot) / lengths[r]);
    }
}

#undef LOAD
#undef STORE
#undef WIDEN
#undef NARROW
