// What the emulated cuDNN and cuBLAS share.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "internal.h"

#define ENTRY(type) extern "C" __attribute__((visibility("default"))) type

namespace emulator {

// Element types, by cuDNN's numbers.
enum { Float = 0, BFloat16 = 9 };

inline size_t elementSize(int type) { return type == BFloat16 ? 2 : 4; }

inline float read(const void *p, int type, size_t i) {
    if (type != BFloat16)
        return ((const float *)p)[i];
    uint32_t bits = uint32_t(((const uint16_t *)p)[i]) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

inline void write(void *p, int type, size_t i, float x) {
    if (type != BFloat16) {
        ((float *)p)[i] = x;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &x, 4);
    ((uint16_t *)p)[i] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// within reports whether a kernel may touch size bytes at p.
inline bool within(const void *p, size_t size) { return find(p, size) != Where::Nowhere; }

} // namespace emulator
