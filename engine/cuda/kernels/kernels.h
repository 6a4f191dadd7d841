// The kernels of the CUDA engine: one list of names, parameters and contracts.
//
// KERNEL(name, parameters) is one kernel; KERNEL_T(name, parameters) is two, name_f32 and name_bf16, for the
// type T of activations. The file is included several times with these macros defined differently: for the
// declarations (device.h), for the table of the CPU emulator, and it is read by the Go tests.
//
// Parameters: T* and float* are device pointers, int is 32 bits, i64 is 64 bits, structs (types.h) go by
// value. Outputs come first. "May be null" is said where it is allowed. dst and src of elementwise kernels
// may be the same buffer where the contract says so; otherwise buffers must not overlap.
//
// Layouts: an activation is rows of NHWC pixels, that is a matrix of pixels x channels; c is the number of
// channels in memory. Vectors of 16 bytes are used where c (or n) is a multiple of their length, which needs
// pointers at multiples of 16 bytes. Parameters are float32 in the canonical flat block.
//
// Launch geometry (launch.go computes it; 256 threads a block unless said):
//   each(n)               grid of blocks that stride over n elements; any grid is right
//   columns(area, c, T)   block (x, y), grid (column blocks, slices of the pixels, images): see Columns in
//                         launch.go. A batch norm is one image of rows x pixels pixels.
//   warps(n)              a warp for each of n rows: block (32, 8), grid ceil(n / 8)
//   blocks(n)             a block of 256 for each of n
//   tiles(area, c, n)     block (32, 8), grid (ceil(area/32), ceil(c/32), n)
//
// Every result is deterministic: no floating-point atomics, and reductions are trees whose shape depends on
// the sizes alone, never on the device.

// ---- elementwise: each(n) ----

// dst = value.
KERNEL_T(fill, (T* dst, float value, i64 n))
// dst = src, in the other type. May not overlap.
KERNEL(cast_f32_bf16, (bf16* dst, const float* src, i64 n))
KERNEL(cast_bf16_f32, (float* dst, const bf16* src, i64 n))
// dst = a + b, then max(., 0) if relu is not 0. dst may be a or b.
KERNEL_T(add, (T* dst, const T* a, const T* b, int relu, i64 n))
// dst = max(src, 0). dst may be src.
KERNEL_T(relu, (T* dst, const T* src, i64 n))
// dx = y > 0 ? dy : 0, y being the output of the ReLU. dx may be dy.
KERNEL_T(relu_backward, (T* dx, const T* dy, const T* y, i64 n))
// dst = scale src + dst: one multiply, one add.
KERNEL(axpy, (float* dst, const float* src, float scale, i64 n))
// dst = scale dst.
KERNEL(scale, (float* dst, float scale, i64 n))

// ---- layouts ----

// Images: x is n rows of c x area floats (CHW), y n rows of area x padded, channels [c, padded) zero.
// c <= padded <= 8. each(n * area)
KERNEL_T(pack_image, (T* y, const float* x, int c, int area, int padded, int n))
// The reverse, padding dropped. each(n * area)
KERNEL_T(unpack_image, (float* y, const T* x, int c, int area, int padded, int n))
// Feature maps of any c: y NHWC = x CHW, and back. tiles(area, c, n)
KERNEL_T(pack, (T* y, const float* x, int c, int area))
KERNEL_T(unpack, (float* y, const T* x, int c, int area))
// Images of bytes, n x side_h x side_w x 3 (HWC), cut to h x w at crops[4 i] = top, left, mirrored (0 or 1), unused,
// then y = (byte x (1/255) - mean[channel]) x scale[channel], every operation rounded by itself as in package dataset,
// channels [3, padded) zero. 3 <= padded <= 8. each(n * h * w)
KERNEL_T(crop, (T* y, const unsigned char* x, const int* crops, Normalisation norm, int side_h, int side_w, int h, int w, int padded, int n))
// All convolution weights of a network at once: for each row {dst, src, k, c, taps, padded} of the table (i64
// each; dst and src count elements), dst[(k taps + t) padded + c] (KRSC) = src[(k c + c) taps + t] (OIHW), padding zero.
// The dst ranges, k x taps x padded elements each, are ascending and without gaps; total is their sum. each(total)
KERNEL_T(weights, (T* dst, const float* src, const i64* table, int count, i64 total))
// dst[(k c + c) taps + t] += src[(k taps + t) padded + c]: a KRSC gradient into the flat OIHW block. each(k * c * taps)
KERNEL_T(weights_gradient, (float* dst, const T* src, int k, int c, int taps, int padded))

