package worker

import (
	"context"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
)

// What follows the gradients in the block that is summed over all workers.
const (
	tailClean    = iota // this worker's share of the clean loss
	tailMixed           // and of the mixed loss
	tailForwards        // forwards that added batch statistics
	tailStop            // 1 if this worker was asked to stop
	tailFloats
)

// trainStep trains on one batch. It changes parameters only in its last line, so that a step which
// fails before has changed nothing.
func (t *trainer) trainStep(ctx context.Context, g *generation, b *batch) error {
	t.phases.done("load")
	clear(t.sums)
	tapes, err := t.embed(t.rows[g.lo*t.dim:g.hi*t.dim], b.images)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	defer tapes.release()
	t.phases.done("forward")

	if err := g.ring.AllGather(ctx, t.step, "embeddings", t.rows, g.batchParts(t.dim)); err != nil {
		return err
	}
	t.phases.done("gather")

	value, err := t.evaluateLoss(g, b)
	if err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	t.phases.done("loss")

	if err := g.ring.ReduceScatter(ctx, t.step, "embedding gradients", t.rowGrads, g.batchParts(t.dim)); err != nil {
		return err
	}
	t.phases.done("scatter")

	if err := t.backward(tapes, t.rowGrads[g.lo*t.dim:g.hi*t.dim]); err != nil {
		return fmt.Errorf("backward: %w", err)
	}
	t.phases.done("backward")

	t.writeTail(value, len(tapes))
	if err := g.ring.AllReduce(ctx, t.step, "gradients", t.sums); err != nil {
		return err
	}
	t.phases.done("reduce")

	err = t.update()
	t.phases.done("update")
	return err
}

// evaluateLoss computes the loss of this worker's anchors against the whole batch, and its gradient
// by all rows of the batch (t.rowGrads) and all proxies (their part of t.sums).
func (t *trainer) evaluateLoss(g *generation, b *batch) (metrix.Value, error) {
	clear(t.rowGrads)
	batch := metrix.Batch{Embeddings: t.rows, Labels: b.labels, Dim: t.dim, Proxies: t.proxies()}
	grad := metrix.Gradient{Embeddings: t.rowGrads, Proxies: t.proxyGrads()}
	lo, hi := g.anchors(metrix.NumAnchors(t.form, batch), len(b.labels))
	t.mix = metrix.DrawMix(t.mixing, t.cfg.Recipe.Seed, t.step)
	return t.loss.Evaluate(grad, batch, t.mix, lo, hi)
}

// tape is one forward through both stages.
type tape struct{ trunk, head engine.Tape }

type tapes []tape

func (ts tapes) release() {
	for _, tp := range ts {
		tp.trunk.Release()
		tp.head.Release()
	}
}

// embed runs the network forward over this worker's images and writes their embeddings to dst.
// Rows go through in groups of t.group: with live batch norm a group is one shard, whoever owns it,
// so that the statistics do not depend on the number of workers.
func (t *trainer) embed(dst, images []float32) (done tapes, err error) {
	defer func() {
		if err != nil {
			done.release()
			done = nil
		}
	}()
	size := t.network.Input.Size()
	n := len(images) / size
	group := n
	if t.group > 0 {
		group = t.group
	}
	for at := 0; at < n; at += group {
		rows := min(group, n-at)
		trunk, err := t.net.Forward(model.Trunk, t.mode, images[at*size:(at+rows)*size], rows)
		if err != nil {
			return done, err
		}
		head, err := t.net.Forward(model.Head, t.mode, trunk.Out(), rows)
		if err != nil {
			trunk.Release()
			return done, err
		}
		copy(dst[at*t.dim:], head.Out())
		done = append(done, tape{trunk, head})
	}
	return done, nil
}

// backward propagates dRows, the gradient by this worker's embeddings, into t.sums. While only the
// head is trained the trunk is left out.
func (t *trainer) backward(ts tapes, dRows []float32) error {
	headOnly := t.headOnly()
	at := 0
	for _, tp := range ts {
		n := len(tp.head.Out())
		dFeatures, err := t.net.Backward(tp.head, dRows[at:at+n], engine.Backward{Input: !headOnly})
		if err != nil {
			return err
		}
		at += n
		if headOnly {
			continue
		}
		if _, err := t.net.Backward(tp.trunk, dFeatures, engine.Backward{}); err != nil {
			return err
		}
	}
	return nil
}

func (t *trainer) writeTail(v metrix.Value, forwards int) {
	tail := t.tail()
	tail[tailClean], tail[tailMixed] = float32(v.Clean), float32(v.Mixed)
	if t.mode == engine.Train {
		tail[tailForwards] = float32(forwards)
	}
	select {
	case <-t.cfg.Stop:
		tail[tailStop] = 1
		t.leaving = true
	default:
	}
}
