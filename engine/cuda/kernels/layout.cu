// Changes of layout between the host's rows (CHW, float32) and the card's (NHWC).

template <class T> __device__ void packImageBody(T* y, const float* x, int c, int area, int padded, int n) {
    const i64 pixels = (i64)n * area;
    for (i64 i = first(); i < pixels; i += stride()) {
        const i64 image = i / area;
        const float* from = x + image * c * area + (i - image * area);
        T* to = y + i * padded;
        if (padded == Width<T>::value) { // one store
            float v[Width<T>::value];
#pragma unroll
            for (int k = 0; k < Width<T>::value; k++) v[k] = k < c ? from[(i64)k * area] : 0.0f;
            store(to, v);
            continue;
        }
        for (int k = 0; k < padded; k++) to[k] = From<T>::of(k < c ? from[(i64)k * area] : 0.0f);
    }
}
BOTH(pack_image, packImageBody, (T* y, const float* x, int c, int area, int padded, int n), (y, x, c, area, padded, n))

template <class T> __device__ void unpackImageBody(float* y, const T* x, int c, int area, int padded, int n) {
    const i64 pixels = (i64)n * area;
    for (i64 i = first(); i < pixels; i += stride()) {
        const i64 image = i / area;
        float* to = y + image * c * area + (i - image * area);
        for (int k = 0; k < c; k++) to[(i64)k * area] = toFloat(x[i * padded + k]);
    }
}
BOTH(unpack_image, unpackImageBody, (float* y, const T* x, int c, int area, int padded, int n), (y, x, c, area, padded, n))

// transposeTile writes the transpose of a 32 x 32 tile of src (rows x cols) to dst (cols x rows), through shared
// memory so that both sides are read and written along rows. Block (32, 8).
template <class D, class S> __device__ void transposeTile(D* dst, const S* src, int rows, int cols, int row, int col) {
    __shared__ float tile[32][33];
    for (int i = threadIdx.y; i < 32; i += 8)
        if (row + i < rows && col + (int)threadIdx.x < cols) tile[i][threadIdx.x] = toFloat(src[(i64)(row + i) * cols + col + threadIdx.x]);
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8)
        if (col + i < cols && row + (int)threadIdx.x < rows) dst[(i64)(col + i) * rows + row + threadIdx.x] = From<D>::of(tile[threadIdx.x][i]);
}

template <class T> __device__ void packBody(T* y, const float* x, int c, int area) {
    const i64 image = (i64)blockIdx.z * c * area;
    transposeTile(y + image, x + image, c, area, blockIdx.y * 32, blockIdx.x * 32);
}
BOTH(pack, packBody, (T* y, const float* x, int c, int area), (y, x, c, area))

template <class T> __device__ void unpackBody(float* y, const T* x, int c, int area) {
    const i64 image = (i64)blockIdx.z * c * area;
    transposeTile(y + image, x + image, area, c, blockIdx.x * 32, blockIdx.y * 32);
}
BOTH(unpack, unpackBody, (float* y, const T* x, int c, int area), (y, x, c, area))

template <class T>
__device__ void cropBody(T* y, const unsigned char* x, const int* crops, const Normalisation& norm, int sideH, int sideW, int h, int w, int padded, int n) {
    const i64 pixels = (i64)n * h * w;
    for (i64 i = first(); i < pixels; i += stride()) {
        const int image = (int)(i / ((i64)h * w)), pixel = (int)(i - (i64)image * h * w);
        const int row = pixel / w, col = pixel - row * w;
        const int* crop = crops + 4 * image;
        const int top = crop[0] + row, left = crop[1] + (crop[2] ? w - 1 - col : col);
        const unsigned char* from = x + (((i64)image * sideH + top) * sideW + left) * 3;
        T* to = y + i * padded;
#pragma unroll
        for (int k = 0; k < 3; k++) {
            const float level = __fmul_rn((float)from[k], 1.0f / 255.0f);
            to[k] = From<T>::of(__fmul_rn(__fadd_rn(level, -norm.mean[k]), norm.scale[k]));
        }
        for (int k = 3; k < padded; k++) to[k] = From<T>::of(0.0f);
    }
}
BOTH(crop, cropBody,
     (T* y, const unsigned char* x, const int* crops, Normalisation norm, int side_h, int side_w, int h, int w, int padded, int n),
     (y, x, crops, norm, side_h, side_w, h, w, padded, n))