// ---- batch norm and group norm: columns(area, c, T) with grid z = images ----
// Group norm: images = rows, area = pixels of a row, groups = its groups. Batch norm: images = 1, area = rows x
// pixels, groups = c. A set is what is normalised together: set = image x groups + channel / (c / groups).

// partial[((image x slices + slice) x 2 + k) x c + channel] = mean (k = 0) and sum of squared distances from it
// (k = 1) of the channel over a slice. slices = gridDim.y.
KERNEL_T(norm_partial, (float* partial, const T* x, int area, int c))
// Live batch norm: mean[c] and inverse[c] = 1/sqrt(biased variance + eps) from partial; if the sums are not null,
// mean_sum[c] += mean and variance_sum[c] += unbiased variance (area >= 2). block (32, 8), grid ceil(c / 32).
KERNEL(batch_statistics, (float* mean, float* inverse, float* mean_sum, float* variance_sum, const float* partial, int slices, int area, int c, float eps))
// Batch norm with running statistics: mean = running_mean, inverse = 1/sqrt(running_var + eps). each(c)
KERNEL(running_statistics, (float* mean, float* inverse, const float* running_mean, const float* running_var, float eps, int c))
// Group norm: mean and inverse of each of the images x groups sets. warps(images * groups)
KERNEL(group_statistics, (float* mean, float* inverse, const float* partial, int slices, int area, int c, int groups, int images, float eps))
// y = (x - mean[set]) inverse[set] weight[channel] + bias[channel], + residual (may be null), then max(., 0) if
// relu is not 0. y may be x or residual. The images are gridDim.z.
KERNEL_T(norm_apply, (T* y, const T* x, const T* residual, const float* mean, const float* inverse, const float* weight, const float* bias, int area, int c, int groups, int relu))
// Backward, first pass. g = dy, or where y is not null dy masked by y > 0 (the output of a ReLU behind the norm).
// partial[(image x slices + slice) x 2 + k][channel] = sum of g (k = 0), of g xhat (k = 1) over a slice.
KERNEL_T(norm_backward_partial, (float* partial, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, int area, int c, int groups))
// The sums of partial[count][2][c] over its first extent, count = images x slices: dbias[c] += that of g, dweight[c]
// += that of g xhat, and for a live batch norm sums[c][2] = weight[c] x both. sums, or both gradients (and then
// weight is still read if sums is not), may be null. block (32, 8), grid ceil(c / 32).
KERNEL(norm_backward_reduce, (float* sums, float* dweight, float* dbias, const float* partial, const float* weight, int count, int c))
// Group norm only: sums[set][2] = sum over slices and the set's channels of weight[channel] partial. warps(images * groups)
KERNEL(group_backward_sums, (float* sums, const float* partial, const float* weight, int slices, int c, int groups, int images))
// dx = inverse[set] (weight g - (s0 + xhat s1) / n), with s0, s1 = sums[set][2] the sums of weight g and weight g xhat
// over the set, of norm_backward_reduce (batch norm) or group_backward_sums, and n = area x c / groups its size.
// Null sums: statistics are constants (frozen), dx = inverse weight g.
// If dresidual is not null it receives g. dx or dresidual may be dy.
KERNEL_T(norm_backward_apply, (T* dx, T* dresidual, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, const float* weight, const float* sums, int area, int c, int groups))

// A convolution's weights with the batch norm with running statistics behind it: dst = KRSC of w x factor, offset[k] =
// beta - mean factor, + conv_bias factor (may be null), with factor = gamma / sqrt(variance + eps). each(k * taps * padded)
KERNEL_T(fold, (T* dst, T* offset, const float* w, const float* conv_bias, const float* gamma, const float* beta, const float* mean, const float* variance, float eps, int k, int c, int taps, int padded))
// y[row][channel] += offset[channel], + residual (may be null), then max(., 0) if relu is not 0. each(rows * c)
KERNEL_T(finish_convolution, (T* y, const T* offset, const T* residual, i64 rows, int c, int relu))

