package worker

import (
	"context"
	"errors"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
)

// backward propagates the gradients of own shards' embeddings, clean and mixed, and adds the
// parameters' to the exact sums. While only the head is trained the trunk is left out. The trunk's
// gradients are summed over all workers as the last backward completes them.
func (t *trainer) backward(ctx context.Context, g *generation, b *batch, clean tapes, mixed *mixing) error {
	headOnly := t.headOnly()
	propagate := func(i int, o *overlap) error { return t.backwardShard(g, b, clean, mixed, i, o) }
	if mixed != nil && mixed.level == metrix.LevelFeature && !headOnly {
		dFeatures, err := t.backwardHeads(ctx, g, clean, mixed)
		if err != nil {
			return err
		}
		propagate = func(i int, o *overlap) error { return t.backwardTrunk(b, clean, dFeatures, i, o) }
	}
	for i := range g.own.Count {
		t.beginShard()
		var err error
		switch {
		case headOnly:
			err = propagate(i, nil)
		case i < g.own.Count-1:
			err = errors.Join(propagate(i, nil), t.contributeParams(t.layout.trunk))
		default:
			o := t.startOverlap(ctx, g)
			err = o.finish(propagate(i, o))
		}
		if err = errors.Join(err, t.contributeParams(t.layout.head)); err != nil {
			return err
		}
	}
	return t.endSums()
}

// backwardShard propagates the gradients of own shard i through both stages, those of mixes first.
func (t *trainer) backwardShard(g *generation, b *batch, clean tapes, mixed *mixing, i int, o *overlap) error {
	if mixed != nil {
		if _, err := t.backwardMixed(g, mixed, i); err != nil {
			return err
		}
	}
	tp, err := t.again(clean, b, i)
	if err != nil {
		return err
	}
	defer tp.release()
	return t.backwardBoth(tp, t.shardGrads(g, i), o.options())
}

// backwardHeads propagates gradients through the heads of own shards down to their feature maps, with
// what mixed maps of all workers say of them, and returns the gradient by own maps. Gradients by maps
// of other workers go back to them.
func (t *trainer) backwardHeads(ctx context.Context, g *generation, clean tapes, mixed *mixing) ([]float32, error) {
	n := t.shardRows() * t.network.Features.Size()
	dFeatures := make([]float32, g.own.Count*n+t.network.Features.Size())
	dMixed := make([]float32, g.own.Count*n*mixed.k)
	for i := range g.own.Count {
		t.beginShard()
		head := clean[i].head
		var err error
		if t.recompute {
			if head, err = t.net.Forward(model.Head, t.mode, t.features[i*n:(i+1)*n], t.shardRows()); err != nil {
				return nil, err
			}
		}
		d, err := t.net.Backward(head, t.shardGrads(g, i), engine.Backward{Input: true})
		if err != nil {
			return nil, err
		}
		copy(dFeatures[i*n:], d)
		if d, err = t.backwardMixed(g, mixed, i); err != nil {
			return nil, err
		}
		copy(dMixed[i*n*mixed.k:], d)
		if err := t.contributeParams(t.layout.head); err != nil {
			return nil, err
		}
	}
	return dFeatures, t.returnGradients(ctx, g, mixed, dFeatures, dMixed)
}

// backwardTrunk propagates the gradient by the feature maps of own shard i.
func (t *trainer) backwardTrunk(b *batch, clean tapes, dFeatures []float32, i int, o *overlap) error {
	n := t.shardRows() * t.network.Features.Size()
	tp, err := t.again(clean, b, i)
	if err != nil {
		return err
	}
	defer tp.release()
	_, err = t.net.Backward(tp.trunk, dFeatures[i*n:(i+1)*n], o.options())
	return err
}

// again returns the forward of own shard i: the one that was kept, or with the gradient cache a new
// one, which has the same bits.
func (t *trainer) again(kept tapes, b *batch, i int) (tape, error) {
	if !t.recompute {
		return kept[i], nil
	}
	images, err := b.shard(i)
	if err != nil {
		return tape{}, err
	}
	return t.forward(images, t.shardRows(), false)
}

// shardGrads is the gradient by the embeddings of own shard i.
func (t *trainer) shardGrads(g *generation, i int) []float32 {
	n := t.shardRows() * t.dim
	return t.rowGrads[g.lo*t.dim+i*n:][:n]
}
