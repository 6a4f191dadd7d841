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
		if err := t.backwardHeads(ctx, g, clean, mixed); err != nil {
			return err
		}
		propagate = func(i int, o *overlap) error { return t.backwardTrunk(g, b, clean, mixed, i, o) }
	}
	for i := range g.own.Count {
		t.beginShard()
		var err error
		switch {
		case headOnly:
			err = propagate(i, nil)
		case t.device.settles || i < g.own.Count-1:
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

// backwardHeads propagates gradients through the heads of own shards down to their feature maps, clean and
// mixed, and stores them. Gradients by mixes with maps of other workers go to those, too.
func (t *trainer) backwardHeads(ctx context.Context, g *generation, clean tapes, mixed *mixing) error {
	n, width := t.shardRows(), t.network.Features.Size()
	ids := mixed.returns(g)
	mixed.returned = nil
	for rank := range g.world {
		mixed.returned = append(mixed.returned, ids[rank][g.rank]...)
	}
	t.stores.mapGrads.reset(width, g.hi-g.lo)
	t.stores.mixGrads.reset(width, (g.hi-g.lo)*mixed.k+len(mixed.returned))
	for i := range g.own.Count {
		t.beginShard()
		head, err := t.headAgain(clean, i)
		if err != nil {
			return err
		}
		d, err := t.net.Backward(head, t.shardGrads(g, i), engine.Backward{Input: true})
		if err != nil {
			return err
		}
		if err := t.stores.mapGrads.put(i*n, d); err != nil {
			return err
		}
		if d, err = t.backwardMixed(g, mixed, i); err != nil {
			return err
		}
		if err := errors.Join(t.stores.mixGrads.put(i*n*mixed.k, d), t.contributeParams(t.layout.head)); err != nil {
			return err
		}
	}
	return t.returnGradients(ctx, g, mixed, ids)
}

// headAgain returns the forward of own shard i through the head: the one that was kept, or with the
// gradient cache a new one from the feature maps that were.
func (t *trainer) headAgain(kept tapes, i int) (engine.Tape, error) {
	if !t.recompute {
		return kept[i].head, nil
	}
	n := t.shardRows()
	maps := make([]float32, n*t.stores.own.width)
	if err := t.stores.own.get(maps, i*n); err != nil {
		return nil, err
	}
	return t.net.Forward(model.Head, t.mode, maps, n)
}

// backwardTrunk propagates the gradient by the feature maps of own shard i.
func (t *trainer) backwardTrunk(g *generation, b *batch, clean tapes, mixed *mixing, i int, o *overlap) error {
	dFeatures, err := t.mapGradient(g, mixed, i)
	if err != nil {
		return err
	}
	tp, err := t.again(clean, b, i)
	if err != nil {
		return err
	}
	defer tp.release()
	_, err = t.net.Backward(tp.trunk, dFeatures, o.options())
	return err
}

// mapGradient is the gradient by the feature maps of own shard i: that of the clean rows and what the mixes
// with these maps say of them, wherever they were made, in the order of the mixes.
func (t *trainer) mapGradient(g *generation, m *mixing, i int) ([]float32, error) {
	n, width := t.shardRows(), t.network.Features.Size()
	lo := g.lo + i*n
	place := func(row int32) int32 {
		if int(row) >= lo && int(row) < lo+n {
			return row - int32(lo)
		}
		return int32(n) // room for what belongs to others
	}
	out, d, pair := make([]float32, (n+1)*width), make([]float32, width), metrix.Operator{{}}
	if err := t.stores.mapGrads.get(out[:n*width], i*n); err != nil {
		return nil, err
	}
	for v := range m.first {
		pair[0] = metrix.Pair{I: place(m.first[v]), J: place(m.second[v]), Lambda: m.lambda[v]}
		if int(pair[0].I) == n && int(pair[0].J) == n {
			continue
		}
		if err := t.stores.mixGrads.get(d, m.stored(g, int32(v))); err != nil {
			return nil, err
		}
		t.round(d)
		pair.Transpose(out, d, width)
	}
	return out[:n*width], nil
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
