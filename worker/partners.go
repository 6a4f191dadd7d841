package worker

import (
	"context"
	"slices"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/sampler"
)

// partners is the images or feature maps that are mixed for rows [lo, hi), all own rows or one shard's.
type partners struct {
	lo, hi int
	own    readsRows // of rows [lo, hi)
	ids    []int32   // other rows, ascending
	others *rowStore // theirs
}

// readsRows reads rows from number at on.
type readsRows interface {
	get(dst []float32, at int) error
}

// row reads the image or feature map of a row of the batch.
func (p *partners) row(dst []float32, row int32) error {
	if i := int(row); i >= p.lo && i < p.hi {
		return p.own.get(dst, i-p.lo)
	}
	i, _ := slices.BinarySearch(p.ids, row)
	return p.others.get(dst, i)
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

// width is the number of floats of a row at a level of mixing.
func (t *trainer) width(level string) int {
	if level == metrix.LevelFeature {
		return t.network.Features.Size()
	}
	return t.network.Input.Size()
}

// mixesMaps reports whether this step mixes feature maps.
func (t *trainer) mixesMaps() bool { return t.mixesRows() && t.mix.Level == metrix.LevelFeature }

// fetchesImages reports whether this step mixes images that their owners send.
func (t *trainer) fetchesImages() bool {
	return t.mixesRows() && t.mix.Level == metrix.LevelInput && t.cfg.Recipe.Mix.Images == "fetch"
}

// keepMixable stores what is mixed of own shard i, unless its images are held or loaded again.
func (t *trainer) keepMixable(g *generation, i int, images rows, tp tape) error {
	var x []float32
	switch {
	case t.mixesMaps():
		x = tp.trunk.Out()
	case t.fetchesImages() && t.source.byShard:
		x = images.floats()
	default:
		return nil
	}
	if i == 0 {
		t.stores.own.reset(t.width(t.mix.Level), g.hi-g.lo)
	}
	return t.stores.own.put(i*t.shardRows(), x)
}

// partners finds the images or feature maps that this worker mixes, or says how a shard's are loaded.
// Images of other workers' rows are loaded, unless the recipe has them fetched; feature maps travel from
// their owners.
func (t *trainer) partners(ctx context.Context, g *generation, b *batch, m *mixing) (func(int) (partners, error), error) {
	loads := m.level == metrix.LevelInput && !t.fetchesImages()
	if loads && t.source.byShard {
		return func(i int) (partners, error) {
			if _, err := b.shard(i); err != nil {
				return partners{}, err
			}
			n := t.shardRows()
			return t.loadOthers(ctx, m, b, g.lo+i*n, g.lo+(i+1)*n)
		}, nil
	}
	var p partners
	var err error
	if loads {
		p, err = t.loadOthers(ctx, m, b, g.lo, g.hi)
	} else {
		p, err = t.fetchOthers(ctx, g, b, m)
	}
	return func(int) (partners, error) { return p, err }, err
}

// loadOthers loads the images that are mixed with rows [lo, hi), whose images b holds, by their place in
// the plan, which every worker knows.
func (t *trainer) loadOthers(ctx context.Context, m *mixing, b *batch, lo, hi int) (partners, error) {
	width, ids := t.width(m.level), m.needs(lo, hi)
	items := make([]sampler.Item, len(ids))
	for i, row := range ids {
		items[i] = b.items[row]
	}
	others := make([]float32, len(ids)*width)
	p := partners{lo: lo, hi: hi, own: b.images, ids: ids, others: &rowStore{width: width, data: others}}
	return p, t.source.fill(ctx, t.source.plain(others), items)
}

// fetchOthers has the owners send the feature maps or images that are mixed with own rows, each once.
func (t *trainer) fetchOthers(ctx context.Context, g *generation, b *batch, m *mixing) (partners, error) {
	p := partners{lo: g.lo, hi: g.hi, own: &t.stores.own, ids: m.needs(g.lo, g.hi), others: &t.stores.others}
	what, wire := "feature maps", t.wire
	if m.level == metrix.LevelInput {
		what, wire = "images", allreduce.Float32
		if !t.source.byShard {
			p.own = b.images
		}
	}
	p.others.reset(t.width(m.level), len(p.ids))
	needs := make([][]int32, g.world)
	for rank := range needs {
		needs[rank] = m.needs(g.span(rank))
	}
	ids := g.pairwise(func(from, to int) []int32 {
		lo, hi := g.span(from)
		return between(needs[to], lo, hi)
	})
	return p, t.trade(ctx, g, m, trade{what: what, wire: wire, ids: ids, from: p.own, first: g.lo, to: p.others})
}

// returns lists the mixed rows whose gradient by a feature map goes from a rank to a rank: from where they
// were mixed to the owners of their second rows.
func (m *mixing) returns(g *generation) [][][]int32 {
	return g.pairwise(func(from, to int) (out []int32) {
		lo, hi := g.span(from)
		first, end := g.span(to)
		for v := lo * m.k; v < hi*m.k; v++ {
			if row := int(m.second[v]); row >= first && row < end {
				out = append(out, int32(v))
			}
		}
		return out
	})
}

// returnGradients gives the gradients by mixed feature maps to the owners of their second rows.
func (t *trainer) returnGradients(ctx context.Context, g *generation, m *mixing, ids [][][]int32) error {
	grads := &t.stores.mixGrads
	return t.trade(ctx, g, m, trade{
		what: "feature gradients", wire: t.wire, ids: ids, from: grads, first: g.lo * m.k, to: grads, at: (g.hi - g.lo) * m.k,
	})
}

// stored is the number in stores.mixGrads of the gradient by mixed row v, which touches an own row.
func (m *mixing) stored(g *generation, v int32) int {
	lo, hi := g.lo*m.k, g.hi*m.k
	if int(v) >= lo && int(v) < hi {
		return int(v) - lo
	}
	i, _ := slices.BinarySearch(m.returned, v)
	return hi - lo + i
}

// pairwise is a list for every two different ranks.
func (g *generation) pairwise(list func(from, to int) []int32) [][][]int32 {
	all := make([][][]int32, g.world)
	for from := range all {
		all[from] = make([][]int32, g.world)
		for to := range g.world {
			if from != to {
				all[from][to] = list(from, to)
			}
		}
	}
	return all
}

// trade is rows on their way from rank to rank.
type trade struct {
	what  string
	wire  allreduce.Wire
	ids   [][][]int32 // of the rows that go from a rank to a rank, which all ranks know
	from  readsRows   // own rows, of which the first has the number first
	first int
	to    *rowStore // room for what comes in, in the order of the ranks, from row at on
	at    int
}

// trade sends and receives rows in rounds, so that a worker has no more of them in memory at a time than
// the mixes of a shard, on either way.
func (t *trainer) trade(ctx context.Context, g *generation, m *mixing, tr trade) error {
	if g.world == 1 {
		return nil
	}
	own, width, most := int(g.rank), tr.to.width, 0
	for _, lists := range tr.ids {
		for _, list := range lists {
			most = max(most, len(list))
		}
	}
	quota := max(1, t.shardRows()*m.k/(g.world-1))
	for lo := 0; lo < most; lo += quota {
		send, recv := make([][]float32, g.world), make([][]float32, g.world)
		for rank := range g.world {
			out := window(tr.ids[own][rank], lo, quota)
			send[rank] = make([]float32, len(out)*width)
			for i, id := range out {
				if err := tr.from.get(send[rank][i*width:][:width], int(id)-tr.first); err != nil {
					return err
				}
			}
			recv[rank] = make([]float32, len(window(tr.ids[rank][own], lo, quota))*width)
		}
		if err := g.ring.Exchange(ctx, t.step, tr.what, send, recv, tr.wire); err != nil {
			return err
		}
		at := tr.at
		for rank, rows := range recv {
			if err := tr.to.put(at+lo, rows); err != nil {
				return err
			}
			at += len(tr.ids[rank][own])
		}
	}
	return nil
}

// window is what list has of n entries from lo on.
func window(list []int32, lo, n int) []int32 {
	return list[min(lo, len(list)):min(lo+n, len(list))]
}
