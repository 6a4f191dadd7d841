// Batch norm and group norm, forward and backward, in the geometry "columns": a thread has fixed channels, V of
// them side by side, keeps their constants in registers and goes down the pixels of its slice. An image is all
// rows of a batch norm, one row of a group norm; see kernels.h.

// Channels are those of a thread.
template <int V> struct Channels {
    int channel;         // the first
    int set[V];          // what each is normalised with
    __device__ __forceinline__ Channels(int c, int groups) {
        channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
        const int per = c / groups;
#pragma unroll
        for (int k = 0; k < V; k++) set[k] = blockIdx.z * groups + (per == 1 ? channel + k : (channel + k) / per);
    }
};

// VECTOR calls body with 16-byte vectors where c allows them.
#define VECTOR(T, c, body, arguments)              \
    if ((c) % Width<T>::value == 0)                \
        body<T, Width<T>::value> arguments;        \
    else                                           \
        body<T, 1> arguments;

// storePartial sums K values per channel over the block's rows of threads and writes them to
// partial[(image x slices + slice) x K + k][channel].
template <int V, int K, class F> __device__ __forceinline__ void storePartial(float* partial, float (&sum)[K * V], int channel, int c, F f) {
    columnSum(sum);
    if (threadIdx.y != 0 || channel >= c) return;
    float* to = partial + ((i64)blockIdx.z * gridDim.y + blockIdx.y) * K * c + channel;
#pragma unroll
    for (int v = 0; v < V; v++) {
        float out[K];
#pragma unroll
        for (int k = 0; k < K; k++) out[k] = sum[k * V + v];
        f(out, v);
#pragma unroll
        for (int k = 0; k < K; k++) to[(i64)k * c + v] = out[k];
    }
}

// The sums are taken of distances from the slice's first pixel, so that a mean that is large against the
// deviation costs no digits.
template <class T, int V> __device__ void normPartial(float* partial, const T* x, int area, int c) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const Slice s = slice(area);
    const T* from = x + (i64)blockIdx.z * area * c + channel;
    float origin[V] = {}, sum[2 * V] = {};
    if (channel < c && s.lo < s.hi) {
        load(origin, from + (i64)s.lo * c);
        for (int p = s.lo + threadIdx.y; p < s.hi; p += blockDim.y) {
            float v[V];
            load(v, from + (i64)p * c);
#pragma unroll
            for (int k = 0; k < V; k++) {
                const float d = v[k] - origin[k];
                sum[k] += d;
                sum[V + k] += d * d;
            }
        }
    }
    const float n = (float)max(s.hi - s.lo, 1);
    storePartial<V, 2>(partial, sum, channel, c, [&](float (&out)[2], int v) {
        const float mean = out[0] / n;
        out[1] = fmaxf(out[1] - out[0] * mean, 0.0f);
        out[0] = origin[v] + mean;
    });
}

template <class T> __device__ void normPartialBody(float* partial, const T* x, int area, int c) {
    VECTOR(T, c, normPartial, (partial, x, area, c))
}
BOTH(norm_partial, normPartialBody, (float* partial, const T* x, int area, int c), (partial, x, area, c))

// Merge gathers means and squares of slices: the mean of all from the means, then the squares about it.
struct Merge {
    const float* partial;
    int area, length, c;

    __device__ __forceinline__ int pixels(int slice) const { return max(min(area - slice * length, length), 0); }
    __device__ __forceinline__ double mean(int slice, int channel) const { return partial[(i64)slice * 2 * c + channel]; }
    __device__ __forceinline__ double square(int slice, int channel) const { return partial[((i64)slice * 2 + 1) * c + channel]; }
};

