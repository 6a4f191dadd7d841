// Package emulator lets the CUDA engine be tested on a machine without a card: it builds, from the C++
// in src, libraries that stand in for libcuda, cuDNN and cuBLAS and run the engine's kernels on the CPU.
// It is for tests alone.
//
// # What it shows
//
// The kernels are the same text that becomes PTX. A block's threads are fibers, so barriers, shuffles
// and shared memory work as on a card, and waiting for threads that never come is an error. Memory is
// poisoned with NaN, lies between guards that cannot be touched, and is checked where a call waits for
// the card. Streams are queues; captured work replays; errors of a launch stay with the context.
// Convolutions and products are plain loops behind cuDNN's and cuBLAS's checks.
//
// # What it does not show
//
// Speed, real drivers' and libraries' errors and limits, TF32, races between threads of a block that
// lack a barrier (unless METRIX_EMULATOR_ORDER=reverse makes them visible), and rounding: on a card the
// compiler fuses products and sums, and exp and rsqrt differ in the last bits.
//
// # Switches, read from the environment at every call
//
//	METRIX_EMULATOR_FAIL        nodevice, olddriver, oom:BYTES, xid:LAUNCH, cudnn, cublas, finish; several
//	                            by commas
//	METRIX_EMULATOR_ORDER       late: work runs only when somebody waits for it; reverse: blocks and
//	                            threads run last to first; or both
//	METRIX_EMULATOR_MEMORY      bytes of the card (4 GiB)
//	METRIX_EMULATOR_DEVICES     number of cards (1)
//	METRIX_EMULATOR_CAPABILITY  compute capability x 10 (80)
//	METRIX_EMULATOR_CUDNN       what cudnnGetVersion returns (91002)
package emulator
