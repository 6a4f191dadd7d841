package retrieval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// Neighbor is a gallery row found by Search.
type Neighbor struct {
	// Index is the row in the gallery.
	Index int32
	// Score is the inner product (Cosine), or minus the squared distance (Euclidean).
	Score float32
}

// nearer is the order of the package: the larger score, then the smaller index.
func nearer(a, b Neighbor) bool {
	return a.Score > b.Score || a.Score == b.Score && a.Index < b.Index
}

// Search returns the k >= 1 nearest gallery rows of each query in [lo, hi), nearest first, without
// the query itself; fewer where the gallery has fewer. Labels are not needed.
func Search(ctx context.Context, queries, gallery Rows, lo, hi, k int, opt Options) ([][]Neighbor, error) {
	opt, err := prepare(queries, gallery, lo, hi, opt)
	if err != nil {
		return nil, err
	}
	if k < 1 {
		return nil, fmt.Errorf("retrieval: the %d nearest rows asked for: ask for at least 1", k)
	}
	k = min(k, gallery.Len())
	out := make([][]Neighbor, hi-lo)
	err = parallel(ctx, opt.Threads, hi-lo, opt.queryBlock, func(next func() (int, int, bool)) {
		s := newScorer(opt, gallery.Dim)
		var block []int32
		for first, last, ok := next(); ok; first, last, ok = next() {
			block = block[:0]
			for i := first; i < last; i++ {
				block = append(block, int32(lo+i))
			}
			searchBlock(ctx, s, queries, gallery, block, k, out[first:last])
		}
	})
	if err != nil {
		return nil, fmt.Errorf("retrieval: search for queries [%d, %d): %w", lo, hi, err)
	}
	return out, nil
}

func searchBlock(ctx context.Context, s *scorer, queries, gallery Rows, block []int32, k int, out [][]Neighbor) {
	s.load(queries, block)
	heaps := make([]heap, len(block))
	floors := make([]float32, len(block))
	for q := range floors {
		floors[q] = float32(math.Inf(-1))
	}
	// Rows come by rising index, so one that ties with the worst of a full heap is behind it.
	s.sweep(ctx, gallery.X, func(row int, scores []float32) {
		for q, floor := range floors {
			if scores[q] > floor && !sameImage(queries, gallery, block[q], int32(row)) {
				floors[q] = heaps[q].add(Neighbor{int32(row), scores[q]}, k)
			}
		}
	})
	for q := range heaps {
		slices.SortFunc(heaps[q], func(a, b Neighbor) int {
			if a.Score != b.Score {
				return cmp.Compare(b.Score, a.Score)
			}
			return cmp.Compare(a.Index, b.Index)
		})
		out[q] = heaps[q]
	}
}

// heap holds the nearest rows so far, the farthest of them at the root.
type heap []Neighbor

// add offers a neighbour to a heap of at most k >= 1 and returns the score that the next one must
// beat.
func (h *heap) add(n Neighbor, k int) float32 {
	x := *h
	if len(x) < k {
		x = append(x, n)
		for i := len(x) - 1; i > 0 && nearer(x[(i-1)/2], x[i]); i = (i - 1) / 2 {
			x[i], x[(i-1)/2] = x[(i-1)/2], x[i]
		}
		*h = x
		if len(x) < k {
			return float32(math.Inf(-1))
		}
		return x[0].Score
	}
	if nearer(n, x[0]) {
		x[0] = n
		x.sink()
	}
	return x[0].Score
}

// sink restores the order after the root was replaced.
func (h heap) sink() {
	for i := 0; ; {
		far := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if nearer(h[far], h[child]) {
				far = child
			}
		}
		if far == i {
			return
		}
		h[i], h[far] = h[far], h[i]
		i = far
	}
}
