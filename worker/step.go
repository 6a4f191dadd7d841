package worker

import (
	"context"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/run"
)

// What follows the gradients in the block that is summed over all workers.
const (
	tailClean    = iota // clean loss
	tailMixed           // mixed loss, times the mixing weight
	tailForwards        // forwards that added batch statistics
	tailStop            // workers that were asked to stop
	tailFloats
)

// trainStep trains on one batch. It changes parameters only in its last line, so that a step which
// fails before has changed nothing.
//
// A shard is the unit of computation: each is forwarded, compared and propagated back by itself, and
// what shards contribute is summed exactly (package exact). So the result has the same bits whoever
// owns which shards.
func (t *trainer) trainStep(ctx context.Context, g *generation, b *batch) error {
	t.phases.done("load")
	clear(t.acc)
	tapes, err := t.embed(g, b.images)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	defer tapes.release()
	t.phases.done("forward")

	if err := g.ring.AllGather(ctx, t.step, "embeddings", t.rows, g.batchParts(t.dim)); err != nil {
		return err
	}
	t.phases.done("gather")

	if !allFinite(t.rows) {
		return errDiverged
	}
	if err := t.evaluateLoss(g, b); err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	t.phases.done("loss")

	if err := g.ring.ReduceScatterInt64(ctx, t.step, "embedding gradients", t.rowAcc, g.batchParts(t.dim)); err != nil {
		return err
	}
	exact.Float32(t.rowGrads[g.lo*t.dim:g.hi*t.dim], t.rowAcc[g.lo*t.dim:g.hi*t.dim])
	t.phases.done("scatter")

	if err := t.backward(g, tapes); err != nil {
		return fmt.Errorf("backward: %w", err)
	}
	t.phases.done("backward")

	if err := t.reduce(ctx, g); err != nil {
		return err
	}
	t.phases.done("reduce")

	err = t.update()
	t.phases.done("update")
	return err
}

// evaluateLoss computes the loss of this worker's anchors against the whole batch, shard by shard,
// and adds its gradient by all rows of the batch to t.rowAcc and by all proxies to t.acc.
func (t *trainer) evaluateLoss(g *generation, b *batch) error {
	clear(t.rowAcc)
	t.mix = metrix.DrawMix(t.mixing, t.cfg.Recipe.Seed, t.step)
	batch := metrix.Batch{Embeddings: t.rows, Labels: b.labels, Dim: t.dim, Proxies: t.layout.proxies.of(t.weights)}
	grad := metrix.Gradient{Embeddings: t.rowGrads, Proxies: t.layout.proxies.of(t.sums)}
	anchors := metrix.NumAnchors(t.form, batch)
	var value metrix.Value
	for shard := g.own.First; shard < g.own.First+run.Shard(g.own.Count); shard++ {
		clear(t.rowGrads)
		clear(t.layout.proxies.of(t.sums))
		lo, hi := anchors*int(shard)/t.shards, anchors*int(shard+1)/t.shards
		v, err := t.loss.Evaluate(grad, batch, t.mix, lo, hi)
		if err != nil {
			return err
		}
		value = value.Add(v)
		if err := t.addTail(tailClean, v.Clean); err != nil {
			return err
		}
		if err := t.addTail(tailMixed, v.Total-v.Clean); err != nil {
			return err
		}
		if err := t.sum(t.rowAcc, t.rowGrads); err != nil {
			return err
		}
		if err := t.contribute(t.layout.proxies); err != nil {
			return err
		}
	}
	return nil
}

// tape is one forward through both stages.
type tape struct{ trunk, head engine.Tape }

type tapes []tape

func (ts tapes) release() {
	for _, tp := range ts {
		tp.trunk.Release()
		if tp.head != nil {
			tp.head.Release()
		}
	}
}

// embed runs the network forward over this worker's images, shard by shard, and writes their
// embeddings to their place in t.rows. Live batch norm therefore normalises over one shard, whoever
// owns it.
func (t *trainer) embed(g *generation, images []float32) (done tapes, err error) {
	defer func() {
		if err != nil {
			done.release()
			done = nil
		}
	}()
	n := len(t.rows) / t.dim / t.shards // rows of a shard
	size := n * t.network.Input.Size()
	for i := range g.own.Count {
		clear(t.layout.buffers.of(t.sums))
		trunk, err := t.net.Forward(model.Trunk, t.mode, images[i*size:(i+1)*size], n)
		if err != nil {
			return done, err
		}
		done = append(done, tape{trunk: trunk})
		head, err := t.net.Forward(model.Head, t.mode, trunk.Out(), n)
		if err != nil {
			return done, err
		}
		done[i].head = head
		copy(t.rows[(g.lo+i*n)*t.dim:], head.Out())
		if err := t.contribute(t.layout.buffers); err != nil {
			return done, err
		}
	}
	if t.mode == engine.Train {
		err = t.addTail(tailForwards, float64(g.own.Count))
	}
	return done, err
}

// backward propagates the gradient of each shard's embeddings and adds the parameters' to t.acc.
// While only the head is trained the trunk is left out.
func (t *trainer) backward(g *generation, ts tapes) error {
	headOnly := t.headOnly()
	grads := t.layout.params.of(t.sums)
	at := g.lo * t.dim
	for _, tp := range ts {
		clear(grads)
		n := len(tp.head.Out())
		dFeatures, err := t.net.Backward(tp.head, t.rowGrads[at:at+n], engine.Backward{Input: !headOnly})
		if err != nil {
			return err
		}
		at += n
		if !headOnly {
			if _, err := t.net.Backward(tp.trunk, dFeatures, engine.Backward{}); err != nil {
				return err
			}
		}
		if err := t.contribute(t.layout.params); err != nil {
			return err
		}
	}
	return nil
}

// reduce sums t.acc over all workers into t.sums: whole integers travel to the rank that owns a
// part, the part's float32 values travel to everybody.
func (t *trainer) reduce(ctx context.Context, g *generation) error {
	select {
	case <-t.cfg.Stop:
		t.leaving = true
		if err := t.addTail(tailStop, 1); err != nil {
			return err
		}
	default:
	}
	parts := g.evenParts(len(t.acc), 1)
	if err := g.ring.ReduceScatterInt64(ctx, t.step, "gradients", t.acc, parts); err != nil {
		return err
	}
	lo, hi := retrieval.Range(len(t.acc), g.rank, g.world)
	exact.Float32(t.sums[lo:hi], t.acc[lo:hi])
	return g.ring.AllGather(ctx, t.step, "gradients", t.sums, parts)
}

// contribute adds what one shard has left in a part of t.sums to t.acc.
func (t *trainer) contribute(p part) error {
	return t.sum(t.acc[p.lo:p.hi], t.sums[p.lo:p.hi])
}

func (t *trainer) sum(acc []int64, x []float32) error {
	if err := exact.Add(acc, x, t.shards); err != nil {
		return errDiverged
	}
	return nil
}

func (t *trainer) addTail(i int, v float64) error {
	x, err := exact.Of(v, t.shards)
	if err != nil {
		return errDiverged
	}
	t.acc[t.layout.tail.lo+i] += x
	return nil
}
