// Package gorgonia computes networks on Gorgonia: portable, on any processor that Go runs on.
//
// A stage over n rows becomes a Gorgonia graph once. Gorgonia differentiates it and its tape machine
// runs it, forward and backward in one program with a pause between. The kernels are this package's
// own Gorgonia operations (type op): convolutions as matrix products, norms, pools, ReLUs, with
// gradients that are operations again. They spread over the threads of the network such that the
// number of threads does not change a bit of the result.
//
// Parameters enter the graph as views of the caller's flat block, and gradient operations add
// straight to the caller's gradients, so nothing is copied between the graph and the optimizer. A
// layer's parameter gradients come before its input gradient in the graph, hence they are complete,
// and reported, in reverse layer order while the backward goes on.
//
// Matrix products run in OpenBLAS if it is installed (Debian: libopenblas0-pthread), which is found
// at run time, and otherwise in gonum's Go code, at about a third of the speed over all.
//
// A user's own Gorgonia graph can be the trunk, or any other layer: declare a model.External layer
// and bring its graph with Custom. What Gorgonia gets wrong, and how this package avoids it, is in
// docs/gorgonia.md.
package gorgonia
