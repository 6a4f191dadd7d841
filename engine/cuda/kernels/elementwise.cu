// Elementwise kernels: 16 bytes a thread, the last few elements one by one.

// map1 calls f on every element of src, map2 on those of two, and stores to dst.
template <class T, class F> __device__ __forceinline__ void map1(T* dst, const T* src, i64 n, F f) {
    constexpr int V = Width<T>::value;
    for (i64 i = first(); i < n / V; i += stride()) {
        float x[V];
        load(x, src + i * V);
#pragma unroll
        for (int k = 0; k < V; k++) x[k] = f(x[k]);
        store(dst + i * V, x);
    }
    for (i64 i = n / V * V + first(); i < n; i += stride()) dst[i] = From<T>::of(f(toFloat(src[i])));
}

template <class T, class F> __device__ __forceinline__ void map2(T* dst, const T* a, const T* b, i64 n, F f) {
    constexpr int V = Width<T>::value;
    for (i64 i = first(); i < n / V; i += stride()) {
        float x[V], y[V];
        load(x, a + i * V);
        load(y, b + i * V);
#pragma unroll
        for (int k = 0; k < V; k++) x[k] = f(x[k], y[k]);
        store(dst + i * V, x);
    }
    for (i64 i = n / V * V + first(); i < n; i += stride()) dst[i] = From<T>::of(f(toFloat(a[i]), toFloat(b[i])));
}

template <class T> __device__ void fillBody(T* dst, float value, i64 n) {
    constexpr int V = Width<T>::value;
    float x[V];
#pragma unroll
    for (int k = 0; k < V; k++) x[k] = value;
    for (i64 i = first(); i < n / V; i += stride()) store(dst + i * V, x);
    for (i64 i = n / V * V + first(); i < n; i += stride()) dst[i] = From<T>::of(value);
}
BOTH(fill, fillBody, (T* dst, float value, i64 n), (dst, value, n))

SINGLE(cast_f32_bf16, (bf16* dst, const float* src, i64 n)) {
    for (i64 i = first(); i < n / 8; i += stride()) {
        float a[4], b[4], x[8];
        load(a, src + i * 8);
        load(b, src + i * 8 + 4);
#pragma unroll
        for (int k = 0; k < 4; k++) x[k] = a[k], x[k + 4] = b[k];
        store(dst + i * 8, x);
    }
    for (i64 i = n / 8 * 8 + first(); i < n; i += stride()) dst[i] = From<bf16>::of(src[i]);
}

SINGLE(cast_bf16_f32, (float* dst, const bf16* src, i64 n)) {
    for (i64 i = first(); i < n / 8; i += stride()) {
        float a[4], b[4], x[8];
        load(x, src + i * 8);
#pragma unroll
        for (int k = 0; k < 4; k++) a[k] = x[k], b[k] = x[k + 4];
        store(dst + i * 8, a);
        store(dst + i * 8 + 4, b);
    }
    for (i64 i = n / 8 * 8 + first(); i < n; i += stride()) dst[i] = toFloat(src[i]);
}

template <class T> __device__ void addBody(T* dst, const T* a, const T* b, int relu, i64 n) {
    if (relu)
        map2(dst, a, b, n, [](float x, float y) { return rectify(x + y); });
    else
        map2(dst, a, b, n, [](float x, float y) { return x + y; });
}
BOTH(add, addBody, (T* dst, const T* a, const T* b, int relu, i64 n), (dst, a, b, relu, n))

template <class T> __device__ void reluBody(T* dst, const T* src, i64 n) {
    map1(dst, src, n, [](float x) { return rectify(x); });
}
BOTH(relu, reluBody, (T* dst, const T* src, i64 n), (dst, src, n))

template <class T> __device__ void reluBackwardBody(T* dx, const T* dy, const T* y, i64 n) {
    map2(dx, dy, y, n, [](float d, float out) { return out > 0 ? d : 0.0f; });
}
BOTH(relu_backward, reluBackwardBody, (T* dx, const T* dy, const T* y, i64 n), (dx, dy, y, n))

SINGLE(axpy, (float* dst, const float* src, float scale, i64 n)) {
    map2(dst, src, dst, n, [=](float x, float y) { return __fadd_rn(__fmul_rn(scale, x), y); });
}

SINGLE(scale, (float* dst, float scale, i64 n)) {
    map1(dst, dst, n, [=](float x) { return scale * x; });
}
