package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/run"
)

// What follows the gradients in the block that is summed over all workers.
const (
	tailClean    = iota // clean loss
	tailMixed           // mixed loss, times the mixing weight
	tailMined           // loss of mined triplets, times its weight
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
	if err := t.gradient(ctx, g, b); err != nil {
		return err
	}
	err := t.update(b)
	t.phases.done("update")
	return err
}

// gradient leaves in t.sums the gradient of the global loss by all weights, each clipped to the recipe's
// value, on every rank.
func (t *trainer) gradient(ctx context.Context, g *generation, b *batch) error {
	if err := errors.Join(t.changed(), t.beginSums(g)); err != nil {
		return err
	}
	t.mix = metrix.DrawMix(t.mixing, t.cfg.Recipe.Seed, t.step)
	clean, err := t.embed(g, b)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	defer clean.release()
	t.phases.done("forward")

	if err := g.ring.AllGather(ctx, t.step, "embeddings", t.rows, g.batchParts(t.dim)); err != nil {
		return err
	}
	if !allFinite(t.rows) {
		return errDiverged
	}
	t.phases.done("gather")

	mixed, err := t.mixRows(ctx, g, b)
	if err != nil {
		return fmt.Errorf("mixing: %w", err)
	}
	defer mixed.release()
	t.phases.done("mix")

	if err := t.evaluateLoss(g, b, mixed); err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	t.phases.done("loss")

	if err := t.scatter(ctx, g, mixed); err != nil {
		return err
	}
	t.phases.done("scatter")

	if err := t.backward(ctx, g, b, clean, mixed); err != nil {
		return fmt.Errorf("backward: %w", err)
	}
	t.phases.done("backward")

	err = t.reduce(ctx, g)
	t.phases.done("reduce")
	return err
}

// lossBatch is the global batch as the loss sees it.
func (t *trainer) lossBatch(b *batch) metrix.Batch {
	batch := metrix.Batch{Embeddings: t.rows, Labels: b.labels, Dim: t.dim, Proxies: t.layout.proxies.of(t.weights)}
	batch.Memory, batch.MemoryLabels = t.memory.read(t.step)
	return batch
}

// evaluateLoss computes the loss of this worker's anchors against the whole batch, shard by shard,
// and adds its gradient by all rows of the batch to t.rowAcc, by all mixed rows to theirs and by all
// proxies to t.acc.
func (t *trainer) evaluateLoss(g *generation, b *batch, mixed *mixing) error {
	clear(t.rowAcc)
	mix := t.mix
	proxies := t.layout.proxies.of(t.sums)
	grad := metrix.Gradient{Embeddings: t.rowGrads, Proxies: proxies}
	if mixed != nil {
		mix.Rows = &metrix.MixedRows{Embeddings: mixed.rows, First: mixed.first, Second: mixed.second, Lambda: mixed.lambda}
		grad.Mixed = mixed.grads
	}
	batch, err := t.beginLoss(b, mix)
	if err != nil {
		return err
	}
	if s := t.summer(); s != nil {
		return t.sumShards(g, s, batch, mix, mixed)
	}
	for shard := g.own.First; shard < g.own.First+run.Shard(g.own.Count); shard++ {
		clear(t.rowGrads)
		clear(proxies)
		clear(grad.Mixed)
		v, mined, err := t.evaluateShard(grad, batch, mix, int(shard))
		if err != nil {
			return err
		}
		if err := errors.Join(
			t.addTail(tailClean, v.Clean),
			t.addTail(tailMixed, v.Total-v.Clean),
			t.addTail(tailMined, mined),
			t.sum(t.rowAcc, t.rowGrads),
			t.contribute(t.layout.proxies),
		); err != nil {
			return err
		}
		if mixed != nil {
			if err := t.sum(mixed.acc, mixed.grads); err != nil {
				return err
			}
		}
	}
	return nil
}

