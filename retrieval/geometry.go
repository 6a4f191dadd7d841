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
	// AlignmentMixed and UniformityMixed are the same with mixes of the test rows beside them: a mix
	// is, for the other rows of its first partner's class, a positive of weight lambda. Absent without.
	AlignmentMixed  *float64 `json:"alignment_mixed,omitempty"`
	UniformityMixed *float64 `json:"uniformity_mixed,omitempty"`
	// UtilisationMixed is the same with mixes of training rows beside them, never above it; the
	// difference says how much of the space mixing reaches. Absent without mixed rows.
	UtilisationMixed *float64 `json:"utilisation_mixed,omitempty"`
}

// Mixed are mixes of some rows, each with a share Lambda of row First, in [0, 1].
type Mixed struct {
	Rows   Rows // of unit length
	First  []int32
	Lambda []float32
}

// MeasureGeometry returns the alignment and uniformity of the test rows, whose labels must be set,
// and the utilisation of the training rows by them, each with and without mixes of these rows (none if
// there are none).
func MeasureGeometry(ctx context.Context, test, train Rows, mixedTest, mixedTrain Mixed, opt Options) (g Geometry, err error) {
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
	if mixedTest.Rows.Len() > 0 {
		a, err := AlignmentMixed(test, mixedTest)
		if err != nil {
			return Geometry{}, err
		}
		u, err := Uniformity(ctx, join(test, mixedTest.Rows), opt)
		if err != nil {
			return Geometry{}, err
		}
		g.AlignmentMixed, g.UniformityMixed = &a, &u
	}
	if mixedTrain.Rows.Len() == 0 {
		return g, nil
	}
	others, err := Nearest(ctx, test, 0, test.Len(), opt, mixedTrain.Rows)
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
func Alignment(rows Rows) (float64, error) { return AlignmentMixed(rows, Mixed{}) }

// AlignmentMixed is Alignment with mixes beside the rows. A mix v of p and a row of another class counts
// with every other row of p's class, by its label lambda:
//
//	( SUM_{x,y of a class} |x-y|^2 + SUM_v lambda_v SUM_{x of p's class, x != p} |x-v|^2 ) /
//	( pairs of a class + SUM_v lambda_v (n_p - 1) )
//
// It costs N d for the rows and as much for the mixes, in float64.
func AlignmentMixed(rows Rows, mixed Mixed) (float64, error) {
	if err := rows.check("aligned"); err != nil {
		return 0, err
	}
	if err := rows.checkLabels("aligned"); err != nil {
		return 0, err
	}
	if err := rows.checkFinite("aligned", 0, rows.Len()); err != nil {
		return 0, err
	}
	if err := mixed.check(rows); err != nil {
		return 0, err
	}
	classOf := make([]int32, len(mixed.First))
	for v, p := range mixed.First {
		classOf[v] = rows.Labels[p]
	}
	order, mixes := byLabel(rows.Labels), byLabel(classOf)
	centre := make([]float64, rows.Dim)
	var sum, weight float64
	for first := 0; first < len(order); {
		class, last := rows.Labels[order[first]], first
		for last < len(order) && rows.Labels[order[last]] == class {
			last++
		}
		n, spread := float64(last-first), rows.spread(order[first:last], centre)
		sum += n * spread
		weight += n * (n - 1) / 2
		for ; len(mixes) > 0 && classOf[mixes[0]] == class; mixes = mixes[1:] {
			v, lambda := mixes[0], float64(mixed.Lambda[mixes[0]])
			own := exactDistance(rows.row(int(mixed.First[v])), mixed.Rows.row(int(v)))
			sum += lambda * (spread + n*distanceTo(centre, mixed.Rows.row(int(v))) - own)
			weight += lambda * (n - 1)
		}
		first = last
	}
	if weight == 0 {
		return 0, errors.New("retrieval: alignment of rows without a pair of one class asked for: it needs at least one")
	}
	return sum / weight, nil
}

// check refuses mixes that are not of rows.
func (m Mixed) check(rows Rows) error {
	n := m.Rows.Len()
	if n == 0 && len(m.First) == 0 {
		return nil
	}
	if len(m.First) != n || len(m.Lambda) != n || m.Rows.Dim != rows.Dim {
		return fmt.Errorf("retrieval: %d mixed rows of dimension %d have %d first rows and %d lambdas, of rows of dimension %d: give one of each for every mix",
			n, m.Rows.Dim, len(m.First), len(m.Lambda), rows.Dim)
	}
	for v, p := range m.First {
		if p < 0 || int(p) >= rows.Len() {
			return fmt.Errorf("retrieval: mixed row %d has row %d as its first: there are %d", v, p, rows.Len())
		}
	}
	return m.Rows.checkFinite("mixed", 0, n)
}

// join returns the rows of a and b as one.
func join(a, b Rows) Rows {
	return Rows{X: slices.Concat(a.X, b.X), Dim: a.Dim}
}

// distanceTo is the squared distance of a row to a point.
func distanceTo(point []float64, row []float32) (sum float64) {
	for k, v := range row {
		d := float64(v) - point[k]
		sum += float64(d * d)
	}
	return sum
}

// spread returns the sum of squared distances of some rows to their mean, which it leaves in centre.
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
		sum += distanceTo(centre, r.row(int(i)))
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
