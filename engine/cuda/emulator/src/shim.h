// What a CUDA compiler knows and g++ does not: the words, variables and functions that the kernels use, for
// compiling them for the CPU. One block runs at a time; its threads are fibers (fibers.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "fibers.h"

#define METRIX_HOST 1
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static // one block at a time

struct Index3 {
    unsigned x, y, z;
};
inline Index3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

using std::max;
using std::min;

inline void __syncthreads() { emulator::wait(emulator::AtBlock); }

template <class V>
V __shfl_xor_sync(unsigned, V value, int mask) {
    static_assert(sizeof(V) <= 8);
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emulator::exchange(bits, mask);
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline int __float_as_int(float x) { return int(__float_as_uint(x)); }
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Built with -ffp-contract=off, so that these are what they say.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline long long __float2ll_rz(float x) {
    return x >= 9.2233720368547758e18f ? INT64_MAX : x > -9.2233720368547758e18f ? (long long)x : INT64_MIN;
}
inline double __ll2double_rn(long long x) { return double(x); }
inline float __double2float_rn(double x) { return float(x); }
