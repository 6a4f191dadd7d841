// The kernels compiled for the CPU, by name.
#pragma once

#include <functional>

namespace emulator {

// Kernel is one entry of the table. bind copies the arguments that params points to, as a launch does, and
// returns what one thread of the grid does; it is null if a pointer among them is neither null nor in memory
// that a kernel may touch.
struct Kernel {
    const char *name;
    std::function<void()> (*bind)(void **params);
    int parameters;
};

const Kernel *findKernel(const char *name);

} // namespace emulator