// sumRows adds a value of every thread over threadIdx.y of a block (32, 8), to all.
__device__ inline double sumRows(double x) {
    __shared__ double part[8][32];
    __syncthreads();
    part[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    double sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += part[i][threadIdx.x];
    return sum;
}

SINGLE(batch_statistics, (float* mean, float* inverse, float* mean_sum, float* variance_sum, const float* partial, int slices, int area, int c, float eps)) {
    const int channel = blockIdx.x * 32 + threadIdx.x;
    const bool inside = channel < c;
    const Merge m = {partial, area, sliceLength(area, slices), c};
    double sum = 0, squares = 0;
    if (inside)
        for (int s = threadIdx.y; s < slices; s += 8) sum += m.pixels(s) * m.mean(s, channel);
    const double center = sumRows(sum) / area;
    if (inside)
        for (int s = threadIdx.y; s < slices; s += 8) {
            const double d = m.mean(s, channel) - center;
            squares += m.square(s, channel) + m.pixels(s) * d * d;
        }
    squares = sumRows(squares);
    if (!inside || threadIdx.y != 0) return;
    mean[channel] = (float)center;
    inverse[channel] = (float)(1 / sqrt(squares / area + (double)eps));
    if (mean_sum != nullptr) {
        mean_sum[channel] += (float)center;
        variance_sum[channel] += (float)(squares / (area - 1));
    }
}

SINGLE(running_statistics, (float* mean, float* inverse, const float* running_mean, const float* running_var, float eps, int c)) {
    for (i64 i = first(); i < c; i += stride()) {
        mean[i] = running_mean[i];
        inverse[i] = (float)(1 / sqrt((double)running_var[i] + (double)eps));
    }
}

// warpRow is the row of a warp in the geometry "warps".
__device__ __forceinline__ int warpRow() { return blockIdx.x * blockDim.y + threadIdx.y; }

SINGLE(group_statistics, (float* mean, float* inverse, const float* partial, int slices, int area, int c, int groups, int images, float eps)) {
    const int set = warpRow();
    if (set >= images * groups) return;
    const int image = set / groups, per = c / groups, channel = (set - image * groups) * per;
    const Merge m = {partial + (i64)image * slices * 2 * c, area, sliceLength(area, slices), c};
    double sum = 0, squares = 0;
    for (int i = threadIdx.x; i < slices * per; i += 32) sum += m.pixels(i / per) * m.mean(i / per, channel + i % per);
    const double n = (double)area * per, center = warpSum(sum) / n;
    for (int i = threadIdx.x; i < slices * per; i += 32) {
        const double d = m.mean(i / per, channel + i % per) - center;
        squares += m.square(i / per, channel + i % per) + m.pixels(i / per) * d * d;
    }
    squares = warpSum(squares);
    if (threadIdx.x != 0) return;
    mean[set] = (float)center;
    inverse[set] = (float)(1 / sqrt(squares / n + (double)eps));
}

template <class T, int V>
__device__ void normApply(T* y, const T* x, const T* residual, const float* mean, const float* inverse, const float* weight, const float* bias, int area, int c, int groups, int relu) {
    const Channels<V> ch(c, groups);
    if (ch.channel >= c) return;
    const Slice s = slice(area);
    float center[V], factor[V], shift[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
        center[k] = mean[ch.set[k]];
        factor[k] = inverse[ch.set[k]] * weight[ch.channel + k];
        shift[k] = bias[ch.channel + k];
    }
    const i64 origin = (i64)blockIdx.z * area * c + ch.channel;
    for (int p = s.lo + threadIdx.y; p < s.hi; p += blockDim.y) {
        const i64 at = origin + (i64)p * c;
        float v[V], r[V] = {};
        load(v, x + at);
        if (residual != nullptr) load(r, residual + at);
#pragma unroll
        for (int k = 0; k < V; k++) {
            v[k] = (v[k] - center[k]) * factor[k] + shift[k] + r[k];
            if (relu) v[k] = rectify(v[k]);
        }
        store(y + at, v);
    }
}

template <class T>
__device__ void normApplyBody(T* y, const T* x, const T* residual, const float* mean, const float* inverse, const float* weight, const float* bias, int area, int c, int groups, int relu) {
    VECTOR(T, c, normApply, (y, x, residual, mean, inverse, weight, bias, area, c, groups, relu))
}
BOTH(norm_apply, normApplyBody,
     (T* y, const T* x, const T* residual, const float* mean, const float* inverse, const float* weight, const float* bias, int area, int c, int groups, int relu),
     (y, x, residual, mean, inverse, weight, bias, area, c, groups, relu))

// masked reads dy, set to 0 where the output y of a ReLU, if there is one, is not positive.
template <int V, class T> __device__ __forceinline__ void masked(float (&g)[V], const T* dy, const T* y, i64 at) {
    load(g, dy + at);
    if (y == nullptr) return;
    float out[V];
    load(out, y + at);
#pragma unroll
    for (int k = 0; k < V; k++) g[k] = out[k] > 0 ? g[k] : 0.0f;
}

template <class T, int V>
__device__ void normBackwardPartial(float* partial, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, int area, int c, int groups) {
    const Channels<V> ch(c, groups);
    const Slice s = slice(area);
    float center[V] = {}, factor[V] = {}, sum[2 * V] = {};
    if (ch.channel < c) {
#pragma unroll
        for (int k = 0; k < V; k++) {
            center[k] = mean[ch.set[k]];
            factor[k] = inverse[ch.set[k]];
        }
        const i64 origin = (i64)blockIdx.z * area * c + ch.channel;
        for (int p = s.lo + threadIdx.y; p < s.hi; p += blockDim.y) {
            const i64 at = origin + (i64)p * c;
            float g[V], v[V];
            masked(g, dy, y, at);
            load(v, x + at);
#pragma unroll
            for (int k = 0; k < V; k++) {
                sum[k] += g[k];
                sum[V + k] += g[k] * ((v[k] - center[k]) * factor[k]);
            }
        }
    }
    storePartial<V, 2>(partial, sum, ch.channel, c, [](float (&)[2], int) {});
}

template <class T>
__device__ void normBackwardPartialBody(float* partial, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, int area, int c, int groups) {
    VECTOR(T, c, normBackwardPartial, (partial, dy, y, x, mean, inverse, area, c, groups))
}
BOTH(norm_backward_partial, normBackwardPartialBody,
     (float* partial, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, int area, int c, int groups),
     (partial, dy, y, x, mean, inverse, area, c, groups))

SINGLE(norm_backward_reduce, (float* sums, float* dweight, float* dbias, const float* partial, const float* weight, int count, int c)) {
    const int channel = blockIdx.x * 32 + threadIdx.x;
    double g = 0, gx = 0;
    if (channel < c)
        for (int s = threadIdx.y; s < count; s += 8) {
            g += partial[(i64)s * 2 * c + channel];
            gx += partial[((i64)s * 2 + 1) * c + channel];
        }
    g = sumRows(g);
    gx = sumRows(gx);
    if (channel >= c || threadIdx.y != 0) return;
    if (sums != nullptr) {
        sums[channel * 2] = (float)(weight[channel] * g);
        sums[channel * 2 + 1] = (float)(weight[channel] * gx);
    }
    if (dweight != nullptr) {
        dbias[channel] += (float)g;
        dweight[channel] += (float)gx;
    }
}

SINGLE(group_backward_sums, (float* sums, const float* partial, const float* weight, int slices, int c, int groups, int images)) {
    const int set = warpRow();
    if (set >= images * groups) return;
    const int image = set / groups, per = c / groups, channel = (set - image * groups) * per;
    const float* from = partial + (i64)image * slices * 2 * c;
    double g = 0, gx = 0;
    for (int i = threadIdx.x; i < slices * per; i += 32) {
        const int s = i / per, at = channel + i % per;
        g += (double)weight[at] * from[(i64)s * 2 * c + at];
        gx += (double)weight[at] * from[((i64)s * 2 + 1) * c + at];
    }
    g = warpSum(g);
    gx = warpSum(gx);
    if (threadIdx.x != 0) return;
    sums[set * 2] = (float)g;
    sums[set * 2 + 1] = (float)gx;
}

// dx = (inverse weight) g - inverse^2 s1 / n (x - mean) - inverse s0 / n
template <class T, int V>
__device__ void normBackwardApply(T* dx, T* dresidual, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, const float* weight, const float* sums, int area, int c, int groups) {
    const Channels<V> ch(c, groups);
    if (ch.channel >= c) return;
    const Slice s = slice(area);
    float center[V], byG[V], byX[V], shift[V];
    const float n = (float)area * (float)(c / groups);
#pragma unroll
    for (int k = 0; k < V; k++) {
        const float r = inverse[ch.set[k]];
        center[k] = mean[ch.set[k]];
        byG[k] = r * weight[ch.channel + k];
        byX[k] = sums == nullptr ? 0.0f : -r * r * sums[ch.set[k] * 2 + 1] / n;
        shift[k] = sums == nullptr ? 0.0f : -r * sums[ch.set[k] * 2] / n;
    }
    const i64 origin = (i64)blockIdx.z * area * c + ch.channel;
    for (int p = s.lo + threadIdx.y; p < s.hi; p += blockDim.y) {
        const i64 at = origin + (i64)p * c;
        float g[V], v[V];
        masked(g, dy, y, at);
        if (dresidual != nullptr) store(dresidual + at, g);
        if (sums != nullptr) {
            load(v, x + at);
#pragma unroll
            for (int k = 0; k < V; k++) g[k] = byG[k] * g[k] + (byX[k] * (v[k] - center[k]) + shift[k]);
        } else {
#pragma unroll
            for (int k = 0; k < V; k++) g[k] = byG[k] * g[k];
        }
        store(dx + at, g);
    }
}

template <class T>
__device__ void normBackwardApplyBody(T* dx, T* dresidual, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, const float* weight, const float* sums, int area, int c, int groups) {
    VECTOR(T, c, normBackwardApply, (dx, dresidual, dy, y, x, mean, inverse, weight, sums, area, c, groups))
}
BOTH(norm_backward_apply, normBackwardApplyBody,
     (T* dx, T* dresidual, const T* dy, const T* y, const T* x, const float* mean, const float* inverse, const float* weight, const float* sums, int area, int c, int groups),
     (dx, dresidual, dy, y, x, mean, inverse, weight, sums, area, c, groups))

// ---- bias ----

template <class T, int V> __device__ void biasVector(T* y, const float* bias, i64 rows, int c) {
    const i64 n = rows * c / V;
    for (i64 i = first(); i < n; i += stride()) {
        float v[V], b[V];
        load(v, y + i * V);
        each(b, bias + i * V % c);
#pragma unroll
        for (int k = 0; k < V; k++) v[k] += b[k];
        store(y + i * V, v);
    }
}
template <class T> __device__ void biasBody(T* y, const float* bias, i64 rows, int c) { VECTOR(T, c, biasVector, (y, bias, rows, c)) }
BOTH(bias, biasBody, (T* y, const float* bias, i64 rows, int c), (y, bias, rows, c))

template <class T, int V> __device__ void biasPartial(float* partial, const T* dy, int rows, int c) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const Slice s = slice(rows);
    float sum[V] = {};
    if (channel < c)
        for (int p = s.lo + threadIdx.y; p < s.hi; p += blockDim.y) {
            float g[V];
            load(g, dy + (i64)p * c + channel);
#pragma unroll
            for (int k = 0; k < V; k++) sum[k] += g[k];
        }
    storePartial<V, 1>(partial, sum, channel, c, [](float (&)[1], int) {});
}
template <class T> __device__ void biasPartialBody(float* partial, const T* dy, int rows, int c) {
    VECTOR(T, c, biasPartial, (partial, dy, rows, c))
}
BOTH(bias_partial, biasPartialBody, (float* partial, const T* dy, int rows, int c), (partial, dy, rows, c))

SINGLE(bias_reduce, (float* dst, const float* partial, int count, int c)) {
    const int channel = blockIdx.x * 32 + threadIdx.x;
    double sum = 0;
    if (channel < c)
        for (int s = threadIdx.y; s < count; s += 8) sum += partial[(i64)s * c + channel];
    sum = sumRows(sum);
    if (channel < c && threadIdx.y == 0) dst[channel] += (float)sum;
}
