/* The part of Winograd's convolutions that knows activations, of type T; included once for each type by
 * kernels.c. */

#define LOAD NAME(load)
#define STORE NAME(store)

/* points_of brings side x side pixels of every block of a picture, from (top, left) on, to their points; there
 * are zeros around a picture. */
static inline __attribute__((always_inline)) void NAME(points_of)(transform *one, int side, points to, const T *from, int64_t blocks,
        int64_t height, int64_t width, int64_t top, int64_t left) {
    const int inside = top >= 0 && left >= 0 && top + side <= height && left + side <= width;
    for (int64_t b = 0; b < blocks; b++, from += height * width * BLOCK, to.at += to.block) {
        V line[SIDE], half[SIDE * SIDE], whole[SIDE];
#pragma GCC unroll 6
        for (int i = 0; i < side; i++) {
            const int64_t y = top + i;
            const T *first = from + (y * width + left) * BLOCK;
            if (inside)
#pragma GCC unroll 6
                for (int j = 0; j < side; j++) line[j] = LOAD(first + j * BLOCK);
            else
#pragma GCC unroll 6
                for (int j = 0; j < side; j++)
                    line[j] = y >= 0 && y < height && left + j >= 0 && left + j < width ? LOAD(first + j * BLOCK) : (V){0};
            one(half + i * SIDE, 1, line, 1);
        }
#pragma GCC unroll 6
        for (int x = 0; x < SIDE; x++) {
            one(whole, 1, half + x, SIDE);
#pragma GCC unroll 6
            for (int y = 0; y < SIDE; y++) store_f32(to.at + (y * SIDE + x) * to.point, whole[y]);
        }
    }
}

/* from_input brings a tile, counted over all rows, of the inputs to its points. */
static void NAME(from_input)(points to, const T *x, const convolution *c, int64_t tile) {
    const int64_t row = tile / c->tiles, at = tile % c->tiles;
    NAME(points_of)(input_points, SIDE, to, x + row * c->in * c->height * c->width * BLOCK, c->in, c->height, c->width,
            at / c->across * STEP - c->pad, at % c->across * STEP - c->pad);
}

/* from_output does it for gradients by the outputs. */
static void NAME(from_output)(points to, const T *dy, const convolution *c, int64_t tile) {
    const int64_t row = tile / c->tiles, at = tile % c->tiles;
    NAME(points_of)(output_points, STEP, to, dy + row * c->out * c->out_height * c->out_width * BLOCK, c->out, c->out_height,
            c->out_width, at / c->across * STEP, at % c->across * STEP);
}

/* to_output makes a tile of the outputs from its points. bias has n floats. */
static void NAME(to_output)(T *y, points from, const float *bias, int64_t n, int relu, const convolution *c, int64_t tile) {
    const int64_t row = tile / c->tiles, top = tile % c->tiles / c->across * STEP, left = tile % c->across * STEP;
    const int64_t area = c->out_height * c->out_width;
    const int64_t high = c->out_height - top < STEP ? c->out_height - top : STEP;
    const int64_t wide = c->out_width - left < STEP ? c->out_width - left : STEP;
    y += (row * c->out * area + top * c->out_width + left) * BLOCK;
    for (int64_t b = 0; b < c->out; b++, y += area * BLOCK, from.at += from.block) {
        V column[SIDE], half[STEP * SIDE], out[STEP * STEP];
        const V shift = bias ? some(bias, b * BLOCK, n) : (V){0};
#pragma GCC unroll 6
        for (int i = 0; i < SIDE; i++) {
#pragma GCC unroll 6
            for (int j = 0; j < SIDE; j++) column[j] = load_f32(from.at + (j * SIDE + i) * from.point);
            outputs_of(half + i, SIDE, column, 1);
        }
#pragma GCC unroll 4
        for (int i = 0; i < STEP; i++) outputs_of(out + i * STEP, 1, half + i * SIDE, 1);
#pragma GCC unroll 16
        for (int i = 0; i < STEP * STEP; i++) {
            const V v = out[i] + shift;
            if (i / STEP < high && i % STEP < wide)
                STORE(y + (i / STEP * c->out_width + i % STEP) * BLOCK, relu ? positive(v) : v);
        }
    }
}

