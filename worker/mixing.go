package worker

import (
	"context"
	"errors"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
)

// mixing is what one step mixes before or within the network. Mixed row v is lambda x first +
// (1 - lambda) x second. Mixed rows are in the order of their first rows, k for each row of the
// batch, so a shard's mixed rows are those of its own rows; only second may live elsewhere.
type mixing struct {
	level         string
	k             int
	first, second []int32
	lambda        []float32
	partners      func(shard int) (partners, error)
	rows, grads   []float32 // V x d: all mixed embeddings; gradient by them
	acc           []int64   // exact sum of the gradients of shards of anchors
	tapes         tapes     // forwards of own mixed rows, by shard; at feature level of the head only
	returned      []int32   // mixed rows of other workers with an own second row, ascending
}

// release gives the tapes back; a nil mixing has none.
func (m *mixing) release() {
	if m != nil {
		m.tapes.release()
	}
}

// mixRows makes the mixed rows of a step that mixes images or feature maps, embeds this worker's and
// gathers all. It returns nil for a step that mixes embeddings, where no row is made, or nothing.
func (t *trainer) mixRows(ctx context.Context, g *generation, b *batch) (_ *mixing, err error) {
	if !t.mixesRows() {
		return nil, nil
	}
	m := &mixing{level: t.mix.Level, k: t.mix.Hardest}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	choice := metrix.PairChoice{Hardest: m.k, Threads: t.cfg.Threads}
	if t.cfg.Recipe.Mix.Partners == "shard" {
		choice.Blocks = t.shards
	}
	if m.first, m.second, err = metrix.ChoosePairs(t.lossBatch(b), choice); err != nil {
		return nil, err
	}
	m.lambda = t.mix.Lambdas(len(b.labels), m.first, m.second)
	if m.partners, err = t.partners(ctx, g, b, m); err != nil {
		return nil, err
	}
	m.rows = make([]float32, len(m.first)*t.dim)
	m.grads, m.acc = make([]float32, len(m.rows)), make([]int64, len(m.rows))
	if err := t.embedMixed(g, m); err != nil {
		return nil, err
	}
	return m, g.ring.AllGather(ctx, t.step, "mixed embeddings", m.rows, g.batchParts(m.k*t.dim))
}

// mixesRows reports whether this step mixes images or feature maps.
func (t *trainer) mixesRows() bool {
	return t.mix.Weight > 0 && (t.mix.Level == metrix.LevelInput || t.mix.Level == metrix.LevelFeature)
}

// round gives feature maps that stay here the precision of those that travel, so that it does not
// matter which do.
func (t *trainer) round(x []float32) {
	if t.wire == allreduce.BFloat16 {
		allreduce.RoundBFloat16(x)
	}
}

// mixShard makes the mixed images or feature maps of own shard i: of n rows, n x k.
func (t *trainer) mixShard(g *generation, m *mixing, i int) ([]float32, error) {
	p, err := m.partners(i)
	if err != nil {
		return nil, err
	}
	n, width := t.shardRows()*m.k, t.width(m.level)
	out := make([]float32, n*width)
	// Two rows are enough to mix from, whatever their number in the batch.
	pair, mix := make([]float32, 2*width), metrix.Operator{{J: 1}}
	for at := range n {
		v := g.lo*m.k + i*n + at
		if err := errors.Join(p.row(pair[:width], m.first[v]), p.row(pair[width:], m.second[v])); err != nil {
			return nil, err
		}
		if m.level == metrix.LevelFeature {
			t.round(pair)
		}
		mix[0].Lambda = m.lambda[v]
		mix.Apply(out[at*width:][:width], pair, width)
	}
	return out, nil
}

// embedMixed embeds own mixed rows, shard by shard, into their place in m.rows.
func (t *trainer) embedMixed(g *generation, m *mixing) error {
	n := t.shardRows() * m.k
	for i := range g.own.Count {
		clear(t.layout.buffers.of(t.sums))
		tp, err := t.forwardMixed(g, m, i)
		if err != nil {
			return err
		}
		m.tapes = append(m.tapes, tp)
		copy(m.rows[(g.lo*m.k+i*n)*t.dim:], tp.head.Out())
		if t.recompute {
			tp.release()
		}
		if m.level == metrix.LevelFeature {
			continue // statistics of batch norm are those of forwards through both stages
		}
		if err := errors.Join(t.contribute(t.layout.buffers), t.countForward()); err != nil {
			return err
		}
	}
	return nil
}

// forwardMixed mixes and embeds the mixed rows of own shard i.
func (t *trainer) forwardMixed(g *generation, m *mixing, i int) (tp tape, err error) {
	n := t.shardRows() * m.k
	mixed, err := t.mixShard(g, m, i)
	if err != nil {
		return tp, err
	}
	if m.level == metrix.LevelInput {
		return t.forward(rows{of: t.source.plain(mixed), hi: n}, n, false)
	}
	tp.head, err = t.net.Forward(model.Head, t.mode, mixed, n)
	return tp, err
}

// backwardMixed propagates the gradient of own shard i's mixed embeddings through the head, and at
// input level through the trunk. At feature level it returns the gradient by the mixed feature maps.
func (t *trainer) backwardMixed(g *generation, m *mixing, i int) (dMixed []float32, err error) {
	n := t.shardRows() * m.k * t.dim
	at := g.lo*m.k*t.dim + i*n
	tp := m.tapes[i]
	if t.recompute {
		if tp, err = t.forwardMixed(g, m, i); err != nil {
			return nil, err
		}
		defer tp.release()
	}
	if m.level == metrix.LevelFeature {
		return t.net.Backward(tp.head, m.grads[at:at+n], engine.Backward{Input: !t.headOnly()})
	}
	return nil, t.backwardBoth(tp, m.grads[at:at+n], engine.Backward{})
}
