package retrieval

import (
	"context"
	"sync"
	"sync/atomic"
)

// scorer computes the scores of a block of queries against rows of the gallery; larger is nearer.
// It belongs to one goroutine.
type scorer struct {
	opt    Options
	dim    int
	n      int       // queries in the block
	width  int       // scores per gallery row: n rounded up to whole panels
	packed []float32 // panels, or the rows as they are for opt.Product
	scores []float32
}

func newScorer(opt Options, dim int) *scorer {
	width := (opt.queryBlock + lanes - 1) / lanes * lanes
	return &scorer{
		opt:    opt,
		dim:    dim,
		packed: make([]float32, width*dim),
		scores: make([]float32, width*opt.galleryBlock),
	}
}

// load makes the given rows the block of queries.
func (s *scorer) load(x Rows, block []int32) {
	s.n = len(block)
	if s.opt.Product != nil {
		s.width = s.n
		for q, i := range block {
			copy(s.packed[q*s.dim:(q+1)*s.dim], x.row(int(i)))
		}
		return
	}
	s.width = (s.n + lanes - 1) / lanes * lanes
	clear(s.packed)
	for q, i := range block {
		pack(s.packed, x.row(int(i)), q)
	}
}

// score returns the scores of at most galleryBlock rows: those of row j begin at j*width, the first n
// count. They are valid until the next call.
func (s *scorer) score(rows []float32) []float32 {
	m := len(rows) / s.dim
	if m == 0 {
		return nil
	}
	out := s.scores[:m*s.width]
	if s.opt.Product != nil {
		s.opt.Product(out, rows, s.packed[:s.n*s.dim], m, s.n, s.dim)
		return out
	}
	for q := 0; q < s.width; q += lanes {
		s.opt.kernel(out[q:], s.width, rows, s.packed[q*s.dim:(q+lanes)*s.dim], s.dim)
	}
	return out
}

// sweep passes the scores of every gallery row to visit, in the order of the gallery, until ctx is
// done.
func (s *scorer) sweep(ctx context.Context, gallery []float32, visit func(row int, scores []float32)) {
	n := len(gallery) / s.dim
	for first := 0; first < n && ctx.Err() == nil; first += s.opt.galleryBlock {
		last := min(first+s.opt.galleryBlock, n)
		scores := s.score(gallery[first*s.dim : last*s.dim])
		for j := first; j < last; j++ {
			visit(j, scores[:s.n])
			scores = scores[s.width:]
		}
	}
}

// parallel runs work on a number of goroutines and waits for them. A call of next hands out another
// of the blocks [lo, hi) of n things, and ok false when none is left or ctx is done. It returns the
// error of ctx: then some blocks were not handed out.
func parallel(ctx context.Context, threads, n, block int, work func(next func() (lo, hi int, ok bool))) error {
	var taken atomic.Int64
	next := func() (lo, hi int, ok bool) {
		lo = int(taken.Add(1)-1) * block
		if lo >= n || ctx.Err() != nil {
			return 0, 0, false
		}
		return lo, min(lo+block, n), true
	}
	var wg sync.WaitGroup
	for range min(threads, (n+block-1)/block) {
		wg.Go(func() { work(next) })
	}
	wg.Wait()
	return ctx.Err()
}
