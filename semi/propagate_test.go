package semi

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// inverse is Gauss-Jordan with pivoting.
func inverse(t *testing.T, a []float64, n int) []float64 {
	t.Helper()
	a = append([]float64(nil), a...)
	out := make([]float64, n*n)
	for i := range n {
		out[i*n+i] = 1
	}
	for c := range n {
		best := c
		for r := c; r < n; r++ {
			if abs(a[r*n+c]) > abs(a[best*n+c]) {
				best = r
			}
		}
		require.NotZero(t, a[best*n+c])
		for j := range n {
			a[c*n+j], a[best*n+j] = a[best*n+j], a[c*n+j]
			out[c*n+j], out[best*n+j] = out[best*n+j], out[c*n+j]
		}
		p := a[c*n+c]
		for j := range n {
			a[c*n+j] /= p
			out[c*n+j] /= p
		}
		for r := range n {
			if f := a[r*n+c]; r != c && f != 0 {
				for j := range n {
					a[r*n+j] -= f * a[c*n+j]
					out[r*n+j] -= f * out[c*n+j]
				}
			}
		}
	}
	return out
}

func abs(x float64) float64 { return max(x, -x) }

func product(a, b []float64, n int) []float64 {
	out := make([]float64, n*n)
	for i := range n {
		for k := range n {
			for j := range n {
				out[i*n+j] += a[i*n+k] * b[k*n+j]
			}
		}
	}
	return out
}

// closedForm is A W0 A^T with the inverse written out.
func closedForm(t *testing.T, g *Graph, labels []int32, gamma float64) []float64 {
	n := g.Rows()
	system, initial := g.dense(), make([]float64, n*n)
	for i := range n {
		for j := range n {
			system[i*n+j] *= -gamma
			if i == j {
				system[i*n+j]++
			}
			switch {
			case labels[i] < 0 || labels[j] < 0:
			case labels[i] == labels[j]:
				initial[i*n+j] = 1
			default:
				initial[i*n+j] = -1
			}
		}
	}
	a := inverse(t, system, n)
	for i := range a {
		a[i] *= 1 - gamma
	}
	return product(product(a, initial, n), a, n) // A is symmetric
}

func TestPropagationIsTheClosedForm(t *testing.T) {
	widest := 0.0
	for _, gamma := range []float64{0, 0.3, 0.9, 0.99} {
		s := clusters(9, 5, 9, 2, 6, 0.6)
		g, a := s.propagate(t, 5, gamma)
		want, n := closedForm(t, g, s.labels, gamma), g.Rows()
		for i := range n {
			for j := range n {
				widest = max(widest, abs(want[i*n+j]-a.Propagated(i, j)))
			}
		}
	}
	require.Less(t, widest, 1e-11)
	t.Logf("largest difference to the closed form: %.1e", widest)
}

func TestAffinitiesAreSymmetricAndKeepKnownLabels(t *testing.T) {
	s := clusters(2, 4, 8, 3, 6, 0.6)
	g, a := s.propagate(t, 6, 0.9)
	for i := range g.Rows() {
		for j := range g.Rows() {
			f := a.Between(i, j)
			require.Equal(t, f, a.Between(j, i))
			require.LessOrEqual(t, abs(f), 1.0)
			switch {
			case s.labels[i] < 0 || s.labels[j] < 0:
			case s.labels[i] == s.labels[j]:
				require.Equal(t, 1.0, f)
			default:
				require.Equal(t, -1.0, f)
			}
		}
	}
}

// Two moons with one label each: no straight line separates them, and the nearest label is the wrong
// one for many points. The sign of the affinity to the two labels recovers both.
func TestPropagationRecoversTwoMoons(t *testing.T) {
	s := moons(5, 60, 0.04)
	_, a := s.propagate(t, 6, 0.99)
	nearestWrong := 0
	for i, class := range s.truth {
		own, other := 60*int(class)+30, 60*int(1-class)+30
		require.Greater(t, a.Propagated(i, own), a.Propagated(i, other), "point %d", i)
		row := func(i int) []float32 { return s.rows[2*i : 2*i+2] }
		if squaredDistance(row(i), row(own)) > squaredDistance(row(i), row(other)) {
			nearestWrong++
		}
	}
	require.Greater(t, nearestWrong, 10, "the nearest label is right: these moons test nothing")
	t.Logf("the nearest label is wrong for %d of 120 points, the propagated one for none", nearestWrong)
}

// Between unlabelled rows too, affinities tell who belongs together.
func TestPropagationRecoversClusters(t *testing.T) {
	s := clusters(6, 4, 20, 2, 16, 0.5)
	g, a := s.propagate(t, 8, 0.9)
	right, all := 0, 0
	for i := range g.Rows() {
		for j := range i {
			if s.labels[i] >= 0 || s.labels[j] >= 0 {
				continue
			}
			all++
			if (a.Between(i, j) > 0) == (s.truth[i] == s.truth[j]) {
				right++
			}
		}
	}
	require.Greater(t, float64(right)/float64(all), 0.99)
	t.Logf("%.2f %% of %d pairs of unlabelled rows have the right sign", 100*float64(right)/float64(all), all)
}

// Where no label arrives nothing is known.
func TestWithoutLabelsAllAffinitiesAreZero(t *testing.T) {
	s := clusters(6, 3, 5, 0, 8, 0.5)
	g, a := s.propagate(t, 4, 0.9)
	for i := range g.Rows() {
		require.Zero(t, a.Between(i, (i+1)%g.Rows()))
	}
	require.Empty(t, Mine(g, a, false))
}

func TestThreadsChangeNoBit(t *testing.T) {
	s := clusters(8, 10, 12, 3, 24, 0.7)
	one, err := NewGraph(s.rows, s.dim, 7, 1)
	require.NoError(t, err)
	many, err := NewGraph(s.rows, s.dim, 7, 5)
	require.NoError(t, err)
	require.Equal(t, one, many)
	a, err := Propagate(one, s.labels, 0.9, 1)
	require.NoError(t, err)
	b, err := Propagate(many, s.labels, 0.9, 5)
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func TestOrderOfRowsDoesNotMatter(t *testing.T) {
	s := clusters(8, 6, 8, 2, 12, 0.6)
	order := draw.Of(1, draw.Test).Perm(len(s.labels))
	p := s.shuffled(order)
	g, a := s.propagate(t, 6, 0.9)
	h, b := p.propagate(t, 6, 0.9)
	for i := range order {
		for j := range order {
			require.InDelta(t, a.Between(order[i], order[j]), b.Between(i, j), 1e-12)
		}
	}
	back := map[Triplet]bool{}
	for _, tr := range Mine(h, b, false) {
		back[Triplet{int32(order[tr.Anchor]), int32(order[tr.Positive]), int32(order[tr.Negative])}] = true
	}
	mined := Mine(g, a, false)
	require.Len(t, back, len(mined))
	for _, tr := range mined {
		require.True(t, back[tr])
	}
}

func TestPropagateRefuses(t *testing.T) {
	s := clusters(1, 2, 4, 1, 4, 0.5)
	g, err := NewGraph(s.rows, s.dim, 3, 1)
	require.NoError(t, err)
	_, err = Propagate(g, s.labels[1:], 0.5, 1)
	require.ErrorContains(t, err, "7 labels given for a graph of 8 rows")
	for _, gamma := range []float64{-0.1, 1} {
		_, err = Propagate(g, s.labels, gamma, 1)
		require.ErrorContains(t, err, "it must be at least 0 and below 1")
	}
	require.Equal(t, 0, Iterations(0))
	require.Equal(t, 61, Iterations(0.9))
}
