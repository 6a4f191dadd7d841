package retrieval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/metrixml/metrix/internal/draw"
)

// Lloyd iterations stop when no row changes its cluster, or after this many.
const maxIterations = 25

// sumBlock is the number of rows whose distances are summed together when a centroid is drawn, fixed
// so that the sum does not depend on the number of threads.
const sumBlock = 512

// Cluster divides rows into at most k clusters by k-means on Euclidean distance and returns the
// cluster of each row. The first centroids are drawn by k-means++ from the seed; then come at most 25
// Lloyd iterations, ties to the lower cluster, an empty cluster keeping its centroid. The result
// depends on rows, k and seed alone. Of opt only Threads counts.
//
// Cost: N*k*d multiply-adds to draw the centroids and again for each iteration. With the 11 316 classes
// of Stanford Online Products and 512 dimensions that is minutes.
func Cluster(ctx context.Context, rows Rows, k int, seed uint64, opt Options) ([]int32, error) {
	if err := rows.check("clustered"); err != nil {
		return nil, err
	}
	if err := rows.checkFinite("clustered", 0, rows.Len()); err != nil {
		return nil, err
	}
	if k < 1 || k > rows.Len() {
		return nil, fmt.Errorf("retrieval: %d clusters of %d rows asked for: use 1 to %d", k, rows.Len(), rows.Len())
	}
	opt.Distance, opt.Product = Cosine, nil // assign makes distances of inner products
	opt, err := opt.fill(rows.Len())
	if err != nil {
		return nil, err
	}
	c := clusterer{rows: rows, opt: opt, k: k, of: make([]int32, rows.Len())}
	if err := c.seed(ctx, seed); err != nil {
		return nil, fmt.Errorf("retrieval: draw %d centroids: %w", k, err)
	}
	for i := range maxIterations {
		before := slices.Clone(c.of)
		if err := c.iterate(ctx); err != nil {
			return nil, fmt.Errorf("retrieval: cluster, iteration %d: %w", i, err)
		}
		if i > 0 && slices.Equal(before, c.of) {
			break
		}
	}
	return c.of, nil
}

// NMI returns the normalised mutual information, in [0, 1], of the classes and of as many k-means
// clusters as there are classes. See Cluster and MutualInformation.
func NMI(ctx context.Context, rows Rows, seed uint64, opt Options) (float64, error) {
	if err := rows.checkLabels("clustered"); err != nil {
		return 0, err
	}
	if rows.Len() == 0 {
		return 0, errors.New("retrieval: NMI of no rows asked for: it needs at least one")
	}
	labels := slices.Clone(rows.Labels)
	slices.Sort(labels)
	clusters, err := Cluster(ctx, rows, len(slices.Compact(labels)), seed, opt)
	if err != nil {
		return 0, err
	}
	return MutualInformation(clusters, rows.Labels)
}

// MutualInformation returns 2 I(a; b) / (H(a) + H(b)), in [0, 1], of two partitions of the same
// things; 1 if both have a single part.
func MutualInformation(a, b []int32) (float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, fmt.Errorf("retrieval: partitions of %d and %d things cannot be compared: "+
			"they must cover the same ones, at least one", len(a), len(b))
	}
	joint := make([]uint64, len(a))
	for i := range a {
		joint[i] = uint64(uint32(a[i]))<<32 | uint64(uint32(b[i]))
	}
	ha, hb := entropy(slices.Clone(a)), entropy(slices.Clone(b))
	if ha+hb == 0 {
		return 1, nil
	}
	information := ha + hb - entropy(joint)
	return min(1, max(0, 2*information/(ha+hb))), nil
}

// entropy returns the entropy in nats of the frequencies of x, which it sorts.
func entropy[T int32 | uint64](x []T) float64 {
	slices.Sort(x)
	h := 0.0
	for first := 0; first < len(x); {
		last := first
		for last < len(x) && x[last] == x[first] {
			last++
		}
		p := float64(last-first) / float64(len(x))
		h -= float64(p * math.Log(p))
		first = last
	}
	return h
}

// clusterer is k-means in progress.
type clusterer struct {
	rows      Rows
	opt       Options
	k         int
	centroids []float32 // k x dim
	of        []int32   // cluster of each row
}

