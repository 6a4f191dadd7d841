package worker

import (
	"context"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
)

// backward propagates the gradients of own shards' embeddings, clean and mixed, and adds the
// parameters' to t.acc. While only the head is trained the trunk is left out.
func (t *trainer) backward(ctx context.Context, g *generation, b *batch, clean tapes, mixed *mixing) error {
	headOnly := t.headOnly()
	if mixed != nil && mixed.level == metrix.LevelFeature && !headOnly {
		return t.backwardFeatures(ctx, g, b, clean, mixed)
	}
	for i := range g.own.Count {
		clear(t.layout.params.of(t.sums))
		tp, err := t.again(clean, b, i)
		if err != nil {
			return err
		}
		dFeatures, err := t.net.Backward(tp.head, t.shardGrads(g, i), engine.Backward{Input: !headOnly})
		if err == nil && !headOnly {
			_, err = t.net.Backward(tp.trunk, dFeatures, engine.Backward{})
		}
		tp.release()
		if err == nil && mixed != nil {
			_, err = t.backwardMixed(g, mixed, i)
		}
		if err == nil {
			err = t.contribute(t.layout.params)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// backwardFeatures is backward for mixed feature maps. Gradients by feature maps of other workers go
// back to them between the heads' and the trunks' part.
func (t *trainer) backwardFeatures(ctx context.Context, g *generation, b *batch, clean tapes, mixed *mixing) error {
	n := t.shardRows() * t.network.Features.Size()
	dFeatures := make([]float32, g.own.Count*n+t.network.Features.Size())
	dMixed := make([]float32, g.own.Count*n*mixed.k)
	for i := range g.own.Count {
		clear(t.layout.params.of(t.sums))
		head := clean[i].head
		var err error
		if t.recompute {
			if head, err = t.net.Forward(model.Head, t.mode, t.features[i*n:(i+1)*n], t.shardRows()); err != nil {
				return err
			}
		}
		d, err := t.net.Backward(head, t.shardGrads(g, i), engine.Backward{Input: true})
		if err != nil {
			return err
		}
		copy(dFeatures[i*n:], d)
		if d, err = t.backwardMixed(g, mixed, i); err != nil {
			return err
		}
		copy(dMixed[i*n*mixed.k:], d)
		if err := t.contribute(t.layout.params); err != nil {
			return err
		}
	}
	if err := t.returnGradients(ctx, g, mixed, dFeatures, dMixed); err != nil {
		return err
	}
	for i := range g.own.Count {
		clear(t.layout.params.of(t.sums))
		tp, err := t.again(clean, b, i)
		if err != nil {
			return err
		}
		_, err = t.net.Backward(tp.trunk, dFeatures[i*n:(i+1)*n], engine.Backward{})
		tp.release()
		if err != nil {
			return err
		}
		if err := t.contribute(t.layout.params); err != nil {
			return err
		}
	}
	return nil
}

// again returns the forward of own shard i: the one that was kept, or with the gradient cache a new
// one, which has the same bits.
func (t *trainer) again(kept tapes, b *batch, i int) (tape, error) {
	if !t.recompute {
		return kept[i], nil
	}
	return t.forward(t.shardImages(b.images, i), t.shardRows())
}

// shardGrads is the gradient by the embeddings of own shard i.
func (t *trainer) shardGrads(g *generation, i int) []float32 {
	n := t.shardRows() * t.dim
	return t.rowGrads[g.lo*t.dim+i*n:][:n]
}
