package retrieval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coarse returns rows of small integers, so that ties abound and every product is exact.
func coarse(r *draw.Rand, n, dim, classes int) Rows {
	rows := Rows{X: make([]float32, n*dim), Dim: dim, Labels: make([]int32, n), IDs: make([]int64, n)}
	for i := range rows.X {
		rows.X[i] = float32(r.IntN(4) - 1)
	}
	ids := r.Perm(n)
	for i := range n {
		rows.Labels[i] = int32(r.IntN(classes))
		rows.IDs[i] = int64(ids[i])
	}
	return rows
}

// smooth returns unit rows scattered about one direction per class.
func smooth(r *draw.Rand, n, dim, classes int, noise float64) Rows {
	rows := coarse(r, n, dim, classes)
	centres := make([]float64, classes*dim)
	for i := range centres {
		centres[i] = r.Norm()
	}
	for i := range n {
		norm := 0.0
		x := rows.row(i)
		for k := range x {
			v := centres[int(rows.Labels[i])*dim+k] + noise*r.Norm()
			x[k] = float32(v)
			norm += v * v
		}
		for k := range x {
			x[k] /= float32(math.Sqrt(norm))
		}
	}
	return rows
}

// ranked is the plain reference: all scores of a query, sorted by the rule of the package.
func ranked(queries, gallery Rows, i int, distance Distance) []Neighbor {
	var all []Neighbor
	for j := range gallery.Len() {
		if queries.IDs != nil && gallery.IDs != nil && queries.IDs[i] == gallery.IDs[j] {
			continue
		}
		var score float32
		for k, a := range queries.row(i) {
			if b := gallery.row(j)[k]; distance == Euclidean {
				score -= float32((a - b) * (a - b))
			} else {
				score += float32(a * b)
			}
		}
		all = append(all, Neighbor{int32(j), score})
	}
	slices.SortFunc(all, func(a, b Neighbor) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return int(a.Index - b.Index)
	})
	return all
}

// bruteForce follows the definitions of the package comment word by word.
func bruteForce(queries, gallery Rows, distance Distance) []Result {
	out := make([]Result, queries.Len())
	for i := range out {
		order := ranked(queries, gallery, i, distance)
		relevant := 0
		for _, n := range order {
			if gallery.Labels[n.Index] == queries.Labels[i] {
				relevant++
			}
		}
		if relevant == 0 {
			continue
		}
		res := Result{Valid: true}
		hits, sum := 0, 0.0
		for at, n := range order {
			if gallery.Labels[n.Index] != queries.Labels[i] {
				continue
			}
			if res.FirstHit == 0 {
				res.FirstHit = int32(at + 1)
			}
			if at < relevant {
				hits++
				sum += float64(hits) / float64(at+1)
			}
		}
		res.AP = float32(sum / float64(relevant))
		res.RPrecision = float32(float64(hits) / float64(relevant))
		out[i] = res
	}
	return out
}

func evaluate(t *testing.T, queries, gallery Rows, opt Options) []Result {
	t.Helper()
	got, err := Evaluate(context.Background(), queries, gallery, 0, queries.Len(), opt)
	require.NoError(t, err)
	return got
}

func TestEvaluateEqualsBruteForce(t *testing.T) {
	for trial := range uint64(60) {
		r := draw.Of(trial, draw.Test, 7)
		n, dim, classes := 1+r.IntN(150), 1+r.IntN(9), 1+r.IntN(40)
		set := coarse(r, n, dim, classes)
		if trial%2 == 1 {
			set = smooth(r, n, dim, classes, 0.8)
		}
		gallery := coarse(r, r.IntN(120), dim, classes)
		for _, distance := range []Distance{Cosine, Euclidean} {
			opt := Options{Distance: distance, Threads: 1 + r.IntN(4), queryBlock: 16 * r.IntN(3), galleryBlock: r.IntN(30)}
			what := fmt.Sprintf("trial %d, %+v", trial, opt)
			require.Equal(t, bruteForce(set, set, distance), evaluate(t, set, set, opt), "self: %s", what)
			require.Equal(t, bruteForce(set, gallery, distance), evaluate(t, set, gallery, opt), "gallery: %s", what)
			queries := set
			queries.IDs = nil
			require.Equal(t, bruteForce(queries, gallery, distance), evaluate(t, queries, gallery, opt), "no IDs: %s", what)
		}
	}
}

