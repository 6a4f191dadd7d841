// Pooling, NHWC: neighbouring threads have neighbouring channels of one pixel.

// Pixel is an element's place.
struct Pixel {
    int n, y, x, channel;
};

// place splits the index of a vector of V channels of an n x h x w x c activation; there are fewer than 2^32.
template <int V> __device__ __forceinline__ Pixel place(i64 i, int h, int w, int c) {
    const unsigned per = c / V, index = (unsigned)i, pixel = index / per, row = pixel / w, image = row / h;
    Pixel p;
    p.channel = (int)(index - pixel * per) * V;
    p.x = (int)(pixel - row * w);
    p.y = (int)(row - image * h);
    p.n = (int)image;
    return p;
}

// Bytes holds V places in windows, moved at once.
template <int V> struct Bytes;
template <> struct Bytes<1> { typedef unsigned char whole; };
template <> struct Bytes<4> { typedef unsigned whole; };
template <> struct Bytes<8> { typedef unsigned long long whole; };
template <int V> union Places {
    typename Bytes<V>::whole whole;
    unsigned char part[V];
};

template <class T, int V> __device__ void maxpoolVector(T* y, unsigned char* from, const T* x, const Window& win) {
    const i64 n = (i64)win.n * win.oh * win.ow * (win.c / V);
    for (i64 i = first(); i < n; i += stride()) {
        const Pixel p = place<V>(i, win.oh, win.ow, win.c);
        float best[V];
        Places<V> where;
        where.whole = 0;
#pragma unroll
        for (int k = 0; k < V; k++) best[k] = -INFINITY;
        for (int a = 0; a < win.kernel; a++) {
            const int row = p.y * win.stride - win.pad + a;
            if (row < 0 || row >= win.h) continue;
            for (int b = 0; b < win.kernel; b++) {
                const int col = p.x * win.stride - win.pad + b;
                if (col < 0 || col >= win.w) continue;
                float v[V];
                load(v, x + (((i64)p.n * win.h + row) * win.w + col) * win.c + p.channel);
#pragma unroll
                for (int k = 0; k < V; k++)
                    if (v[k] > best[k]) best[k] = v[k], where.part[k] = (unsigned char)(a * win.kernel + b);
            }
        }
        store(y + i * V, best);
        ((typename Bytes<V>::whole*)from)[i] = where.whole;
    }
}
template <class T> __device__ void maxpoolBody(T* y, unsigned char* from, const T* x, const Window& window) {
    VECTOR(T, window.c, maxpoolVector, (y, from, x, window))
}
BOTH(maxpool, maxpoolBody, (T* y, unsigned char* from, const T* x, Window window), (y, from, x, window))

// Every input pixel asks the windows that cover it whether they took it.
template <class T, int V> __device__ void maxpoolBackwardVector(T* dx, const T* dy, const unsigned char* from, const Window& win) {
    const i64 n = (i64)win.n * win.h * win.w * (win.c / V);
    for (i64 i = first(); i < n; i += stride()) {
        const Pixel p = place<V>(i, win.h, win.w, win.c);
        float sum[V] = {};
        // Window o covers rows [o stride - pad, o stride - pad + kernel).
        const int top = max((p.y + win.pad - win.kernel + win.stride) / win.stride, 0), bottom = min((p.y + win.pad) / win.stride, win.oh - 1);
        const int left = max((p.x + win.pad - win.kernel + win.stride) / win.stride, 0), right = min((p.x + win.pad) / win.stride, win.ow - 1);
        for (int oy = top; oy <= bottom; oy++)
            for (int ox = left; ox <= right; ox++) {
                const int here = (p.y - oy * win.stride + win.pad) * win.kernel + p.x - ox * win.stride + win.pad;
                const i64 at = (((i64)p.n * win.oh + oy) * win.ow + ox) * win.c + p.channel;
                float g[V];
                load(g, dy + at);
                Places<V> where;
                where.whole = *(const typename Bytes<V>::whole*)(from + at);
#pragma unroll
                for (int k = 0; k < V; k++)
                    if (where.part[k] == here) sum[k] += g[k];
            }
        store(dx + i * V, sum);
    }
}
template <class T> __device__ void maxpoolBackwardBody(T* dx, const T* dy, const unsigned char* from, const Window& window) {
    VECTOR(T, window.c, maxpoolBackwardVector, (dx, dy, from, window))
}
BOTH(maxpool_backward, maxpoolBackwardBody, (T* dx, const T* dy, const unsigned char* from, Window window), (dx, dy, from, window))

template <class T, int V> __device__ void avgmaxVector(float* y, int* from, const T* x, int n, int area, int c) {
    const int per = c / V;
    for (i64 i = first(); i < (i64)n * per; i += stride()) {
        const i64 image = i / per;
        const int channel = (int)(i - image * per) * V;
        const T* at = x + image * area * c + channel;
        float sum[V] = {}, best[V];
        int where[V] = {};
        load(best, at);
        for (int p = 0; p < area; p++) {
            float v[V];
            load(v, at + (i64)p * c);
#pragma unroll
            for (int k = 0; k < V; k++) {
                sum[k] += v[k];
                if (v[k] > best[k]) best[k] = v[k], where[k] = p;
            }
        }
#pragma unroll
        for (int k = 0; k < V; k++) {
            y[image * c + channel + k] = sum[k] / (float)area + best[k];
            from[image * c + channel + k] = where[k];
        }
    }
}
template <class T> __device__ void avgmaxBody(float* y, int* from, const T* x, int n, int area, int c) {
    VECTOR(T, c, avgmaxVector, (y, from, x, n, area, c))
}
BOTH(avgmax, avgmaxBody, (float* y, int* from, const T* x, int n, int area, int c), (y, from, x, n, area, c))

template <class T, int V> __device__ void avgmaxBackwardVector(T* dx, const float* dy, const int* from, int n, int area, int c) {
    const i64 total = (i64)n * area * (c / V);
    for (i64 i = first(); i < total; i += stride()) {
        const Pixel p = place<V>(i, 1, area, c);
        const i64 at = (i64)p.n * c + p.channel;
        float v[V];
#pragma unroll
        for (int k = 0; k < V; k++) {
            const float d = dy[at + k];
            v[k] = d / (float)area + (from[at + k] == p.x ? d : 0.0f);
        }
        store(dx + i * V, v);
    }
}
template <class T> __device__ void avgmaxBackwardBody(T* dx, const float* dy, const int* from, int n, int area, int c) {
    VECTOR(T, c, avgmaxBackwardVector, (dx, dy, from, n, area, c))
}
BOTH(avgmax_backward, avgmaxBackwardBody, (T* dx, const float* dy, const int* from, int n, int area, int c), (dx, dy, from, n, area, c))
