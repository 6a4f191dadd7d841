package semi

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// scene is a batch whose true classes are known although most labels are hidden.
type scene struct {
	rows   []float32
	labels []int32 // -1: hidden
	truth  []int32
	dim    int
}

// clusters draws classes of size rows each around random unit centres, spread apart by noise, and
// shows the first known labels of each class.
func clusters(seed uint64, classes, size, known, dim int, noise float64) scene {
	s := scene{dim: dim}
	for c := range classes {
		center := draw.Of(seed, draw.Test, 1, uint64(c))
		mean := make([]float64, dim)
		for j := range mean {
			mean[j] = center.Norm() / math.Sqrt(float64(dim))
		}
		for i := range size {
			r := draw.Of(seed, draw.Test, 2, uint64(c), uint64(i))
			for j := range mean {
				s.rows = append(s.rows, float32(mean[j]+noise*r.Norm()/math.Sqrt(float64(dim))))
			}
			label := int32(-1)
			if i < known {
				label = int32(c)
			}
			s.labels, s.truth = append(s.labels, label), append(s.truth, int32(c))
		}
	}
	normalize(s.rows, dim)
	return s
}

// moons are the two interleaved half circles, n points each, of which the middle one has a label.
func moons(seed uint64, n int, noise float64) scene {
	s := scene{dim: 2}
	r := draw.Of(seed, draw.Test)
	for c := range int32(2) {
		for i := range n {
			angle := math.Pi * float64(i) / float64(n-1)
			x, y := math.Cos(angle), math.Sin(angle)
			if c == 1 {
				x, y = 1-x, 0.5-y
			}
			label := int32(-1)
			if i == n/2 {
				label = c
			}
			s.rows = append(s.rows, float32(x+noise*r.Norm()), float32(y+noise*r.Norm()))
			s.labels, s.truth = append(s.labels, label), append(s.truth, c)
		}
	}
	return s
}

// add appends rows of classes that s does not have.
func (s *scene) add(other scene) {
	s.rows, s.labels = append(s.rows, other.rows...), append(s.labels, other.labels...)
	for _, c := range other.truth {
		s.truth = append(s.truth, 1000+c)
	}
}

// shuffled returns the scene with its rows in another order; row i of it was row order[i].
func (s scene) shuffled(order []int) scene {
	out := scene{dim: s.dim}
	for _, i := range order {
		out.rows = append(out.rows, s.rows[i*s.dim:(i+1)*s.dim]...)
		out.labels, out.truth = append(out.labels, s.labels[i]), append(out.truth, s.truth[i])
	}
	return out
}

func (s scene) propagate(t testing.TB, k int, gamma float64) (*Graph, *Affinity) {
	t.Helper()
	g, err := NewGraph(s.rows, s.dim, k, 2)
	require.NoError(t, err)
	a, err := Propagate(g, s.labels, gamma, 2)
	require.NoError(t, err)
	return g, a
}

// right is the share of triplets that the true classes confirm.
func (s scene) right(triplets []Triplet) float64 {
	n := 0
	for _, t := range triplets {
		if s.truth[t.Anchor] == s.truth[t.Positive] && s.truth[t.Anchor] != s.truth[t.Negative] {
			n++
		}
	}
	return float64(n) / float64(len(triplets))
}

// recall is the share of unlabelled rows whose nearest row is of their class.
func (s scene) recall(t testing.TB) float64 {
	t.Helper()
	g, err := NewGraph(s.rows, s.dim, 1, 1)
	require.NoError(t, err)
	right, all := 0.0, 0.0
	for i, label := range s.labels {
		if label < 0 {
			all++
			if s.truth[g.of(i)[0]] == s.truth[i] {
				right++
			}
		}
	}
	return right / all
}

func normalize(rows []float32, dim int) { metrix.Normalize(rows, rows, dim) }