// Row of the table of weights.
enum { TableDst, TableSrc, TableK, TableC, TableTaps, TablePadded, TableRow };

template <class T> __device__ void weightsBody(T* dst, const float* src, const i64* table, int count, i64 total) {
    const i64 origin = table[TableDst];
    for (i64 i = origin + first(); i < origin + total; i += stride()) {
        int lo = 0, hi = count; // the last row that begins at or before i
        while (hi - lo > 1) {
            const int mid = (lo + hi) / 2;
            if (table[mid * TableRow + TableDst] <= i) lo = mid; else hi = mid;
        }
        const i64* row = table + lo * TableRow;
        const unsigned at = (unsigned)(i - row[TableDst]), padded = (unsigned)row[TablePadded];
        const unsigned c = (unsigned)row[TableC], taps = (unsigned)row[TableTaps];
        const unsigned tap = at / padded, channel = at - tap * padded, k = tap / taps;
        const i64 from = row[TableSrc] + ((i64)k * c + channel) * taps + (tap - k * taps);
        dst[i] = From<T>::of(channel < c ? src[from] : 0.0f);
    }
}
BOTH(weights, weightsBody, (T* dst, const float* src, const i64* table, int count, i64 total), (dst, src, table, count, total))

template <class T>
__device__ void foldBody(T* dst, T* offset, const float* w, const float* convBias, const float* gamma, const float* beta,
                         const float* mean, const float* variance, float eps, int k, int c, int taps, int padded) {
    const i64 total = (i64)k * taps * padded;
    for (i64 i = first(); i < total; i += stride()) {
        const int channel = (int)(i % padded), tap = (int)(i / padded % taps), out = (int)(i / padded / taps);
        const float factor = __fdiv_rn(gamma[out], __fsqrt_rn(variance[out] + eps));
        dst[i] = From<T>::of(channel < c ? __fmul_rn(w[((i64)out * c + channel) * taps + tap], factor) : 0.0f);
        if (channel == 0 && tap == 0) {
            const float bias = convBias != nullptr ? convBias[out] : 0.0f;
            offset[out] = From<T>::of(__fadd_rn(beta[out], __fmul_rn(__fadd_rn(bias, -mean[out]), factor)));
        }
    }
}
BOTH(fold, foldBody,
     (T* dst, T* offset, const float* w, const float* conv_bias, const float* gamma, const float* beta, const float* mean, const float* variance, float eps, int k, int c, int taps, int padded),
     (dst, offset, w, conv_bias, gamma, beta, mean, variance, eps, k, c, taps, padded))

template <class T> __device__ void finishConvolutionBody(T* y, const T* offset, const T* residual, i64 rows, int c, int relu) {
    for (i64 i = first(); i < rows * c; i += stride()) {
        float v = toFloat(y[i]) + toFloat(offset[i % c]);
        if (residual != nullptr) v += toFloat(residual[i]);
        y[i] = From<T>::of(relu ? rectify(v) : v);
    }
}
BOTH(finish_convolution, finishConvolutionBody, (T* y, const T* offset, const T* residual, i64 rows, int c, int relu), (y, offset, residual, rows, c, relu))

template <class T> __device__ void weightsGradientBody(float* dst, const T* src, int k, int c, int taps, int padded) {
    const i64 n = (i64)k * c * taps;
    for (i64 i = first(); i < n; i += stride()) {
        const i64 pair = i / taps, tap = i - pair * taps, out = pair / c, channel = pair - out * c;
        dst[i] += toFloat(src[(out * taps + tap) * padded + channel]);
    }
}
BOTH(weights_gradient, weightsGradientBody, (float* dst, const T* src, int k, int c, int taps, int padded), (dst, src, k, c, taps, padded))