// ---- bias ----

// y[row][channel] += bias[channel]. each(rows * c)
KERNEL_T(bias, (T* y, const float* bias, i64 rows, int c))
// partial[slice][c] = sum of dy over a slice of the rows. columns(rows, c, T), one image.
KERNEL_T(bias_partial, (float* partial, const T* dy, int rows, int c))
// dst[c] += sum of partial[count][c]. block (32, 8), grid ceil(c / 32).
KERNEL(bias_reduce, (float* dst, const float* partial, int count, int c))

// ---- pooling ----

// y and from, n x oh x ow x c: the largest value of each kernel x kernel window and its place in the window (row
// x kernel + column, the first in row-major order; kernel <= 15). Padding never wins; from is
// aligned like the vectors of y. each(n * oh * ow * c)
KERNEL_T(maxpool, (T* y, unsigned char* from, const T* x, Window window))
// dx, n x h x w x c = sum of dy over the windows that took it, in row-major order of the windows. each(n * h * w * c)
KERNEL_T(maxpool_backward, (T* dx, const T* dy, const unsigned char* from, Window window))
// y[n][c] (float32) = average + maximum over area; from[n][c] = pixel of the first maximum. each(n * c)
KERNEL_T(avgmax, (float* y, int* from, const T* x, int n, int area, int c))
// dx[n][area][c] = dy[n][c] / area, + dy[n][c] at from. each(n * area * c)
KERNEL_T(avgmax_backward, (T* dx, const float* dy, const int* from, int n, int area, int c))

// ---- head, all float32 ----

// y = x / max(length, eps), length[row] = |x|. warps(n)
KERNEL(l2norm, (float* y, float* length, const float* x, int n, int d, float eps))
// dx = (dy - y (y . dy)) / length; 0 where length < eps. dx may be dy. warps(n)
KERNEL(l2norm_backward, (float* dx, const float* dy, const float* y, const float* length, int n, int d, float eps))

// ---- sums that do not depend on their order: the arithmetic of internal/exact ----

// acc += (int64)(x 2^44), truncated; *flag = 1 if a magnitude's bits exceed limit (float32 bits of exact.Max(count)).
KERNEL(exact_add, (i64* acc, const float* x, int limit, int* flag, i64 n))
// dst = acc 2^-44, rounded as exact.Float32 rounds. each(n)
KERNEL(exact_float32, (float* dst, const i64* acc, i64 n))

// ---- optimizer on the flat block: the arithmetic of package optim ----
// Group g covers [starts[g], starts[g+1]) of the block; the launch covers groups [0, count), whose elements are
// starts[0] to starts[count]. each(starts[count] - starts[0])

KERNEL(adam, (float* params, float* mean, float* square, const float* grads, const i64* starts, const AdamGroup* groups, int count))
KERNEL(sgd, (float* params, float* buffer, const float* grads, const i64* starts, const SGDGroup* groups, float momentum, int count))
// x clamped to [-limit, limit]; NaN stays. each(n)
KERNEL(clip_value, (float* x, float limit, i64 n))
// partial[block] = sum of squares (float64) of the elements of a block's part. blocks(512) always.
KERNEL(sum_squares, (double* partial, const float* x, i64 n))
// *dst = sum of partial[512]. blocks(1)
KERNEL(sum_partial, (double* dst, const double* partial))

// ---- mixing rows: metrix.Operator ----

// dst[v] = lambda x[i] + (1 - lambda) x[j] for pairs[v] = (i, j). each(count * width)
KERNEL_T(mix, (T* dst, const T* x, const int* pairs, const float* lambda, int count, int width))
// dst[row] += sum of share[k] dy[from[k]] for k in [starts[row], starts[row+1]), in that order; dst float32, dy T.
// The host lists, per row, the pairs it is part of, in their order (a pair's first row before its second). each(rows * width)
KERNEL_T(mix_transpose, (float* dst, const T* dy, const int* starts, const int* from, const float* share, int rows, int width))
// dst[i] = src[index[i]], and dst[index[i]] += src[i] for distinct indices; rows of d floats. each(n * d)
KERNEL(gather_rows, (float* dst, const float* src, const int* index, int n, int d))
KERNEL(scatter_add_rows, (float* dst, const float* src, const int* index, int n, int d))
// The same for raw rows brought to unit length (proxies): normalise and its backward, as metrix.Normalize; a row
// of zeros stays. l2norm does it with eps 1e-30.

