// All kernels, one translation unit: nvrtc makes kernels.ptx of it (build.sh), and the emulator includes it to
// run the same text on the CPU.
#include "device.h"

#include "elementwise.cu"
#include "layout.cu"
#include "norm.cu"
#include "pool.cu"
#include "head.cu"
#include "exact.cu"
#include "optim.cu"
#include "mix.cu"
#include "loss.cu"
#include "lossgradient.cu"
