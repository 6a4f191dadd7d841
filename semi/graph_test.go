package semi

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// dense returns S as a matrix.
func (g *Graph) dense() []float64 {
	n := g.Rows()
	s := make([]float64, n*n)
	for i := range n {
		for e := g.start[i]; e < g.start[i+1]; e++ {
			s[i*n+int(g.column[e])] = g.weight[e]
		}
	}
	return s
}

// The graph written out: sort all distances, join, weigh, normalise.
func naiveGraph(s scene, k int) (neighbors []int32, normalised []float64) {
	n := len(s.labels)
	d := make([]float64, n*n)
	for i := range n {
		for j := range n {
			for c := range s.dim {
				diff := float64(s.rows[i*s.dim+c]) - float64(s.rows[j*s.dim+c])
				d[i*n+j] += diff * diff
			}
		}
	}
	w, width := make([]float64, n*n), 0.0
	for i := range n {
		var order []int32
		for j := range n {
			if j != i {
				order = append(order, int32(j))
			}
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			if d[i*n+int(a)] < d[i*n+int(b)] {
				return -1
			}
			return 1
		})
		neighbors = append(neighbors, order[:k]...)
		for _, j := range order[:k] {
			width += d[i*n+int(j)] / float64(n*k)
		}
	}
	degree := make([]float64, n)
	for i := range n {
		for j := range n {
			if i != j && (slices.Contains(neighbors[i*k:(i+1)*k], int32(j)) || slices.Contains(neighbors[j*k:(j+1)*k], int32(i))) {
				w[i*n+j] = math.Exp(-d[i*n+j] / width)
				degree[i] += w[i*n+j]
			}
		}
	}
	for i := range n {
		for j := range n {
			w[i*n+j] /= math.Sqrt(degree[i] * degree[j])
		}
	}
	return neighbors, w
}

func TestGraphIsTheOneWrittenOut(t *testing.T) {
	for _, k := range []int{1, 4, 9, 39} {
		s := clusters(3, 5, 8, 2, 7, 0.5)
		g, err := NewGraph(s.rows, s.dim, k, 1)
		require.NoError(t, err)
		neighbors, normalised := naiveGraph(s, k)
		require.Equal(t, neighbors, g.Neighbors)
		require.InDeltaSlice(t, normalised, g.dense(), 1e-12)
	}
}

func TestGraphIsSymmetricAndBounded(t *testing.T) {
	s := clusters(4, 6, 10, 1, 16, 0.8)
	g, err := NewGraph(s.rows, s.dim, 5, 3)
	require.NoError(t, err)
	n, w := g.Rows(), g.dense()
	for i := range n {
		require.Zero(t, w[i*n+i])
		for j := range n {
			require.Equal(t, w[i*n+j], w[j*n+i])
			require.GreaterOrEqual(t, w[i*n+j], 0.0)
		}
	}
}

// Embeddings start close together: the same picture at a thousandth of the size is the same graph.
func TestGraphDoesNotDependOnScale(t *testing.T) {
	s := moons(1, 30, 0.05)
	small := slices.Clone(s.rows)
	for i := range small {
		small[i] /= 1024
	}
	a, err := NewGraph(s.rows, 2, 6, 1)
	require.NoError(t, err)
	b, err := NewGraph(small, 2, 6, 1)
	require.NoError(t, err)
	require.Equal(t, a.Neighbors, b.Neighbors)
	require.Equal(t, a.weight, b.weight)
}

func TestRowsThatCoincide(t *testing.T) {
	g, err := NewGraph([]float32{1, 0, 1, 0, 1, 0, 1, 0}, 2, 2, 1)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 2, 0, 2, 0, 1, 0, 1}, g.Neighbors, "ties go to the lower row")
	for _, w := range g.weight {
		require.False(t, math.IsNaN(w) || math.IsInf(w, 0))
	}
}

func TestGraphRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		rows   []float32
		dim, k int
		says   string
	}{
		{make([]float32, 5), 2, 1, "5 floats are no rows of dimension 2"},
		{nil, 0, 1, "no rows of dimension 0"},
		{make([]float32, 6), 2, 3, "3 neighbours of each of 3 rows asked for"},
		{make([]float32, 6), 2, 0, "0 neighbours of each of 3 rows"},
		{[]float32{0, 0, nan, 0, 0, 0}, 2, 1, "a row is not finite"},
	} {
		_, err := NewGraph(c.rows, c.dim, c.k, 1)
		require.ErrorContains(t, err, c.says)
	}
}

func BenchmarkPrepare(b *testing.B) {
	for _, size := range []struct {
		name          string
		classes, rows int
	}{{"128", 16, 8}, {"512", 32, 16}, {"1024", 64, 16}} {
		b.Run(size.name, func(b *testing.B) {
			s := clusters(1, size.classes, size.rows, size.rows/2, 128, 0.7)
			l, err := New(DefaultConfig(), 1)
			require.NoError(b, err)
			for b.Loop() {
				require.NoError(b, l.Prepare(s.rows, s.labels, s.dim))
			}
		})
	}
}

func TestNearestIsSorting(t *testing.T) {
	for trial := range uint64(200) {
		r := draw.Of(trial, draw.Test)
		d := make([]float64, 2+r.IntN(30))
		for i := range d {
			d[i] = float64(r.IntN(10)) // many ties
		}
		self := r.IntN(len(d))
		var want []int32
		for j := range d {
			if j != self {
				want = append(want, int32(j))
			}
		}
		slices.SortStableFunc(want, func(a, b int32) int { return int(d[a] - d[b]) })
		got := make([]int32, 1+r.IntN(len(d)-1))
		nearest(got, d, self)
		require.Equal(t, want[:len(got)], got)
	}
}
