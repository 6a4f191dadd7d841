package worker

import (
	"errors"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
)

// A net on a device of its own has optional interfaces (package engine) that save ways through the
// host. This file is where the step uses them, and what it does without; the bits are the same.

// forward runs both stages over n images. Without maps the trunk's tape may give no feature maps out.
func (t *trainer) forward(images rows, n int, maps bool) (tp tape, err error) {
	if images.taken != nil {
		tp.trunk, tp.head, err = images.taken.Forward(t.mode, images.lo, images.hi, maps)
		return tp, err
	}
	x := images.floats()
	if j, ok := t.net.(engine.Joiner); ok && !maps {
		tp.trunk, tp.head, err = j.ForwardBoth(t.mode, x, n)
		return tp, err
	}
	if tp.trunk, err = t.net.Forward(model.Trunk, t.mode, x, n); err != nil {
		return tape{}, err
	}
	if tp.head, err = t.net.Forward(model.Head, t.mode, tp.trunk.Out(), n); err != nil {
		tp.trunk.Release()
		return tape{}, err
	}
	return tp, nil
}

// backwardBoth propagates dOut through both stages, or while only the head is trained through that.
func (t *trainer) backwardBoth(tp tape, dOut []float32, opt engine.Backward) error {
	if t.headOnly() {
		_, err := t.net.Backward(tp.head, dOut, engine.Backward{})
		return err
	}
	if j, ok := t.net.(engine.Joiner); ok {
		_, err := j.BackwardBoth(tp.trunk, tp.head, dOut, opt)
		return err
	}
	dFeatures, err := t.net.Backward(tp.head, dOut, engine.Backward{Input: true})
	if err == nil {
		_, err = t.net.Backward(tp.trunk, dFeatures, opt)
	}
	return err
}

// beginSums makes room for the exact sums of a step, from zero.
func (t *trainer) beginSums(g *generation) error {
	trunk, rest := t.layout.trunk.hi, t.layout.tail.hi-t.layout.trunk.hi
	d, onDevice := t.net.(engine.Accumulator)
	t.device.settles = t.settles(g)
	need := trunkSums(trunk, g.own.Count)
	if onDevice {
		need = trunk // where the device collects its sums
	}
	if len(t.trunkAcc) != need || len(t.acc) != rest {
		all := make([]int64, need+rest)
		t.trunkAcc, t.acc = all[:need], all[need:]
	} else if need == trunk {
		clear(t.trunkAcc)
	}
	clear(t.acc)
	if onDevice {
		return d.Accumulate(t.trunkAcc[:t.layout.params.hi], t.shards)
	}
	return nil
}

// beginShard makes room for the gradients of one shard.
func (t *trainer) beginShard() {
	if _, onDevice := t.net.(engine.Accumulator); !onDevice {
		clear(t.layout.params.of(t.sums))
	}
}

// contributeParams adds the gradients of one shard by a part of the parameters, the trunk or the head,
// to the exact sums.
func (t *trainer) contributeParams(p part) error {
	if d, ok := t.net.(engine.Accumulator); ok {
		return diverged(d.Summand(p.lo, p.hi))
	}
	if p == t.layout.trunk {
		return t.sum(t.trunkAcc, p.of(t.sums))
	}
	return t.contribute(p)
}

// endSums brings what is left of the sums to the host, or makes gradients of them where they are.
func (t *trainer) endSums() error {
	d, ok := t.net.(engine.Accumulator)
	if !ok {
		return nil
	}
	end := func() error { return d.Collect(t.layout.head.lo, t.layout.head.hi) }
	if t.device.settles {
		end = t.settle
	}
	return errors.Join(diverged(end()), d.Accumulate(nil, 0))
}

// bucket is what this worker contributes to a bucket of the trunk, of whose last shard all gradients are
// known. Where that shard is the only one, no exact sums are kept.
func (t *trainer) bucket(g *generation, b part) contribution {
	c := contribution{sums: b.of(t.sums), gradients: b.hi - b.lo}
	_, onDevice := t.net.(engine.Accumulator)
	if onDevice || g.own.Count > 1 {
		c.acc = t.trunkAcc[b.lo:b.hi]
	}
	if !onDevice {
		c.latest = c.sums
	}
	return c
}

// diverged is the worker's word for a gradient that cannot be summed.
func diverged(err error) error {
	if errors.Is(err, exact.ErrRange) {
		return errDiverged
	}
	return err
}

// trunkSums is the number of exact sums that a worker of some shards keeps for a trunk: none of a single
// shard.
func trunkSums(trunk, shards int) int {
	if shards > 1 {
		return trunk
	}
	return 0
}

// ExactSums is the number of exact sums, of 8 bytes, that a worker of some shards keeps, when so many
// gradients and statistics are summed of which trunk are the trunk's.
func ExactSums(summed, trunk, shards int) int { return summed - trunk + trunkSums(trunk, shards) }
