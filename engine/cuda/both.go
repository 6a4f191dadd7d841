//go:build gpu

package cuda

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

var (
	_ engine.Keeper      = (*network)(nil)
	_ engine.Joiner      = (*network)(nil)
	_ engine.Accumulator = (*network)(nil)
)

// ForwardBoth implements engine.Joiner.
func (n *network) ForwardBoth(mode engine.Mode, x []float32, rows int) (trunk, head engine.Tape, err error) {
	if rows < 1 || len(x) != rows*n.model.Input.Size() {
		return nil, nil, fmt.Errorf("cuda: forward: %d rows of %d floats do not make %d floats", rows, n.model.Input.Size(), len(x))
	}
	return n.forwardBoth(mode, rows, images{}, input{rows: bytesOf(x)}, false)
}

// forwardBoth runs both stages. With maps the trunk gives its output out too.
func (n *network) forwardBoth(mode engine.Mode, rows int, from images, x input, maps bool) (trunk, head engine.Tape, err error) {
	switch {
	case n.closed:
		return nil, nil, fmt.Errorf("cuda: forward: the network is closed")
	case mode > engine.Eval:
		return nil, nil, fmt.Errorf("cuda: forward in mode %d: there is no such mode", mode)
	}
	if err := n.device.enter(); err != nil {
		return nil, nil, err
	}
	defer n.device.leave()
	tapes, err := n.forward([]key{{model.Trunk, mode, rows, from}, {stage: model.Head, mode: mode, n: rows}}, x, maps)
	if err != nil {
		return nil, nil, fmt.Errorf("cuda: forward, %d rows: %w", rows, err)
	}
	return tapes[0], tapes[1], nil
}

// BackwardBoth implements engine.Joiner.
func (n *network) BackwardBoth(trunk, head engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	t, err := n.own(trunk)
	if err != nil {
		return nil, err
	}
	h, err := n.own(head)
	if err != nil {
		return nil, err
	}
	switch want := n.outputs(h.program); {
	case t.program.stage != model.Trunk || h.program.stage != model.Head || t.program.n != h.program.n:
		return nil, fmt.Errorf("cuda: backward: %d rows of the %v and %d of the %v do not belong together",
			t.program.n, t.program.stage, h.program.n, h.program.stage)
	case len(dOut) != want:
		return nil, fmt.Errorf("cuda: backward: the gradient has %d floats, the output %d", len(dOut), want)
	}
	dIn, err := n.consume([]*tape{h, t}, dOut, opt)
	if err != nil {
		return nil, fmt.Errorf("cuda: backward: %w", err)
	}
	return dIn, nil
}

// Accumulate implements engine.Accumulator.
func (n *network) Accumulate(acc []int64, summands int) error {
	switch {
	case n.closed:
		return fmt.Errorf("cuda: accumulating: the network is closed")
	case acc != nil && (len(acc) != n.model.NumParams() || summands < 1):
		return fmt.Errorf("cuda: accumulating: %d sums of %d summands do not fit %d parameters", len(acc), summands, n.model.NumParams())
	}
	if acc == nil {
		n.out.exact.acc = nil
		return nil
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	return n.out.accumulate(acc, summands)
}

// Summand implements engine.Accumulator.
func (n *network) Summand(lo, hi int) error {
	return n.inExactRange(lo, hi, func() error { return n.out.summand(lo, hi) })
}

// Collect implements engine.Accumulator.
func (n *network) Collect(lo, hi int) error {
	return n.inExactRange(lo, hi, func() error {
		n.out.begin(engine.Backward{})
		if err := n.out.carry(handOver{lo: lo, hi: hi}); err != nil {
			return err
		}
		return n.out.finish()
	})
}

// inExactRange does something about the sums [lo, hi).
func (n *network) inExactRange(lo, hi int, do func() error) error {
	switch {
	case n.closed || n.out.exact.acc == nil:
		return fmt.Errorf("cuda: accumulating: it has not begun")
	case lo < 0 || hi > n.model.NumParams() || lo > hi:
		return fmt.Errorf("cuda: accumulating: there are no parameters [%d, %d)", lo, hi)
	case lo == hi:
		return nil
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	return do()
}
