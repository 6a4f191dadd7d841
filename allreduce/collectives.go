package allreduce

import (
	"context"
	"fmt"

	"github.com/metrixml/metrix/run"
)

// All collectives block until this rank's share is done, ctx ends, or the ring fails; afterwards no
// goroutine of theirs is left. All ranks must call the same ones with the same step, phase and
// lengths in the same order; a rank that does otherwise is an error on its neighbours. After an
// error x is undefined. phase names the collective in errors ("gradients"). With World 1 they
// return at once and leave x as it is.

// AllReduce replaces x by its sum over all ranks, with the same bits on every rank. The order of
// summation of an element depends on its index, len(x) and World alone. A rank sends
// 2(World-1)/World * 4 len(x) bytes.
func (r *Ring) AllReduce(ctx context.Context, step run.Step, phase string, x []float32) error {
	c := r.call(opAllReduce, step, phase, x, even(len(x), r.cfg.World))
	c.reduce(int(r.cfg.Rank), r.cfg.World)
	if n := len(c.hops); n > 0 {
		c.hops[n-1].forward = true // the first segment of the all-gather
	}
	c.gather(int(r.cfg.Rank), r.cfg.World)
	return r.do(ctx, c)
}

// ReduceScatter sums x over all ranks and leaves each rank its part: afterwards the part of x with
// this rank's number holds the sum, the rest of x is as before. parts[i] is the length of the part
// of rank i in floats, zero allowed; together they are len(x). A rank sends the length of all parts
// but its own.
func (r *Ring) ReduceScatter(ctx context.Context, step run.Step, phase string, x []float32, parts []int) error {
	c := r.call(opReduceScatter, step, phase, x, parts)
	c.reduce(int(r.cfg.Rank), r.cfg.World)
	return r.do(ctx, c)
}

// AllGather fills x with the parts of all ranks; the part with this rank's number must be filled
// before. parts are as in ReduceScatter.
func (r *Ring) AllGather(ctx context.Context, step run.Step, phase string, x []float32, parts []int) error {
	c := r.call(opAllGather, step, phase, x, parts)
	c.first = int(r.cfg.Rank)
	c.gather(int(r.cfg.Rank), r.cfg.World)
	return r.do(ctx, c)
}

// Broadcast copies x of rank root to all ranks, chunk by chunk along the ring: the last rank has it
// World-2 chunks later than the first.
func (r *Ring) Broadcast(ctx context.Context, step run.Step, phase string, root run.Rank, x []float32) error {
	world := r.cfg.World
	c := r.call(opBroadcast, step, phase, x, nil)
	c.segments = []span{{0, len(x)}}
	c.depth = c.chunksOf(0) // a chain, not a circle: nothing can wait for itself
	c.id = hashCollective(opBroadcast, phase, root, []int{len(x)})
	c.invalid = nil
	if root < 0 || int(root) >= world {
		c.invalid = fmt.Errorf("root %d is outside the world of %d ranks", root, world)
		return r.do(ctx, c)
	}
	place := mod(int(r.cfg.Rank-root), world)
	if place == 0 {
		c.first = 0
	} else {
		c.hops = []hop{{segment: 0, store: true, forward: place < world-1}}
	}
	return r.do(ctx, c)
}

// Barrier returns once every rank has entered it: a reduce-scatter of nothing.
func (r *Ring) Barrier(ctx context.Context, step run.Step, phase string) error {
	c := r.call(opBarrier, step, phase, nil, even(0, r.cfg.World))
	c.reduce(int(r.cfg.Rank), r.cfg.World)
	return r.do(ctx, c)
}

// call prepares a collective around the ring over the parts of x.
func (r *Ring) call(o op, step run.Step, phase string, x []float32, parts []int) *call {
	return r.callOf(o, step, phase, vector(x), len(x), parts)
}

// callOf is call of an operand of n floats.
func (r *Ring) callOf(o op, step run.Step, phase string, x operand, n int, parts []int) *call {
	c := &call{op: o, step: step, phase: phase, x: x, first: -1, hostOrder: hostOrder}
	c.chunk, c.window, c.depth = r.chunk, r.cfg.Window, r.depth
	c.work = func(ctx context.Context) error { return r.around(ctx, c) }
	c.segments, c.invalid = spans(parts, r.cfg.World, n)
	c.id = hashCollective(o, phase, 0, parts)
	return c
}
