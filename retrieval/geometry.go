package retrieval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Geometry describes how embeddings lie on the sphere, by the measures that the Metrix paper reports
// (arXiv 2106.04990).
type Geometry struct {
	// Alignment is the mean squared distance of positive pairs; lower is better. In [0, 4].
	Alignment float64 `json:"alignment"`
	// Uniformity is the logarithm of the mean of exp(-2 |x-y|^2) over all pairs; lower is better.
	// In [-8, 0].
	Uniformity float64 `json:"uniformity"`
	// Utilisation is the mean squared distance of test rows to their nearest training row. In [0, 4].
	Utilisation float64 `json:"utilisation"`
	// UtilisationMixed is the same with mixed rows beside the training rows, never above it; the
	// difference says how much of the space mixing reaches. Absent without mixed rows.
	UtilisationMixed *float64 `json:"utilisation_mixed,omitempty"`
}

// MeasureGeometry returns the alignment and uniformity of the test rows, whose labels must be set,
// and the utilisation of the training rows by them, with and without mixed rows (none if mixed has
// no rows).
func MeasureGeometry(ctx context.Context, test, train, mixed Rows, opt Options) (g Geometry, err error) {
	if g.Alignment, err = Alignment(test); err != nil {
		return Geometry{}, err
	}
	if g.Uniformity, err = Uniformity(ctx, test, opt); err != nil {
		return Geometry{}, err
	}
	alone, err := Nearest(ctx, test, 0, test.Len(), opt, train)
	if err != nil {
		return Geometry{}, err
	}
	g.Utilisation = mean(alone)
	if mixed.Len() == 0 {
		return g, nil
	}
	others, err := Nearest(ctx, test, 0, test.Len(), opt, mixed)
	if err != nil {
		return Geometry{}, err
	}
	for i, d := range others {
		others[i] = min(d, alone[i])
	}
	with := mean(others)
	g.UtilisationMixed = &with
	return g, nil
}

// Alignment returns the mean of |x-y|^2 over all pairs of rows of one class (Wang and Isola 2020,
// alpha = 2). Over the n rows of a class,
//
//	SUM_{i<j} |x_i - x_j|^2 = n SUM_i |x_i - m|^2,  m the mean of the rows,
//
// so it costs N d, in float64. Without any pair there is nothing to average: an error.
func Alignment(rows Rows) (float64, error) {
	if err := rows.check("aligned"); err != nil {
		return 0, err
	}
	if err := rows.checkLabels("aligned"); err != nil {
		return 0, err
	}
	if err := rows.checkFinite("aligned", 0, rows.Len()); err != nil {
		return 0, err
	}
	order := byLabel(rows.Labels)
	centre := make([]float64, rows.Dim)
	var sum, pairs float64
	for first := 0; first < len(order); {
		last := first
		for last < len(order) && rows.Labels[order[last]] == rows.Labels[order[first]] {
			last++
		}
		n := float64(last - first)
		sum += n * rows.spread(order[first:last], centre)
		pairs += n * (n - 1) / 2
		first = last
	}
	if pairs == 0 {
		return 0, errors.New("retrieval: alignment of rows without a pair of one class asked for: it needs at least one")
	}
	return sum / pairs, nil
}

// spread returns the sum of squared distances of some rows to their mean. centre is scratch.
func (r Rows) spread(of []int32, centre []float64) (sum float64) {
	clear(centre)
	for _, i := range of {
		for k, v := range r.row(int(i)) {
			centre[k] += float64(v)
		}
	}
	for k := range centre {
		centre[k] /= float64(len(of))
	}
	for _, i := range of {
		for k, v := range r.row(int(i)) {
			d := float64(v) - centre[k]
			sum += float64(d * d)
		}
	}
	return sum
}

// Uniformity returns log of the mean of exp(-2 |x-y|^2) over all pairs of different rows (Wang and
// Isola 2020, t = 2), which must have unit length: |x-y|^2 = 2 - 2 <x, y>. It needs at least two rows.
//
// Cost: N^2 d / 2 multiply-adds and N^2 / 2 exponentials, as a block of rows is compared with those
// behind its first only; no N x N matrix. Every row's sum runs over the later rows in order, and the
// rows' sums are added in order, so the bits depend on the rows alone. For a share of the rows see
// UniformitySums.
func Uniformity(ctx context.Context, rows Rows, opt Options) (float64, error) {
	sums, err := UniformitySums(ctx, rows, 0, rows.Len(), opt)
	if err != nil {
		return 0, err
	}
	n := float64(rows.Len())
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return math.Log(total / (n * (n - 1) / 2)), nil
}