func TestResultsDoNotDependOnBlocksThreadsOrKernel(t *testing.T) {
	set := smooth(draw.Of(1, draw.Test), 700, 33, 90, 0.6)
	want := evaluate(t, set, set, Options{Threads: 1})
	for _, opt := range []Options{
		{Threads: 2}, {Threads: 7}, {queryBlock: 16, galleryBlock: 1}, {queryBlock: 48, galleryBlock: 100},
		{kernel: dotPlain}, {kernel: dotPlain, galleryBlock: 9},
	} {
		require.Equal(t, want, evaluate(t, set, set, opt))
	}
}

func TestWorkersShareTheQueries(t *testing.T) {
	set := smooth(draw.Of(2, draw.Test), 403, 20, 60, 0.6)
	want := evaluate(t, set, set, Options{})
	total := Summarize(want, []int{1, 10})
	for world := 1; world <= 16; world++ {
		var joined []Result
		for rank := range run.Rank(world) {
			lo, hi := Range(set.Len(), rank, world)
			part, err := Evaluate(context.Background(), set, set, lo, hi, Options{Threads: 2})
			require.NoError(t, err)
			require.Len(t, part, hi-lo)
			back, err := Decode(Encode(part)) // as they would travel
			require.NoError(t, err)
			joined = append(joined, back...)
		}
		require.Equal(t, want, joined, "%d workers", world)
		require.Equal(t, total, Summarize(joined, []int{1, 10}))
	}
	r := draw.Of(3, draw.Test)
	for range 40 {
		lo := r.IntN(set.Len() + 1)
		hi := lo + r.IntN(set.Len()-lo+1)
		part, err := Evaluate(context.Background(), set, set, lo, hi, Options{})
		require.NoError(t, err)
		require.Equal(t, want[lo:hi], part)
	}
}

func TestRange(t *testing.T) {
	for n := range 40 {
		for world := 1; world <= 16; world++ {
			next, sizes := 0, []int{}
			for rank := range run.Rank(world) {
				lo, hi := Range(n, rank, world)
				require.Equal(t, next, lo)
				next = hi
				sizes = append(sizes, hi-lo)
			}
			require.Equal(t, n, next)
			require.LessOrEqual(t, slices.Max(sizes)-slices.Min(sizes), 1)
		}
	}
	lo, hi := Range(10, 3, 3)
	require.Zero(t, hi-lo)
}

// plainProduct is what a BLAS would be.
func plainProduct(dst, a, b []float32, m, n, k int) {
	for i := range m {
		for j := range n {
			var sum float32
			for p := range k {
				sum += float32(a[i*k+p] * b[j*k+p])
			}
			dst[i*n+j] = sum
		}
	}
}

func TestProductReplacesTheKernel(t *testing.T) {
	set := smooth(draw.Of(4, draw.Test), 150, 12, 20, 0.6)
	want := evaluate(t, set, set, Options{})
	require.Equal(t, want, evaluate(t, set, set, Options{Product: plainProduct, galleryBlock: 7}))
	wrong := func(dst, _, _ []float32, _, _, _ int) { clear(dst) }
	require.NotEqual(t, want, evaluate(t, set, set, Options{Product: wrong}), "it is really called")
}

func TestTiesGoToTheSmallerIndex(t *testing.T) {
	gallery := Rows{X: []float32{1, 1, 1, 1}, Dim: 1, Labels: []int32{5, 6, 5, 6}}
	queries := Rows{X: []float32{1}, Dim: 1, Labels: []int32{6}}
	got := evaluate(t, queries, gallery, Options{})
	require.Equal(t, []Result{{FirstHit: 2, AP: 0.25, RPrecision: 0.5, Valid: true}}, got)
}

