// Package engine is the seam between a training step and what computes it.
//
// An engine opens a network (package model) and runs its two stages, trunk (images to features)
// and head (features to unit embeddings), forward and backward. Forward and backward are separate
// calls because the gather of all workers' embeddings and the loss lie between them. A forward
// returns an explicit tape, so that several may be alive at once (mixed inputs, micro-batches).
// The seam is a stage of work, not an arithmetic operation: that is what lets a GPU keep its rows
// on the device and a CPU library keep its blocked layouts between layers.
//
// Invariants every engine keeps (package enginetest checks them):
//   - Parameters, gradients, buffers and buffer sums are flat float32 blocks in the canonical order
//     of model.Network, owned by the caller. An engine reads Params and Buffers at each forward,
//     adds into Grads and BufferSums, and writes nothing else.
//   - The result of a row does not depend on the other rows of the call, except through live batch
//     norm, whose group is exactly the rows of one forward.
//   - Scale is the caller's business: gradients are sums over rows of what dOut asks for.
package engine

import (
	"fmt"

	"github.com/metrixml/metrix/model"
)

// Mode says how batch norm behaves; networks without it compute the same in all three.
type Mode uint8

const (
	// Train normalises with the statistics of the rows of the call and adds them to BufferSums.
	Train Mode = iota
	// Frozen normalises with Buffers and still keeps what a backward needs.
	Frozen
	// Eval normalises with Buffers; the tape holds the output only and cannot go backward.
	Eval
)

// Memory is the caller's storage that a network works on. Params and Grads have
// model.Network.NumParams floats; Buffers and BufferSums have NumBuffers.
//
// BufferSums collects, per batch norm, the batch mean and the unbiased batch variance of every
// Train forward (one summand per forward). The caller divides by the number of forwards of all
// workers and folds the result into Buffers after the step, so that statistics, like gradients, do
// not depend on who computed them.
type Memory struct {
	Params, Grads       []float32
	Buffers, BufferSums []float32
}

// Check says which block does not have the length that the network needs.
func (mem Memory) Check(m *model.Network) error {
	for _, b := range []struct {
		name      string
		has, want int
	}{
		{"Params", len(mem.Params), m.NumParams()},
		{"Grads", len(mem.Grads), m.NumParams()},
		{"Buffers", len(mem.Buffers), m.NumBuffers()},
		{"BufferSums", len(mem.BufferSums), m.NumBuffers()},
	} {
		if b.has != b.want {
			return fmt.Errorf("%s has %d floats but the network needs %d", b.name, b.has, b.want)
		}
	}
	return nil
}

// Options tune an opened network.
type Options struct {
	// Threads is the number of cores the network may use, >= 1.
	Threads int
}

// Engine opens networks.
type Engine interface {
	// Name is what a recipe calls the engine: "gorgonia", "onednn", "cuda".
	Name() string
	// Open prepares a network. It refuses, with a sentence that names the layer, what it cannot
	// compute. The Net is used from one goroutine at a time.
	Open(network *model.Network, mem Memory, opt Options) (Net, error)
}

// Net is an opened network.
type Net interface {
	// Forward runs one stage over n rows of x. Trunk rows are images, C x H x W floats each; head
	// rows are features (model.Network.Features). x is only read, and only during the call.
	Forward(stage model.Stage, mode Mode, x []float32, n int) (Tape, error)
	// Backward propagates dOut, the gradient of a scalar by the tape's output, adding parameter
	// gradients to Memory.Grads. It consumes the tape, which is then released. Params must be as
	// they were at the forward. A gradient of the wrong size is refused and leaves the tape alive.
	Backward(tape Tape, dOut []float32, opt Backward) (dIn []float32, err error)
	// Close frees what the network holds. Tapes must not be used afterwards.
	Close() error
}

// Tape is one forward's output together with what its backward needs.
type Tape interface {
	// Out is the stage's output, n rows. It stays valid until Release or Backward.
	Out() []float32
	// Release gives the tape's memory back without a backward. Releasing twice is harmless.
	Release()
}

// Backward says what one backward is asked for.
type Backward struct {
	// Input asks for the gradient by the stage's input; without it Backward returns nil. The
	// returned slice is valid until the next call on the Net.
	Input bool
	// SkipParams leaves Grads untouched: a head-only warm-up, or an input gradient alone.
	SkipParams bool
	// Ready, if not nil, is called as soon as the range [lo, hi) of Grads has received this
	// backward's whole contribution, in reverse layer order: each parameter of the stage exactly
	// once. It must not block. With SkipParams it is not called.
	Ready func(lo, hi int)
}
