package retrieval

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// sphere returns unit rows that lean to their class's direction.
func sphere(seed uint64, n, dim, classes int) Rows {
	r := draw.Of(seed, draw.Test)
	rows := Rows{Dim: dim}
	centres := make([]float64, classes*dim)
	for i := range centres {
		centres[i] = r.Norm()
	}
	for range n {
		class := r.IntN(classes)
		x := make([]float64, dim)
		norm := 0.0
		for k := range x {
			x[k] = centres[class*dim+k] + 0.6*r.Norm()
			norm += x[k] * x[k]
		}
		for _, v := range x {
			rows.X = append(rows.X, float32(v/math.Sqrt(norm)))
		}
		rows.Labels = append(rows.Labels, int32(class))
	}
	return rows
}

// bruteGeometry is the three definitions as the papers print them, pair by pair.
func bruteGeometry(test Rows, references ...Rows) (alignment, uniformity, utilisation float64) {
	var positives, pairs float64
	for i := range test.Len() {
		for j := range test.Len() {
			if i == j {
				continue
			}
			d := exactDistance(test.row(i), test.row(j))
			uniformity, pairs = uniformity+math.Exp(-2*d), pairs+1
			if test.Labels[i] == test.Labels[j] {
				alignment, positives = alignment+d, positives+1
			}
		}
		nearest := math.Inf(1)
		for _, r := range references {
			for j := range r.Len() {
				nearest = min(nearest, exactDistance(test.row(i), r.row(j)))
			}
		}
		utilisation += nearest / float64(test.Len())
	}
	return alignment / positives, math.Log(uniformity / pairs), utilisation
}

// bruteAlignment is the definition of AlignmentMixed, pair by pair.
func bruteAlignment(rows Rows, mixed Mixed) float64 {
	var sum, weight float64
	for i := range rows.Len() {
		for j := range i {
			if rows.Labels[i] == rows.Labels[j] {
				sum, weight = sum+exactDistance(rows.row(i), rows.row(j)), weight+1
			}
		}
		for v, p := range mixed.First {
			if int(p) != i && rows.Labels[i] == rows.Labels[p] {
				lambda := float64(mixed.Lambda[v])
				sum, weight = sum+lambda*exactDistance(rows.row(i), mixed.Rows.row(v)), weight+lambda
			}
		}
	}
	return sum / weight
}

func TestGeometryEqualsBruteForce(t *testing.T) {
	ctx := context.Background()
	for _, n := range []int{2, 17, 150, 401} {
		test, train, mixed := sphere(1, n, 9, 3), sphere(2, n/2+1, 9, 5), sphere(3, n, 9, 4)
		test.Labels[0], test.Labels[1] = 1, 1
		alignment, uniformity, utilisation := bruteGeometry(test, train)
		_, _, with := bruteGeometry(test, train, mixed)
		mixes := Mixed{Rows: sphere(6, n+1, 9, 4)}
		for v := range n + 1 {
			mixes.First = append(mixes.First, int32((7*v)%n))
			mixes.Lambda = append(mixes.Lambda, float32(v%5)/4)
		}
		g, err := MeasureGeometry(ctx, test, train, mixes, Mixed{Rows: mixed}, Options{})
		require.NoError(t, err)
		require.InDelta(t, alignment, g.Alignment, 1e-12)
		require.InDelta(t, uniformity, g.Uniformity, 1e-5)
		require.InDelta(t, utilisation, g.Utilisation, 1e-6)
		require.InDelta(t, with, *g.UtilisationMixed, 1e-6)
		require.InDelta(t, bruteAlignment(test, mixes), *g.AlignmentMixed, 1e-12)
		_, together, _ := bruteGeometry(Rows{X: append(append([]float32{}, test.X...), mixes.Rows.X...), Dim: 9, Labels: make([]int32, 2*n+1)})
		require.InDelta(t, together, *g.UniformityMixed, 1e-5)
		both, err := Utilisation(ctx, test, Options{}, train, mixed)
		require.NoError(t, err)
		require.Equal(t, both, *g.UtilisationMixed)
	}
}