// One class holds most of the set: many matches per query, and many blocks of them.
func TestLargeClass(t *testing.T) {
	set := smooth(draw.Of(5, draw.Test), 300, 4, 2, 2)
	for i := range set.Labels {
		set.Labels[i] = 0
		if i%50 == 0 {
			set.Labels[i] = 1
		}
	}
	require.Equal(t, bruteForce(set, set, Cosine), evaluate(t, set, set, Options{galleryBlock: 32}))
}

func TestEvaluateRefuses(t *testing.T) {
	good := func() Rows {
		return Rows{X: []float32{1, 0, 0, 1, 1, 0}, Dim: 2, Labels: []int32{0, 1, 0}, IDs: []int64{1, 2, 3}}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for says, change := range map[string]func(q, g *Rows, opt *Options){
		"query rows of 0 elements":                            func(q, _ *Rows, _ *Options) { q.Dim = 0 },
		"6 gallery values are not whole rows of 4":            func(_, g *Rows, _ *Options) { g.Dim = 4 },
		"query rows have 2 elements and gallery rows 3":       func(_, g *Rows, _ *Options) { g.Dim, g.IDs = 3, nil },
		"3 query rows have 2 labels":                          func(q, _ *Rows, _ *Options) { q.Labels = q.Labels[:2] },
		"3 gallery rows have 0 labels":                        func(_, g *Rows, _ *Options) { g.Labels = nil },
		"3 gallery rows have 1 IDs":                           func(_, g *Rows, _ *Options) { g.IDs = g.IDs[:1] },
		"query row 1 holds NaN at element 0":                  func(q, _ *Rows, _ *Options) { q.X[2] = nan },
		"gallery row 2 holds +Inf at element 1":               func(_, g *Rows, _ *Options) { g.X[5] = inf },
		"distance 9 is unknown":                               func(_, _ *Rows, opt *Options) { opt.Distance = 9 },
		"the queries are the gallery but have no IDs, so eve": func(q, g *Rows, _ *Options) { g.X, g.IDs = q.X, nil },
	} {
		q, g, opt := good(), good(), Options{}
		change(&q, &g, &opt)
		_, err := Evaluate(context.Background(), q, g, 0, 3, opt)
		require.ErrorContains(t, err, says)
	}
	for _, bounds := range [][2]int{{-1, 2}, {2, 1}, {0, 4}} {
		_, err := Evaluate(context.Background(), good(), good(), bounds[0], bounds[1], Options{})
		require.ErrorContains(t, err, "asked for, but there are 3")
	}
}

func TestEvaluateStopsWithItsContext(t *testing.T) {
	set := smooth(draw.Of(6, draw.Test), 400, 8, 40, 0.5)
	ctx, cancel := context.WithCancel(context.Background())
	stopper := func(dst, a, b []float32, m, n, k int) {
		cancel()
		plainProduct(dst, a, b, m, n, k)
	}
	_, err := Evaluate(ctx, set, set, 0, set.Len(), Options{Product: stopper, galleryBlock: 10})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "evaluate queries [0, 400)")
}

func benchmarkEvaluate(b *testing.B, n, dim int, opt Options) {
	set := smooth(draw.Of(1, draw.Test), n, dim, n/5, 1)
	for b.Loop() {
		_, err := Evaluate(context.Background(), set, set, 0, n, opt)
		require.NoError(b, err)
	}
	flops := 2 * float64(n) * float64(n) * float64(dim) * float64(b.N)
	b.ReportMetric(flops/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkEvaluate10kx128(b *testing.B) { benchmarkEvaluate(b, 10_000, 128, Options{}) }
func BenchmarkEvaluate10kx512(b *testing.B) { benchmarkEvaluate(b, 10_000, 512, Options{}) }
func BenchmarkEvaluatePlain10kx128(b *testing.B) {
	benchmarkEvaluate(b, 10_000, 128, Options{kernel: dotPlain})
}
