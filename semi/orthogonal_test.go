package semi

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func normal(seed uint64, n int, scale float64) []float32 {
	r := draw.Of(seed, draw.Test)
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale * r.Norm())
	}
	return out
}

// deviation is the largest entry of |w w^T - I|, or of |w^T w - I| for tall matrices.
func deviation(w []float32, rows, cols int) float64 {
	at := func(i, j int) float64 { return float64(w[i*cols+j]) }
	n, m := rows, cols
	if rows > cols {
		at = func(i, j int) float64 { return float64(w[j*cols+i]) }
		n, m = cols, rows
	}
	widest := 0.0
	for i := range n {
		for j := range n {
			var sum float64
			for k := range m {
				sum += at(i, k) * at(j, k)
			}
			if i == j {
				sum--
			}
			widest = max(widest, math.Abs(sum))
		}
	}
	return widest
}

func shapes() [][2]int {
	return [][2]int{{1, 1}, {1, 9}, {7, 1}, {8, 8}, {16, 200}, {130, 65}, {128, 512}}
}

func TestRetractedMatricesAreOrthonormal(t *testing.T) {
	widest := 0.0
	for i, s := range shapes() {
		w := normal(uint64(i), s[0]*s[1], 0.3)
		require.NoError(t, Retract(w, s[0], s[1], 2))
		widest = max(widest, deviation(w, s[0], s[1]))
	}
	require.Less(t, widest, 1e-5)
	t.Logf("largest deviation from I: %.1e", widest)
}

// Gram and Schmidt's process, one vector after the other, is what Retract computes.
func TestRetractIsQR(t *testing.T) {
	const n, m = 20, 60
	w := normal(1, n*m, 1)
	var q [][]float64
	for i := range n {
		v := make([]float64, m)
		for j := range v {
			v[j] = float64(w[i*m+j])
		}
		for range 2 {
			for _, u := range q {
				c := dot(u, v)
				axpy(v, -c, u)
			}
		}
		length := math.Sqrt(dot(v, v))
		for j := range v {
			v[j] /= length
		}
		q = append(q, v)
	}
	require.NoError(t, Retract(w, n, m, 1))
	for i := range n {
		for j := range m {
			require.InDelta(t, q[i][j], w[i*m+j], 1e-6)
		}
	}
}

func TestRetractLeavesWhatIsOrthonormal(t *testing.T) {
	w := normal(2, 12*40, 1)
	require.NoError(t, Retract(w, 12, 40, 1))
	again := slices.Clone(w)
	require.NoError(t, Retract(again, 12, 40, 1))
	require.InDeltaSlice(t, w, again, 2e-7)
}

// A hundred steps in any direction, however large, do not lead off the manifold.
func TestOrthonormalAfterManySteps(t *testing.T) {
	for _, s := range [][2]int{{16, 48}, {48, 16}} {
		w := normal(3, s[0]*s[1], 1)
		for step := range uint64(100) {
			for i, d := range normal(step, len(w), math.Pow(10, float64(step%6)-4)) {
				w[i] += d
			}
			require.NoError(t, Retract(w, s[0], s[1], 1))
			require.Less(t, deviation(w, s[0], s[1]), 1e-5)
		}
	}
}

// A step along a tangent is followed to first order: the rest shrinks with its square.
func TestRetractFollowsTangents(t *testing.T) {
	const n, m = 10, 30
	w := normal(4, n*m, 1)
	require.NoError(t, Retract(w, n, m, 1))
	d := normal(5, n*m, 1)
	require.NoError(t, Tangent(d, w, n, m, 1))
	rest := func(step float32) float64 {
		moved := slices.Clone(w)
		for i := range moved {
			moved[i] += step * d[i]
		}
		target := slices.Clone(moved)
		require.NoError(t, Retract(moved, n, m, 1))
		widest := 0.0
		for i := range moved {
			widest = max(widest, math.Abs(float64(moved[i])-float64(target[i])))
		}
		return widest
	}
	require.InDelta(t, 16, rest(1.0/32)/rest(1.0/128), 4)
}

