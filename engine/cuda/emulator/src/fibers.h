// The threads of a block as fibers of one thread of the CPU, switched where they wait for each other.
#pragma once

#include <cstdint>

namespace emulator {

// What a thread waits for.
enum State : unsigned char { Fresh, Running, AtBlock, AtWarp, Done };

// wait parks the running thread until its block (or warp) has arrived.
void wait(State at);

// exchange gives value to the other lanes of the warp and returns that of lane ^ mask, or value where there is
// no such lane.
uint64_t exchange(uint64_t value, int mask);

// fail ends the launch with an error of the driver; it does not return.
[[noreturn]] void fail(int error);

// Grid is the geometry of a launch.
struct Grid {
    unsigned grid[3], block[3];
};

// run calls body(data) once for every thread of the grid and returns 0 or the driver's error: illegal address,
// misaligned address, or a launch failure where threads wait for others that never come. reverse runs blocks
// and threads last to first.
int run(const Grid &g, void (*body)(void *), void *data, bool reverse);

} // namespace emulator
