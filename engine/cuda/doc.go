// Package cuda is the engine for NVIDIA GPUs: one card per process, convolutions by cuDNN, matrix
// products by cuBLAS, everything between them by kernels of its own (package kernels).
//
// It is part of programs built with the tag gpu alone (make gpu). In all others Find says so. What needs
// no card is in every build, and tested there: how a stage becomes a program.
//
// # Programs
//
// A stage becomes a graph of values and ops (graph.go), where a norm takes the sum of a residual block
// and the ReLU behind it along. For a number of rows the graph becomes a program (program.go): a list of
// commands for the forward and one for the backward, which are data: kernels with their operands, calls
// of cuDNN and of cuBLAS. A buffer lies on the tape, if the backward reads it, or on the slab, which all
// programs share and where it gets its offset from the commands between which it is in use. Tapes and
// slabs are lent by a pool and come back, so after a few steps nothing is allocated any more; several
// tapes may be alive.
//
// run.go executes the commands one after the other on one stream; with Options.Graphs, stretches of them
// are captured and started at once. A backward's gradients leave the card in ranges of at least four
// megabytes, from the last parameter to the first, on a second stream and into pinned memory, while the
// first stream goes on (gradients.go).
//
// # Images
//
// Images come as bytes, on a stream of their own and into two places in turn, while the main stream
// computes (feed.go). They are cut, mirrored and normalised with the bits of package dataset.
//
// # Loss
//
// A step's rows, proxies and mixed rows are brought to the card once (comparison.go). Each shard of anchors
// is then a list of commands of its own (loss.go), planned from the labels and run like a program's: two
// to six products by cuBLAS around the kernels that kernels.LossPlan lists, never a row for a mixed pair.
// What goes back is the share's value and its gradient by all rows; for a caller that wants exact sums over
// shares, the value alone and in the end the sums (losssums.go). Forms that are no sums over pairs are
// refused when the loss is prepared, and the host evaluates those.
//
// # Updates
//
// A caller that says how (engine.Updater) leaves the parameters to the card (updates.go): they, the moments
// of the optimizer and the copies that cuDNN reads stay there, and reduced gradients arrive on a third
// stream while the backward goes on; or they are made of sums on the card, where nobody adds to these
// (engine.Settler). The host has parameters again when it fetches them.
//
// # Evaluation
//
// In Eval mode a batch norm becomes part of the convolution before it (fold.go): copies of weights times
// the norm's factor and an offset for each channel, made when parameters or statistics have changed.
//
// # Precision
//
// With BF16 activations up to the global pooling, their gradients and the factors of convolutions are
// bfloat16; sums, statistics, parameters, their gradients and what follows the pooling are single
// precision. Gradients by convolution weights are rounded to bfloat16 once per call, by cuDNN. Activations
// are NHWC; images of few channels are padded to vectors of 16 bytes.
//
// # Bits
//
// The bits of a call depend on its rows, on the kind of card, on the versions of driver, cuDNN and
// cuBLAS, and on the algorithms of the convolutions: only deterministic ones are used, the fastest of
// them measured once and remembered in a file (cache.go). Workers of one run have the same bits if they
// agree in all of these; machines that have measured for themselves may not, so give them one file.
//
// # Failures
//
// An Error is one sentence with the remedy; FailureOf tells a caller a card without memory for the call
// from one that is lost for the life of the process. gorgonia.org/cu links the driver and starts it
// before main; the archive in driver/ stands between, so that a program starts on any machine.
package cuda
