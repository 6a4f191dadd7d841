// How the entry points of the emulated driver begin.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "fibers.h"
#include "internal.h"

#define API extern "C" __attribute__((visibility("default"))) int

namespace emulator {

// enter returns the error of a call that needs a context: none is current, or it is lost.
int enter();

} // namespace emulator