// seed draws the centroids by k-means++: the first uniformly among the rows, each other one with a
// probability in proportion to the squared distance to the nearest centroid so far.
func (c *clusterer) seed(ctx context.Context, seed uint64) error {
	n, dim := c.rows.Len(), c.rows.Dim
	r := draw.Of(seed, draw.Cluster)
	nearest := make([]float64, n) // squared distance
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	sums := make([]float64, (n+sumBlock-1)/sumBlock)
	chosen := r.IntN(n)
	for {
		c.centroids = append(c.centroids, c.rows.row(chosen)...)
		if len(c.centroids) == c.k*dim {
			return ctx.Err()
		}
		centroid := c.rows.row(chosen)
		err := parallel(ctx, c.opt.Threads, n, sumBlock, func(next func() (int, int, bool)) {
			for lo, hi, ok := next(); ok; lo, hi, ok = next() {
				sum := 0.0
				for i := lo; i < hi; i++ {
					nearest[i] = min(nearest[i], float64(squaredDistance(c.rows.row(i), centroid)))
					sum += nearest[i]
				}
				sums[lo/sumBlock] = sum
			}
		})
		if err != nil {
			return err
		}
		chosen = pickRow(r.Float64(), nearest, sums)
	}
}

// pickRow returns the row where the running sum of weights passes u times their total, u in [0, 1).
// sums holds the sum of each sumBlock of weights. If no weight is above zero, every row coincides with
// a centroid; it returns the first.
func pickRow(u float64, weights, sums []float64) int {
	total := 0.0
	for _, s := range sums {
		total += s
	}
	left := u * total
	for b, s := range sums {
		if left >= s {
			left -= s
			continue
		}
		for i := b * sumBlock; i < min((b+1)*sumBlock, len(weights)); i++ {
			if left < weights[i] {
				return i
			}
			left -= weights[i]
		}
	}
	for i := len(weights) - 1; i > 0; i-- { // rounding has left a rest
		if weights[i] > 0 {
			return i
		}
	}
	return 0
}

// squaredDistance sums in four strands of fixed order.
func squaredDistance(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
		s0 += float32(d0 * d0)
		s1 += float32(d1 * d1)
		s2 += float32(d2 * d2)
		s3 += float32(d3 * d3)
	}
	for ; i < len(a); i++ {
		d := a[i] - b[i]
		s0 += float32(d * d)
	}
	return (s0 + s1) + (s2 + s3)
}

// iterate is one Lloyd iteration: rows to the nearest centroid, centroids to the mean of their rows.
func (c *clusterer) iterate(ctx context.Context) error {
	if err := c.assign(ctx); err != nil {
		return err
	}
	members := c.members()
	dim := c.rows.Dim
	return parallel(ctx, c.opt.Threads, c.k, 64, func(next func() (int, int, bool)) {
		sum := make([]float64, dim)
		for lo, hi, ok := next(); ok; lo, hi, ok = next() {
			for j := lo; j < hi; j++ {
				c.mean(c.centroids[j*dim:(j+1)*dim], members[j], sum)
			}
		}
	})
}

// assign moves every row to its nearest centroid: the one with the largest <x, c> - |c|^2/2, which is
// (|x|^2 - |x-c|^2)/2.
func (c *clusterer) assign(ctx context.Context) error {
	half := make([]float32, c.k)
	for j := range half {
		sum := 0.0
		for _, v := range c.centroids[j*c.rows.Dim : (j+1)*c.rows.Dim] {
			sum += float64(float64(v) * float64(v))
		}
		half[j] = float32(sum / 2)
	}
	return parallel(ctx, c.opt.Threads, c.rows.Len(), c.opt.queryBlock, func(next func() (int, int, bool)) {
		s := newScorer(c.opt, c.rows.Dim)
		best := make([]float32, c.opt.queryBlock)
		var block []int32
		for lo, hi, ok := next(); ok; lo, hi, ok = next() {
			block = block[:0]
			for i := lo; i < hi; i++ {
				block = append(block, int32(i))
				best[i-lo] = float32(math.Inf(-1))
			}
			s.load(c.rows, block)
			s.sweep(ctx, c.centroids, func(centroid int, scores []float32) {
				for q, score := range scores {
					if score -= half[centroid]; score > best[q] {
						best[q], c.of[lo+q] = score, int32(centroid)
					}
				}
			})
		}
	})
}

// members returns the rows of each cluster, in order.
func (c *clusterer) members() [][]int32 {
	order := byLabel(c.of)
	out := make([][]int32, c.k)
	for first := 0; first < len(order); {
		cluster := c.of[order[first]]
		last := first
		for last < len(order) && c.of[order[last]] == cluster {
			last++
		}
		out[cluster] = order[first:last]
		first = last
	}
	return out
}

// mean writes the mean of the rows to dst, and leaves dst alone if there are none. sum is scratch.
func (c *clusterer) mean(dst []float32, rows []int32, sum []float64) {
	if len(rows) == 0 {
		return
	}
	clear(sum)
	for _, i := range rows {
		for k, v := range c.rows.row(int(i)) {
			sum[k] += float64(v)
		}
	}
	for k := range dst {
		dst[k] = float32(sum[k] / float64(len(rows)))
	}
}