// By hand: two classes at right angles, each of two equal rows, and one training row between them.
func TestGeometryByHand(t *testing.T) {
	test := Rows{Dim: 2, X: []float32{1, 0, 1, 0, 0, 1, 0, 1}, Labels: []int32{0, 0, 1, 1}}
	train := Rows{Dim: 2, X: []float32{-1, 0, 0.6, 0.8}}
	g, err := MeasureGeometry(context.Background(), test, train, Mixed{}, Mixed{}, Options{})
	require.NoError(t, err)
	require.Zero(t, g.Alignment)
	require.InDelta(t, math.Log((2+4*math.Exp(-4))/6), g.Uniformity, 1e-7)
	require.InDelta(t, (0.8+0.8+0.4+0.4)/4, g.Utilisation, 1e-7)
	require.Nil(t, g.UtilisationMixed)
	raw, err := json.Marshal(g)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "mixed")

	opposite := Rows{Dim: 1, X: []float32{1, -1}, Labels: []int32{3, 3}}
	a, err := Alignment(opposite)
	require.NoError(t, err)
	require.InDelta(t, 4, a, 1e-12)
	u, err := Uniformity(context.Background(), opposite, Options{})
	require.NoError(t, err)
	require.InDelta(t, -8, u, 1e-6)
}

// Threads, blocks and ranges change no bit.
func TestGeometryDependsOnRowsAlone(t *testing.T) {
	ctx := context.Background()
	rows, train := sphere(4, 333, 12, 6), sphere(5, 200, 12, 6)
	want, err := UniformitySums(ctx, rows, 0, 333, Options{Threads: 1})
	require.NoError(t, err)
	near, err := Nearest(ctx, rows, 0, 333, Options{Threads: 1}, train)
	require.NoError(t, err)
	for _, opt := range []Options{{Threads: 4}, {Threads: 3, queryBlock: 16, galleryBlock: 7}, {queryBlock: 48, kernel: dotPlain}} {
		var sums, distances []float64
		for _, cut := range [][2]int{{0, 50}, {50, 51}, {51, 51}, {51, 333}} {
			s, err := UniformitySums(ctx, rows, cut[0], cut[1], opt)
			require.NoError(t, err)
			d, err := Nearest(ctx, rows, cut[0], cut[1], opt, train)
			require.NoError(t, err)
			sums, distances = append(sums, s...), append(distances, d...)
		}
		require.Equal(t, want, sums)
		require.Equal(t, near, distances)
	}
}

// A query does not count as its own nearest row.
func TestNearestLeavesTheQueryOut(t *testing.T) {
	rows := Rows{Dim: 2, X: []float32{1, 0, 0, 1, -1, 0}, IDs: []int64{7, 8, 9}}
	d, err := Nearest(context.Background(), rows, 0, 3, Options{}, rows)
	require.NoError(t, err)
	require.Equal(t, []float64{2, 2, 2}, d)
	_, err = Nearest(context.Background(), rows, 0, 1, Options{}, Rows{Dim: 2, X: []float32{1, 0}, IDs: []int64{7}})
	require.ErrorContains(t, err, "query 0 has no reference row")
}

func TestGeometryRefuses(t *testing.T) {
	ctx := context.Background()
	_, err := Alignment(Rows{Dim: 1, X: []float32{1, 1}, Labels: []int32{1, 2}})
	require.ErrorContains(t, err, "without a pair of one class")
	_, err = Alignment(Rows{Dim: 1, X: []float32{1, 1}})
	require.ErrorContains(t, err, "2 aligned rows have 0 labels")
	_, err = Uniformity(ctx, Rows{Dim: 1, X: []float32{1}}, Options{})
	require.ErrorContains(t, err, "uniformity of 1 rows asked for")
	_, err = Uniformity(ctx, Rows{Dim: 1, X: []float32{1, 3}}, Options{})
	require.ErrorContains(t, err, "row 1 has length 3")
	_, err = UniformitySums(ctx, Rows{Dim: 1, X: []float32{1, 1}}, 0, 3, Options{})
	require.ErrorContains(t, err, "rows [0, 3) asked for, but there are 2")
	_, err = Utilisation(ctx, Rows{Dim: 1, X: []float32{1}}, Options{}, Rows{Dim: 1, X: []float32{2}})
	require.ErrorContains(t, err, "row 0 has length 2")
	_, err = Utilisation(ctx, Rows{Dim: 1, X: []float32{1}}, Options{})
	require.ErrorContains(t, err, "query 0 has no reference row")

	two := Rows{Dim: 1, X: []float32{1, 1}, Labels: []int32{1, 1}}
	_, err = AlignmentMixed(two, Mixed{Rows: two, First: []int32{0, 2}, Lambda: []float32{1, 1}})
	require.ErrorContains(t, err, "mixed row 1 has row 2 as its first")
	_, err = AlignmentMixed(two, Mixed{Rows: two, First: []int32{0}, Lambda: []float32{1, 1}})
	require.ErrorContains(t, err, "1 first rows and 2 lambdas")

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Uniformity(stopped, sphere(1, 40, 3, 2), Options{})
	require.ErrorIs(t, err, context.Canceled)
}