// ---- the loss: see loss.cu for the method and launch.go for the order of launches ----
// Candidates are sorted by class, the classes of the anchors first, so that P(a) is one range of positions.
// h[anchor][candidate] are similarities (cuBLAS), g[candidate][candidate] those of candidates, of which only the
// rows of the anchors' classes are read (rows). Where anchors are candidates (own), h is g: anchor a reads row
// anchors[a].row of h. columns = candidates; leading dimension columns everywhere.
// lambdas: rows x columns floats, or null for mix.lambda. keep: anchors x columns bytes (0: the negative is not
// mixed), or null for all.

// terms[a]: sums, references and counts of anchor a. blocks(anchors)
KERNEL(loss_terms, (LossTerm* terms, const float* h, const float* g, const LossAnchor* anchors, const float* lambdas, const unsigned char* keep, int columns, LossForm form, LossMix mix))
// slopes[a] from terms, and value[3] = clean, mixed, clean + weight x mixed of the counted anchors. One block of 256.
KERNEL(loss_finish, (LossSlope* slopes, double* value, const LossTerm* terms, const LossAnchor* anchors, int count, LossForm form, LossMix mix, LossReduction by))
// dh[anchors[a].row][columns], the whole row = derivative by the anchor's similarities. blocks(anchors)
KERNEL(loss_anchor_gradient, (float* dh, const float* h, const float* g, const LossAnchor* anchors, const LossTerm* terms, const LossSlope* slopes, const float* lambdas, const unsigned char* keep, int columns, LossForm form, LossMix mix))
// dg[row][columns] (+)= derivative by g through the lengths of the mixes whose first row it is; adds where add is
// not 0, otherwise writes. ranges[row] = anchors of the row's class. Only where mix.kind is not 0. blocks(rows)
KERNEL(loss_pair_gradient, (float* dg, const float* h, const float* g, const LossAnchor* anchors, const LossRow* ranges, const LossTerm* terms, const LossSlope* slopes, const float* lambdas, const unsigned char* keep, int columns, int add, LossForm form, LossMix mix))
// keep[a][n] = 1 for the k negatives most similar to anchor a, ties to the lower order[n]. blocks(anchors)
KERNEL(loss_hardest, (unsigned char* keep, const float* h, const LossAnchor* anchors, const int* order, int columns, int k))
// Mixed rows that went through the network (v, count of them, d floats each), sorted by the class of their first
// row: anchor a uses [r0, r1), without those whose first[v] is its id, or, where mix.kind is 2, only those. Its
// similarities to all of [r0, r1) lie at s[slot ...]. rows holds the anchors' own unit rows, at anchors[a].row.
// blocks(anchors)
KERNEL(loss_rows_similarities, (float* s, const float* rows, const float* v, const LossAnchor* anchors, int d))
// The mixed part of terms, behind loss_terms with mix.kind 0. blocks(anchors)
KERNEL(loss_rows_terms, (LossTerm* terms, const float* s, const LossAnchor* anchors, const int* first, const float* lambda, LossForm form, LossMix mix))
// s becomes the derivative by s, 0 for the rows that are not used. blocks(anchors)
KERNEL(loss_rows_slopes, (float* s, const LossAnchor* anchors, const LossTerm* terms, const LossSlope* slopes, const int* first, const float* lambda, LossForm form, LossMix mix))
// drows[anchors[a].row] += sum of slope x mixed row. blocks(anchors)
KERNEL(loss_rows_anchor_gradient, (float* drows, const float* s, const float* v, const LossAnchor* anchors, int d))
// dv[v] = sum of slope x anchor over the anchors ranges[v] of its class. blocks(count)
KERNEL(loss_rows_mixed_gradient, (float* dv, const float* s, const float* rows, const LossAnchor* anchors, const LossRow* ranges, int d))