// scatter gives each worker the whole gradient by its own rows and mixed rows.
func (t *trainer) scatter(ctx context.Context, g *generation, mixed *mixing) error {
	if err := g.ring.ReduceScatterInt64(ctx, t.step, "embedding gradients", t.rowAcc, g.batchParts(t.dim)); err != nil {
		return err
	}
	lo, hi := g.lo*t.dim, g.hi*t.dim
	exact.Float32(t.rowGrads[lo:hi], t.rowAcc[lo:hi])
	if mixed == nil {
		return nil
	}
	if err := g.ring.ReduceScatterInt64(ctx, t.step, "mixed embedding gradients", mixed.acc, g.batchParts(mixed.k*t.dim)); err != nil {
		return err
	}
	exact.Float32(mixed.grads[lo*mixed.k:hi*mixed.k], mixed.acc[lo*mixed.k:hi*mixed.k])
	return nil
}

// tape is one forward through both stages.
type tape struct{ trunk, head engine.Tape }

type tapes []tape

// release gives both stages' memory back; doing so twice is harmless.
func (tp tape) release() {
	if tp.trunk != nil {
		tp.trunk.Release()
	}
	if tp.head != nil {
		tp.head.Release()
	}
}

func (ts tapes) release() {
	for _, tp := range ts {
		tp.release()
	}
}

// shardRows is the number of rows of the batch in a shard.
func (t *trainer) shardRows() int { return t.sampler.Rows() / t.shards }

// embed runs the network forward over this worker's images, shard by shard, and writes their
// embeddings to their place in t.rows. Live batch norm therefore normalises over one shard, whoever
// owns it. With the gradient cache tapes are not kept: backward makes them again.
func (t *trainer) embed(g *generation, b *batch) (done tapes, err error) {
	defer func() {
		if err != nil {
			done.release()
			done = nil
		}
	}()
	n := t.shardRows()
	for i := range g.own.Count {
		clear(t.layout.buffers.of(t.sums))
		images, err := b.shard(i)
		if err != nil {
			return done, err
		}
		tp, err := t.forward(images, n, t.mixesMaps())
		if err != nil {
			return done, err
		}
		done = append(done, tp)
		copy(t.rows[(g.lo+i*n)*t.dim:], tp.head.Out())
		err = t.keepMixable(g, i, images, tp)
		if t.recompute {
			tp.release()
		}
		if err := errors.Join(err, t.contribute(t.layout.buffers), t.countForward()); err != nil {
			return done, err
		}
	}
	return done, nil
}

// countForward notes that a forward has added batch statistics.
func (t *trainer) countForward() error {
	if t.mode != engine.Train {
		return nil
	}
	return t.addTail(tailForwards, 1)
}

// reduce sums over all workers into t.sums what backward has not: all but the trunk's gradients.
func (t *trainer) reduce(ctx context.Context, g *generation) error {
	select {
	case <-t.cfg.Stop:
		t.leaving = true
		if err := t.addTail(tailStop, 1); err != nil {
			return err
		}
	default:
	}
	rest := part{t.layout.trunk.hi, t.layout.tail.hi}
	return t.sumOverWorkers(ctx, g, contribution{acc: t.acc, sums: rest.of(t.sums), gradients: t.layout.proxies.hi - rest.lo})
}

// contribute adds what one shard has left in a part of t.sums, beyond the trunk, to t.acc.
func (t *trainer) contribute(p part) error {
	first := t.layout.trunk.hi
	return t.sum(t.acc[p.lo-first:p.hi-first], p.of(t.sums))
}

func (t *trainer) sum(acc []int64, x []float32) error {
	return diverged(exact.Add(acc, x, t.shards))
}

func (t *trainer) addTail(i int, v float64) error {
	x, err := exact.Of(v, t.shards)
	if err != nil {
		return errDiverged
	}
	t.acc[t.layout.tail.lo-t.layout.trunk.hi+i] += x
	return nil
}