// The Riemannian gradient G has w G^T + G w^T = 0, and what it takes away is normal to it.
func TestTangentIsAProjection(t *testing.T) {
	for _, s := range [][2]int{{10, 30}, {30, 10}} {
		w, d := normal(6, 300, 1), normal(7, 300, 1)
		require.NoError(t, Retract(w, s[0], s[1], 1))
		full := slices.Clone(d)
		require.NoError(t, Tangent(d, w, s[0], s[1], 2))
		v, g := vectorsOf(w, s[0], s[1]), vectorsOf(d, s[0], s[1])
		for i := range v.n {
			for j := range v.n {
				require.InDelta(t, 0, dot(v.row(i), g.row(j))+dot(v.row(j), g.row(i)), 1e-5)
			}
		}
		var product float64
		for i := range d {
			product += float64(d[i]) * float64(full[i]-d[i])
		}
		require.InDelta(t, 0, product, 1e-4)
		once := slices.Clone(d)
		require.NoError(t, Tangent(d, w, s[0], s[1], 1))
		require.InDeltaSlice(t, once, d, 1e-6)
	}
}

func TestPenaltyGradientIsTheFiniteDifference(t *testing.T) {
	for _, s := range [][2]int{{4, 9}, {9, 4}} {
		w := normal(8, 36, 0.5)
		grad := make([]float32, 36)
		value, err := Penalty(grad, w, s[0], s[1], 0.3, 2)
		require.NoError(t, err)
		require.Positive(t, value)
		for i := range w {
			const step = 1.0 / 256
			kept := w[i]
			at := func(x float32) float64 {
				w[i] = x
				v, err := Penalty(nil, w, s[0], s[1], 0.3, 1)
				require.NoError(t, err)
				return v
			}
			require.InDelta(t, (at(kept+step)-at(kept-step))/(2*step), grad[i], 1e-3)
			w[i] = kept
		}
		require.NoError(t, Retract(w, s[0], s[1], 1))
		value, err = Penalty(nil, w, s[0], s[1], 1, 1)
		require.NoError(t, err)
		require.Less(t, value, 1e-10)
	}
}

func TestThreadsChangeNoBitOfTheWeights(t *testing.T) {
	for _, s := range shapes() {
		one, many := normal(9, s[0]*s[1], 1), normal(9, s[0]*s[1], 1)
		require.NoError(t, Retract(one, s[0], s[1], 1))
		require.NoError(t, Retract(many, s[0], s[1], 7))
		require.Equal(t, one, many)
		a, b := normal(10, len(one), 1), normal(10, len(one), 1)
		require.NoError(t, Tangent(a, one, s[0], s[1], 1))
		require.NoError(t, Tangent(b, one, s[0], s[1], 7))
		require.Equal(t, a, b)
	}
}

func TestWeightsThatHaveCollapsedAreAnError(t *testing.T) {
	nan := float32(math.NaN())
	for _, w := range [][]float32{{1, 2, 3, 2, 4, 6}, {0, 0, 0, 1, 2, 3}, {1, 0, 0, nan, 1, 0}, {float32(math.Inf(1)), 0, 0, 0, 1, 0}} {
		kept := fmt.Sprint(w)
		require.ErrorContains(t, Retract(w, 2, 3, 1), "so it cannot be made orthogonal to them")
		require.Equal(t, kept, fmt.Sprint(w))
	}
	require.ErrorContains(t, Retract(make([]float32, 5), 2, 3, 1), "5 floats are no matrix of 2 x 3")
	require.ErrorContains(t, Tangent(make([]float32, 5), make([]float32, 6), 2, 3, 1), "the gradient of the weights has 5 floats, the weights 6")
	_, err := Penalty(make([]float32, 5), make([]float32, 6), 2, 3, 1, 1)
	require.ErrorContains(t, err, "the gradient of the weights has 5 floats")
}

func BenchmarkRetract(b *testing.B) {
	for _, s := range [][2]int{{128, 512}, {512, 512}, {512, 2048}} {
		b.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(b *testing.B) {
			w := normal(1, s[0]*s[1], 1)
			for b.Loop() {
				require.NoError(b, Retract(w, s[0], s[1], 2))
			}
		})
	}
}
