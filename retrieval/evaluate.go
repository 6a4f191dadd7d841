package retrieval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// Result is what the search found for one query.
type Result struct {
	// FirstHit is the exact rank of the first match, from 1; 0 if Valid is false.
	FirstHit int32
	// AP is the average precision of the top R; its mean over queries is MAP@R. In [0, 1].
	AP float32
	// RPrecision is the share of matches in the top R. In [0, 1].
	RPrecision float32
	// Valid is false if the gallery has no match for the query.
	Valid bool
}

// Evaluate searches the gallery for the queries [lo, hi) and returns their results in that order.
// For self-retrieval pass the same Rows, with IDs, twice. It refuses rows that are not finite, and
// stops early with ctx's error.
func Evaluate(ctx context.Context, queries, gallery Rows, lo, hi int, opt Options) ([]Result, error) {
	opt, err := prepare(queries, gallery, lo, hi, opt)
	if err != nil {
		return nil, err
	}
	if err := queries.checkLabels("query"); err != nil {
		return nil, err
	}
	if err := gallery.checkLabels("gallery"); err != nil {
		return nil, err
	}
	// Queries of a class go into the same blocks, so that a block has few matches to look up.
	order := byLabel(queries.Labels[lo:hi])
	for i := range order {
		order[i] += int32(lo)
	}
	classes := indexClasses(gallery.Labels)
	out := make([]Result, hi-lo)
	err = parallel(ctx, opt.Threads, len(order), opt.queryBlock, func(next func() (int, int, bool)) {
		r := newRanker(queries, gallery, classes, opt)
		for first, last, ok := next(); ok; first, last, ok = next() {
			r.run(ctx, order[first:last])
			for q, i := range order[first:last] {
				out[int(i)-lo] = r.tracks[q].result()
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("retrieval: evaluate queries [%d, %d): %w", lo, hi, err)
	}
	return out, nil
}

// byLabel returns the indices of labels, sorted by label, then by index.
func byLabel(labels []int32) []int32 {
	order := make([]int32, len(labels))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(labels[a], labels[b]) })
	return order
}

// indexClasses returns the rows of each label, in order.
func indexClasses(labels []int32) map[int32][]int32 {
	order := byLabel(labels)
	classes := map[int32][]int32{}
	for first := 0; first < len(order); {
		label := labels[order[first]]
		last := first
		for last < len(order) && labels[order[last]] == label {
			last++
		}
		classes[label] = order[first:last:last]
		first = last
	}
	return classes
}

// match is a gallery row of the query's class.
type match struct {
	score float32
	index int32
}

// track follows the ranks of one query's matches while the gallery streams by.
type track struct {
	matches []match // nearest first
	ahead   []int32 // ahead[i]: other rows between match i-1 and match i
	live    int     // matches that can still count: the first, and those within rank R
	total   int     // sum of ahead[:live]
}

// begin sorts the matches and forgets all counts.
func (t *track) begin() {
	slices.SortFunc(t.matches, func(a, b match) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		return cmp.Compare(a.index, b.index)
	})
	t.live = len(t.matches)
	t.total = 0
	t.ahead = slices.Grow(t.ahead[:0], t.live)[:t.live]
	clear(t.ahead)
}

// floor is the score below which no row matters.
func (t *track) floor() float32 {
	if t.live == 0 {
		return float32(math.Inf(1))
	}
	return t.matches[t.live-1].score
}

// count notes a row that is no match. Rows come in the order of their index.
func (t *track) count(index int32, score float32) {
	behind, end := 0, t.live // the first match behind the row, by bisection
	for behind < end {
		mid := (behind + end) / 2
		if m := t.matches[mid]; score > m.score || score == m.score && index < m.index {
			end = mid
		} else {
			behind = mid + 1
		}
	}
	if behind == t.live {
		return
	}
	t.ahead[behind]++
	t.total++
	for t.live > 1 && t.live+t.total > len(t.matches) { // the rank of the last live match is above R
		t.live--
		t.total -= int(t.ahead[t.live])
	}
}

// result reads the ranks off the counts.
func (t *track) result() Result {
	r := len(t.matches)
	if r == 0 {
		return Result{}
	}
	var precisions float64
	var hits, ahead int
	for i := range t.live {
		ahead += int(t.ahead[i])
		if rank := 1 + i + ahead; rank <= r {
			hits++
			precisions += float64(hits) / float64(rank)
		}
	}
	return Result{
		FirstHit:   1 + t.ahead[0],
		AP:         float32(precisions / float64(r)),
		RPrecision: float32(float64(hits) / float64(r)),
		Valid:      true,
	}
}

// ranker evaluates blocks of queries; it belongs to one goroutine.
type ranker struct {
	queries, gallery Rows
	classes          map[int32][]int32
	scorer           *scorer
	gather           []float32 // rows of matches
	tracks           []track   // of the block's queries
	floors           []float32
}

func newRanker(queries, gallery Rows, classes map[int32][]int32, opt Options) *ranker {
	return &ranker{
		queries: queries, gallery: gallery, classes: classes,
		scorer: newScorer(opt, gallery.Dim),
		gather: make([]float32, opt.galleryBlock*gallery.Dim),
		tracks: make([]track, opt.queryBlock),
		floors: make([]float32, opt.queryBlock),
	}
}

// run fills the tracks of a block of queries sorted by label.
func (r *ranker) run(ctx context.Context, block []int32) {
	r.scorer.load(r.queries, block)
	for q := range block {
		r.tracks[q].matches = r.tracks[q].matches[:0]
	}
	for first := 0; first < len(block); {
		label := r.queries.Labels[block[first]]
		last := first
		for last < len(block) && r.queries.Labels[block[last]] == label {
			last++
		}
		r.findMatches(block, first, last, r.classes[label])
		first = last
	}
	for q := range block {
		r.tracks[q].begin()
		r.floors[q] = r.tracks[q].floor()
	}
	floors := r.floors[:len(block)]
	r.scorer.sweep(ctx, r.gallery.X, func(row int, scores []float32) {
		for q, floor := range floors {
			if scores[q] >= floor {
				r.count(block, q, row, scores[q])
			}
		}
	})
}

// findMatches scores the rows of a class for the queries [first, last) of the block.
func (r *ranker) findMatches(block []int32, first, last int, rows []int32) {
	dim := r.gallery.Dim
	for chunk := range slices.Chunk(rows, r.scorer.opt.galleryBlock) {
		for j, row := range chunk {
			copy(r.gather[j*dim:(j+1)*dim], r.gallery.row(int(row)))
		}
		scores := r.scorer.score(r.gather[:len(chunk)*dim])
		for j, row := range chunk {
			for q := first; q < last; q++ {
				if !r.same(block[q], row) {
					m := match{scores[j*r.scorer.width+q], row}
					r.tracks[q].matches = append(r.tracks[q].matches, m)
				}
			}
		}
	}
}

// count notes a gallery row for query q of the block, unless it is a match or the query itself.
func (r *ranker) count(block []int32, q, row int, score float32) {
	i := block[q]
	if r.queries.Labels[i] == r.gallery.Labels[row] || r.same(i, int32(row)) {
		return
	}
	r.tracks[q].count(int32(row), score)
	r.floors[q] = r.tracks[q].floor()
}

// same says whether a query and a gallery row are the same image.
func (r *ranker) same(query, row int32) bool { return sameImage(r.queries, r.gallery, query, row) }

func sameImage(queries, gallery Rows, query, row int32) bool {
	return queries.IDs != nil && gallery.IDs != nil && queries.IDs[query] == gallery.IDs[row]
}
