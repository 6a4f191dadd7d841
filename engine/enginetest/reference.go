package enginetest

import (
	"errors"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// Reference is an engine of plain loops in double precision.
type Reference struct{}

var _ engine.Engine = Reference{}

// Name implements engine.Engine.
func (Reference) Name() string { return "reference" }

// Open implements engine.Engine.
func (Reference) Open(m *model.Network, mem engine.Memory, opt engine.Options) (engine.Net, error) {
	if len(mem.Params) != m.NumParams() || len(mem.Grads) != m.NumParams() ||
		len(mem.Buffers) != m.NumBuffers() || len(mem.BufferSums) != m.NumBuffers() {
		return nil, fmt.Errorf("reference: opening %s: the memory does not have the network's size", m.Name)
	}
	if opt.Threads < 1 {
		return nil, fmt.Errorf("reference: opening %s: %d threads are too few: use at least 1", m.Name, opt.Threads)
	}
	return &net{model: m, mem: mem}, nil
}

type net struct {
	model  *model.Network
	mem    engine.Memory
	closed bool
}

// tape keeps a computation until it is consumed.
type tape struct {
	net  *net
	eval *evaluation
	out  []float32
	mode engine.Mode
}

func (t *tape) Out() []float32 { return t.out }

func (t *tape) Release() { *t = tape{} }

// Forward implements engine.Net.
func (n *net) Forward(stage model.Stage, mode engine.Mode, x []float32, rows int) (engine.Tape, error) {
	if n.closed {
		return nil, errors.New("reference: the network is closed")
	}
	if rows < 1 || len(x) != rows*n.model.StageInput(stage).Size() {
		return nil, fmt.Errorf("reference: %d floats are not %d rows of %v", len(x), rows, n.model.StageInput(stage))
	}
	e, err := evaluate(n.model, stage, mode, widen(n.mem.Params), widen(n.mem.Buffers), widen(x), rows)
	if err != nil {
		return nil, fmt.Errorf("reference: forward of the %v: %w", stage, err)
	}
	for i, v := range e.sums {
		n.mem.BufferSums[i] += float32(v)
	}
	return &tape{net: n, eval: e, out: narrow(e.y.v), mode: mode}, nil
}

// Backward implements engine.Net.
func (n *net) Backward(t engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	own, ok := t.(*tape)
	switch {
	case !ok || own.net != n:
		return nil, errors.New("reference: the tape is not of this network, or already consumed")
	case own.mode == engine.Eval:
		return nil, errors.New("reference: a tape of an Eval forward cannot go backward")
	case len(dOut) != len(own.out):
		return nil, fmt.Errorf("reference: the gradient has %d floats, the output %d", len(dOut), len(own.out))
	}
	e := own.eval
	own.Release()
	dx, grads := e.backward(widen(dOut))
	if !opt.SkipParams {
		n.accumulate(e.stage, grads, opt.Ready)
	}
	if !opt.Input {
		return nil, nil
	}
	return narrow(dx), nil
}

func (n *net) accumulate(stage model.Stage, grads []float64, ready func(lo, hi int)) {
	for i := len(n.model.Params) - 1; i >= 0; i-- {
		p := n.model.Params[i]
		if p.Stage != stage {
			continue
		}
		for j := p.Offset; j < p.Offset+p.Size; j++ {
			n.mem.Grads[j] += float32(grads[j])
		}
		if ready != nil {
			ready(p.Offset, p.Offset+p.Size)
		}
	}
}

// Close implements engine.Net.
func (n *net) Close() error {
	n.closed = true
	return nil
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}