/* winograd: y p[3] = x p[0] convolved with the kernels whose points are p[1], plus the bias p[2], if
 * given; p[4] is scratch. n = rows, in, height, width, out, pad, ReLU. */
static void NAME(winograd)(void *const *p, const int64_t *n) {
    const convolution c = convolution_of(n);
    const int64_t total = c.rows * c.tiles, size = together(&c), panel = c.in * BLOCK * BLOCK;
    const points v = side_by_side(p[4], c.in, size), m = side_by_side(v.at + POINTS * v.point, c.out, size);
    for (int64_t t = 0; t < total; t += size) {
        const int64_t count = total - t < size ? total - t : size, groups = (count + GROUP - 1) / GROUP;
        for (int64_t i = 0; i < count; i++)
            NAME(from_input)((points){v.at + i * BLOCK, v.point, v.block}, p[0], &c, t + i);
        for (int64_t f = 0; f < POINTS; f++)
            for (int64_t b = 0; b < c.out; b += 2)
                for (int64_t g = 0; g < groups; g++) {
                    const int64_t lo = count * g / groups, hi = count * (g + 1) / groups;
                    products(m.at + f * m.point + b * m.block + lo * BLOCK, m.block, v.at + f * v.point + lo * BLOCK, v.block,
                            c.in, (const float *)p[1] + (b * POINTS + f) * panel, POINTS * panel, hi - lo, b + 1 < c.out);
                }
        for (int64_t i = 0; i < count; i++)
            NAME(to_output)(p[3], (points){m.at + i * BLOCK, m.point, m.block}, p[2], n[4], n[6], &c, t + i);
    }
}

/* bias_gradient sums dy over rows and pixels. */
static void NAME(bias_gradient)(float *db, const T *dy, const convolution *c) {
    const int64_t area = c->out_height * c->out_width;
    for (int64_t b = 0; b < c->out; b++) {
        V sum = {0};
        for (int64_t r = 0; r < c->rows; r++) {
            V part = {0};
            for (int64_t i = 0; i < area; i++) part += LOAD(dy + ((r * c->out + b) * area + i) * BLOCK);
            sum += part;
        }
        put(db + b * BLOCK, sum);
    }
}

/* winograd_weights: the gradient by the kernels p[1], [out block][in block][tap][BLOCK in][BLOCK out], and by the
 * bias p[2], whole blocks, if given, from x p[0] and dy p[3]; p[4] is scratch. n as above. */
static void NAME(winograd_weights)(void *const *p, const int64_t *n) {
    const convolution c = convolution_of(n);
    const int64_t total = c.rows * c.tiles, size = together(&c), square = BLOCK * BLOCK;
    const points v = one_by_one(p[4], size), d = one_by_one(v.at + c.in * v.block, size);
    float *sums = d.at + c.out * d.block;
    for (int64_t t = 0; t < total; t += size) {
        const int64_t count = total - t < size ? total - t : size;
        for (int64_t i = 0; i < count; i++) {
            NAME(from_input)((points){v.at + i * BLOCK, v.point, v.block}, p[0], &c, t + i);
            NAME(from_output)((points){d.at + i * BLOCK, d.point, d.block}, p[3], &c, t + i);
        }
        for (int64_t o = 0; o < c.out; o++)
            for (int64_t i = 0; i < c.in; i++) {
                float *u = sums + (size < total ? (o * c.in + i) * POINTS * square : 0);
                for (int64_t f = 0; f < POINTS; f++)
                    outer(u + f * square, v.at + i * v.block + f * v.point, d.at + o * d.block + f * d.point, count, t == 0);
                if (t + count == total) to_kernel((float *)p[1] + (o * c.in + i) * TAPS * TAPS * square, u);
            }
    }
    if (p[2]) NAME(bias_gradient)(p[2], p[3], &c);
}

#undef LOAD
#undef STORE
