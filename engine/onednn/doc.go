// Package onednn is the fast CPU engine: convolutions by oneDNN, those of 3 x 3 windows with stride 1 and
// everything between them by small C kernels, all called from Go without cgo.
//
// The kernels for 3 x 3 windows are Winograd's (shim/winograd.h): a quarter of the multiplications, at
// twice the rounding error, in single precision for activations of either precision. The shim chooses
// them by the shape of a layer alone (suits_winograd).
//
// A stage becomes a graph of values and ops (graph.go), and the graph becomes sections of work
// (builder.go). Within a section the rows of a call go in spans through several layers at a time, each
// span on one thread, so that a layer finds in the cache what the one before has written. Sections end
// where all rows must be known: at the statistics of live batch norm and at the sums of weight
// gradients.
//
// The bits of a call depend on its rows and on the processor, never on the number of threads: spans
// are cut by the number of rows alone, oneDNN computes each on one thread, and what is summed over
// spans is summed in their order. (oneDNN's own threads would split weight gradients by their number.)
//
// Activations keep one layout from the first convolution to the pooling, [row][channel block][pixel]
// [16 channels] (8 without AVX-512), in single precision or bfloat16. They lie outside Go's heap: what
// a backward needs in a tape, everything else in a slab that all programs share, placed by the sections
// in which it lives. The backward writes gradients over activations that nobody reads any more. The
// output of a norm that only convolutions read is not in the tape: the backward computes it again.
//
// The shim (shim/) is a shared object of its own because oneDNN's interface differs between versions 2
// and 3; it compiles against either, and is tested on both (scripts/onednn-check.sh). Find looks for it, and compiles it where it can.
package onednn