// UniformitySums returns, for each row i in [lo, hi), the sum of exp(-2 |x_i - x_j|^2) over all rows
// j > i: what one of several workers computes. Early rows have more to do than late ones.
func UniformitySums(ctx context.Context, rows Rows, lo, hi int, opt Options) ([]float64, error) {
	if rows.Len() < 2 {
		return nil, fmt.Errorf("retrieval: uniformity of %d rows asked for: it needs at least two", rows.Len())
	}
	opt.Distance = Cosine
	opt, err := prepareOne(rows, lo, hi, opt)
	if err != nil {
		return nil, err
	}
	if err := rows.checkUnit(); err != nil {
		return nil, err
	}
	out := make([]float64, hi-lo)
	err = parallel(ctx, opt.Threads, hi-lo, opt.queryBlock, func(next func() (int, int, bool)) {
		s := newScorer(opt, rows.Dim)
		for first, last, ok := next(); ok; first, last, ok = next() {
			s.load(rows, consecutive(lo+first, lo+last))
			sums := out[first:last]
			from := lo + first
			s.sweep(ctx, rows.X[from*rows.Dim:], func(row int, scores []float32) {
				for q, score := range scores[:min(row, len(scores))] { // rows before this one
					sums[q] += math.Exp(4*float64(score) - 4)
				}
			})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("retrieval: uniformity of rows [%d, %d): %w", lo, hi, err)
	}
	return out, nil
}

// Utilisation returns (1/|Q|) SUM_{q in Q} min_x |q - x|^2 over all rows x of all references: the
// training rows, or the training rows and mixed ones. All rows must have unit length.
func Utilisation(ctx context.Context, queries Rows, opt Options, references ...Rows) (float64, error) {
	d, err := Nearest(ctx, queries, 0, queries.Len(), opt, references...)
	if err != nil {
		return 0, err
	}
	return mean(d), nil
}

// Nearest returns the squared Euclidean distance of each query in [lo, hi) to the nearest row of all
// references, leaving out rows of the query's own ID. The nearest is found by inner product, ties to
// the earlier row, and its distance then summed from the differences, in float64. Every query needs
// at least one row. Labels are not needed.
//
// Cost: N M d multiply-adds, as Search for one neighbour; no N x M matrix.
func Nearest(ctx context.Context, queries Rows, lo, hi int, opt Options, references ...Rows) ([]float64, error) {
	out := make([]float64, max(hi-lo, 0))
	for i := range out {
		out[i] = math.Inf(1)
	}
	opt.Distance = Cosine
	for _, reference := range references {
		if err := reference.checkUnit(); err != nil {
			return nil, err
		}
		found, err := Search(ctx, queries, reference, lo, hi, 1, opt)
		if err != nil {
			return nil, err
		}
		for i, n := range found {
			if len(n) > 0 {
				out[i] = min(out[i], exactDistance(queries.row(lo+i), reference.row(int(n[0].Index))))
			}
		}
	}
	if i := slices.IndexFunc(out, func(d float64) bool { return math.IsInf(d, 1) }); i >= 0 {
		return nil, fmt.Errorf("retrieval: query %d has no reference row to be near to: give at least one of another image", lo+i)
	}
	return out, nil
}

// exactDistance is the squared distance of two rows, every term rounded before the sum.
func exactDistance(a, b []float32) (sum float64) {
	for k, v := range a {
		d := float64(v) - float64(b[k])
		sum += float64(d * d)
	}
	return sum
}

// mean sums in order. The mean of nothing is 0.
func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(max(len(x), 1))
}

func consecutive(lo, hi int) []int32 {
	out := make([]int32, hi-lo)
	for i := range out {
		out[i] = int32(lo + i)
	}
	return out
}

// prepareOne checks one set of rows that is compared with itself and fills in the options.
func prepareOne(rows Rows, lo, hi int, opt Options) (Options, error) {
	if err := rows.check("compared"); err != nil {
		return opt, err
	}
	if lo < 0 || hi < lo || hi > rows.Len() {
		return opt, fmt.Errorf("retrieval: rows [%d, %d) asked for, but there are %d", lo, hi, rows.Len())
	}
	if err := rows.checkFinite("compared", 0, rows.Len()); err != nil {
		return opt, err
	}
	return opt.fill(hi - lo)
}

// checkUnit refuses rows whose length is not 1 to within the rounding of half-precision engines.
func (r Rows) checkUnit() error {
	if r.Dim < 1 {
		return nil // Search says so
	}
	for i := range r.Len() {
		sum := 0.0
		for _, v := range r.row(i) {
			sum += float64(float64(v) * float64(v))
		}
		if n := math.Sqrt(sum); n < 0.98 || n > 1.02 {
			return fmt.Errorf("retrieval: row %d has length %v: distances on the sphere need unit rows", i, n)
		}
	}
	return nil
}
