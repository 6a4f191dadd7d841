// Package kernels holds the CUDA C++ kernels of the CUDA engine, and what a host needs to launch them:
// the geometry of a launch, the structs among the parameters, and the plan of a loss.
//
// # Where what is
//
// kernels.h lists every kernel with its parameters and contract; the .cu files hold them; kernels.ptx is
// what build.sh makes of them with the pinned run-time compiler, so that building a program needs no
// CUDA. The same sources are compiled for the CPU by package engine/cuda/emulator, whose libcuda runs
// them thread by thread; the tests of this package hold every kernel to the reference of package
// enginetest, to package optim, internal/exact and metrix.
//
// # Determinism
//
// No kernel uses floating-point atomics. A reduction is a tree whose shape follows from the sizes of its
// operands, which is why the geometry is computed here, without a look at the device: two cards of a
// kind give the same bits, and so does a card that runs more or fewer blocks at once. What a row of a
// call gives does not depend on the other rows, except in a live batch norm.
//
// # Cost
//
// Everything here is bound by memory: a forward batch norm reads its input twice and writes once, a
// backward reads three activations twice and writes one or two. Loads and stores are 16 bytes a thread
// where the channels allow it (multiples of 8 in bfloat16, of 4 in float32). The loss reads the Gram
// matrix from the second-level cache a few times and keeps nothing per mixed pair, see loss.cu.
package kernels
