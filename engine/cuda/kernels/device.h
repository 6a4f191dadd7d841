// What the kernels share: declarations, conversions, loads and stores of 16 bytes, reductions.
#pragma once

#include "types.h"

// Declarations of all kernels, so that a definition that differs from kernels.h does not compile.
#define KERNEL(name, parameters) extern "C" __global__ void name parameters;
namespace f32 {
typedef float T;
#define KERNEL_T(name, parameters) extern "C" __global__ void name##_f32 parameters;
#include "kernels.h"
#undef KERNEL_T
} // namespace f32
#undef KERNEL
#define KERNEL(name, parameters)
namespace b16 {
typedef bf16 T;
#define KERNEL_T(name, parameters) extern "C" __global__ void name##_bf16 parameters;
#include "kernels.h"
#undef KERNEL_T
} // namespace b16
#undef KERNEL

#define THREADS 256

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// BOTH defines name_f32 and name_bf16 by a function template of the same arguments.
#define BOTH(name, body, parameters, arguments)                                                                  \
    namespace f32 {                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) name##_f32 parameters { body<T> arguments; }           \
    }                                                                                                            \
    namespace b16 {                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) name##_bf16 parameters { body<T> arguments; }          \
    }
#define SINGLE(name, parameters) extern "C" __global__ void __launch_bounds__(THREADS) name parameters

// ---- conversions ----

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

template <class T> struct From;
template <> struct From<float> {
    static __device__ __forceinline__ float of(float x) { return x; }
};
template <> struct From<bf16> {
    // to nearest, ties to even; NaN becomes 0x7fff
    static __device__ __forceinline__ bf16 of(float x) {
        bf16 y;
#ifdef METRIX_HOST
        unsigned bits = __float_as_uint(x);
        y.bits = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
        return y;
    }
};

// ---- vectors of 16 bytes ----

template <class T> struct Width;
template <> struct Width<float> { enum { value = 4 }; };
template <> struct Width<bf16> { enum { value = 8 }; };

#ifdef METRIX_HOST
#define CHECK_ALIGNED(p) ((uintptr_t)(p) % 16 != 0 ? emulator::fail(716) : void())
#else
#define CHECK_ALIGNED(p)
#endif

// load reads V values at p: one, or 16 bytes.
template <int V, class T> __device__ __forceinline__ void load(float (&x)[V], const T* p) {
    if constexpr (V == 1) {
        x[0] = toFloat(*p);
    } else {
        static_assert(V == Width<T>::value, "a vector is 16 bytes");
        CHECK_ALIGNED(p);
        union { uint4 whole; T part[V]; } u;
        u.whole = *(const uint4*)p;
#pragma unroll
        for (int i = 0; i < V; i++) x[i] = toFloat(u.part[i]);
    }
}

template <int V, class T> __device__ __forceinline__ void store(T* p, const float (&x)[V]) {
    if constexpr (V == 1) {
        *p = From<T>::of(x[0]);
    } else {
        static_assert(V == Width<T>::value, "a vector is 16 bytes");
        CHECK_ALIGNED(p);
        union { uint4 whole; T part[V]; } u;
#pragma unroll
        for (int i = 0; i < V; i++) u.part[i] = From<T>::of(x[i]);
        *(uint4*)p = u.whole;
    }
}

// each reads V floats that need not be aligned.
template <int V> __device__ __forceinline__ void each(float (&x)[V], const float* p) {
#pragma unroll
    for (int i = 0; i < V; i++) x[i] = p[i];
}

// rectify is max(x, 0) that passes NaN on, so that a run that has diverged shows it.
__device__ __forceinline__ float rectify(float x) { return x < 0 ? 0.0f : x; }

// first and stride of a loop over elements, thread by thread.
__device__ __forceinline__ i64 first() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 stride() { return (i64)gridDim.x * blockDim.x; }

// ---- reductions: trees of fixed shape ----

template <class V> __device__ __forceinline__ V warpSum(V x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffff, x, mask);
    return x;
}

__device__ __forceinline__ float warpMax(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, mask));
    return x;
}

// blockSum returns the sum over the 256 threads of a one-dimensional block, to all of them.
template <class V> __device__ V blockSum(V x) {
    __shared__ V part[THREADS / 32];
    x = warpSum(x);
    __syncthreads(); // the last call's readers are done
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    V sum = 0;
#pragma unroll
    for (int i = 0; i < THREADS / 32; i++) sum += part[i];
    return sum;
}

__device__ inline float blockMax(float x) {
    __shared__ float part[THREADS / 32];
    x = warpMax(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    float m = part[0];
#pragma unroll
    for (int i = 1; i < THREADS / 32; i++) m = fmaxf(m, part[i]);
    return m;
}

// columnSum adds over threadIdx.y, a power of two, the K x V values of every thread; the sums are right where
// threadIdx.y is 0.
template <int K> __device__ void columnSum(float (&x)[K]) {
    __shared__ float part[K][THREADS];
    const int self = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < K; k++) part[k][self] = x[k];
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
#pragma unroll
            for (int k = 0; k < K; k++) part[k][self] += part[k][self + half * blockDim.x];
    }
#pragma unroll
    for (int k = 0; k < K; k++) x[k] = part[k][self];
}

// ---- columns: see launch.go ----

// Slice is the range of pixels of a block in the geometry columns.
struct Slice {
    int lo, hi;
};

__device__ __forceinline__ int sliceLength(int area, int slices) { return (area + slices - 1) / slices; }

__device__ __forceinline__ Slice slice(int area) {
    const int length = sliceLength(area, gridDim.y);
    const i64 lo = (i64)blockIdx.y * length;
    Slice s;
    s.lo = (int)min(lo, (i64)area);
    s.hi = (int)min(lo + length, (i64)area);
    return s;
}
