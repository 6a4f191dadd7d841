package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/sampler"
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
}

// partners is the images or feature maps that are mixed, where they lie: a worker's own are those of the
// batch and are not copied. Where images are loaded shard by shard, own is a shard's.
type partners struct {
	width  int
	lo, hi int // own rows of the batch
	own    []float32
	ids    []int32 // other rows, ascending
	others []float32
}

// row is the image or feature map of a row of the batch.
func (p *partners) row(row int32) []float32 {
	if i := int(row); i >= p.lo && i < p.hi {
		return p.own[(i-p.lo)*p.width:][:p.width]
	}
	i, _ := slices.BinarySearch(p.ids, row)
	return p.others[i*p.width:][:p.width]
}

// release gives the tapes back; a nil mixing has none.
func (m *mixing) release() {
	if m != nil {
		m.tapes.release()
	}
}

// needs is the rows outside [lo, hi) that rows within are mixed with, each once, ascending: by owner,
// therefore.
func (m *mixing) needs(lo, hi int) []int32 {
	var out []int32
	for _, row := range m.second[lo*m.k : hi*m.k] {
		if int(row) < lo || int(row) >= hi {
			out = append(out, row)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// between is the part of ascending rows that lies in [lo, hi).
func between(rows []int32, lo, hi int) []int32 {
	a, _ := slices.BinarySearch(rows, int32(lo))
	b, _ := slices.BinarySearch(rows, int32(hi))
	return rows[a:b]
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

// width is the number of floats of a row at a level of mixing.
func (t *trainer) width(level string) int {
	if level == metrix.LevelFeature {
		return t.network.Features.Size()
	}
	return t.network.Input.Size()
}

// partners finds the images or feature maps that this worker mixes, or says how a shard's are loaded.
func (t *trainer) partners(ctx context.Context, g *generation, b *batch, m *mixing) (func(int) (partners, error), error) {
	if m.level == metrix.LevelInput && t.source.byShard {
		return func(i int) (partners, error) {
			own, err := b.shard(i)
			if err != nil {
				return partners{}, err
			}
			n := t.shardRows()
			p := m.place(t.width(m.level), g.lo+i*n, g.lo+(i+1)*n, own)
			return p, t.loadOthers(ctx, p, b)
		}, nil
	}
	p, err := t.allPartners(ctx, g, b, m)
	return func(int) (partners, error) { return p, err }, err
}

// place makes room for the partners of rows [lo, hi) beside own.
func (m *mixing) place(width, lo, hi int, own []float32) partners {
	p := partners{width: width, lo: lo, hi: hi, own: own, ids: m.needs(lo, hi)}
	p.others = make([]float32, len(p.ids)*width)
	return p
}

// loadOthers loads images by their place in the plan, which every worker knows.
func (t *trainer) loadOthers(ctx context.Context, p partners, b *batch) error {
	items := make([]sampler.Item, len(p.ids))
	for i, row := range p.ids {
		items[i] = b.items[row]
	}
	return t.source.fill(ctx, p.others, items)
}

// allPartners finds the partners of all own rows. Images of other workers' rows are loaded, unless the
// recipe has them fetched; feature maps travel from their owners.
func (t *trainer) allPartners(ctx context.Context, g *generation, b *batch, m *mixing) (partners, error) {
	own, what, wire := b.images, "images", allreduce.Float32
	if m.level == metrix.LevelFeature {
		own, what, wire = t.features, "feature maps", t.wire
	}
	p := m.place(t.width(m.level), g.lo, g.hi, own)
	if m.level == metrix.LevelInput && t.cfg.Recipe.Mix.Images == "load" {
		return p, t.loadOthers(ctx, p, b)
	}
	send, recv := make([][]float32, g.world), make([][]float32, g.world)
	rest := p.others
	for rank := range g.world {
		lo, hi := g.span(rank)
		for _, row := range between(m.needs(lo, hi), g.lo, g.hi) {
			send[rank] = append(send[rank], p.row(row)...)
		}
		n := len(between(p.ids, lo, hi)) * p.width
		recv[rank], rest = rest[:n], rest[n:]
	}
	return p, g.ring.Exchange(ctx, t.step, what, send, recv, wire)
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
	n := t.shardRows() * m.k
	out := make([]float32, n*p.width)
	// Two rows are enough to mix from, whatever their number in the batch.
	pair, mix := make([]float32, 2*p.width), metrix.Operator{{J: 1}}
	for at := range n {
		v := g.lo*m.k + i*n + at
		copy(pair, p.row(m.first[v]))
		copy(pair[p.width:], p.row(m.second[v]))
		if m.level == metrix.LevelFeature {
			t.round(pair)
		}
		mix[0].Lambda = m.lambda[v]
		mix.Apply(out[at*p.width:][:p.width], pair, p.width)
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
		return t.forward(mixed, n, false)
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

// returnGradients adds to dFeatures, the gradient by own feature maps, what the mixed feature maps
// say of them: those mixed here, whose gradient is dMixed, and those mixed elsewhere with a map from
// here, whose gradient travels back. Summands are in the order of the mixed rows, whoever made them.
// The last row of dFeatures is room for what belongs to others.
func (t *trainer) returnGradients(ctx context.Context, g *generation, m *mixing, dFeatures, dMixed []float32) error {
	width := t.network.Features.Size()
	elsewhere := int32(g.hi - g.lo)
	place := func(row int32) int32 {
		if int(row) >= g.lo && int(row) < g.hi {
			return row - int32(g.lo)
		}
		return elsewhere
	}
	back := make([]metrix.Operator, g.world) // transposed: from a rank's mixed rows that touch own ones, ascending
	send, recv := make([][]float32, g.world), make([][]float32, g.world)
	for rank := range g.world {
		lo, hi := g.span(rank)
		for v := lo * m.k; v < hi*m.k; v++ {
			mine := rank == int(g.rank)
			if !mine && place(m.second[v]) == elsewhere {
				continue
			}
			if owner := g.owner(int(m.second[v])); mine && owner != rank {
				send[owner] = append(send[owner], dMixed[(v-lo*m.k)*width:][:width]...)
			}
			back[rank] = append(back[rank], metrix.Pair{I: place(m.first[v]), J: place(m.second[v]), Lambda: m.lambda[v]})
		}
		if rank != int(g.rank) {
			recv[rank] = make([]float32, len(back[rank])*width)
		}
	}
	if err := g.ring.Exchange(ctx, t.step, "feature gradients", send, recv, t.wire); err != nil {
		return err
	}
	t.round(dMixed)
	recv[g.rank] = dMixed
	for rank, o := range back {
		o.Transpose(dFeatures, recv[rank], width)
	}
	return nil
}
