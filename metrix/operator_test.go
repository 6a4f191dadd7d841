package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

func randomRows(seed uint64, n int) []float32 {
	r := draw.Of(seed, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// <O x, y> = <x, O^T y>: the gradient reaches both partners with their shares.
func TestTransposeIsTheAdjoint(t *testing.T) {
	const rows, width = 6, 11
	o := metrix.Operator{{I: 0, J: 3, Lambda: 0.25}, {I: 3, J: 0, Lambda: 0.5}, {I: 5, J: 5, Lambda: 0.7}, {I: 0, J: 1, Lambda: 1}}
	require.NoError(t, o.Check(rows))
	x, y := randomRows(1, rows*width), randomRows(2, len(o)*width)
	mixed, back := make([]float32, len(y)), make([]float32, len(x))
	o.Apply(mixed, x, width)
	o.Transpose(back, y, width)
	var left, right float64
	for i := range y {
		left += float64(mixed[i]) * float64(y[i])
	}
	for i := range x {
		right += float64(x[i]) * float64(back[i])
	}
	require.InDelta(t, left, right, 1e-4)
	require.Equal(t, x[:width], mixed[3*width:], "lambda = 1 is the first row itself")
	for k := range width {
		require.Equal(t, 0.25*x[k]+0.75*x[3*width+k], mixed[k])
		require.Equal(t, float32(0), back[4*width+k]) // row 4 is mixed with nobody
	}
	require.ErrorContains(t, metrix.Operator{{I: 0, J: 6}}.Check(6), "mixed row 0 is made of rows 0 and 6; there are 6")
}

// The hardest negatives of every row against sorting all of them, in blocks and whole, for any
// number of threads; equal rows go by index.
func TestChoosePairsMatchesSorting(t *testing.T) {
	b := large(120, 3, 17)
	copy(b.Embeddings[60*b.Dim:61*b.Dim], b.Embeddings[90*b.Dim:]) // rows 60 and 90 tie for everybody
	inner := func(i, j int) (s float64) {
		for k := range b.Dim {
			s += float64(b.Embeddings[i*b.Dim+k]) * float64(b.Embeddings[j*b.Dim+k])
		}
		return s
	}
	for _, blocks := range []int{0, 1, 4} {
		for _, k := range []int{1, 3, 1000} {
			var wantFirst, wantSecond []int32
			part := 120 / max(blocks, 1)
			for i := range 120 {
				var rest []int32
				for j := i / part * part; j < (i/part+1)*part; j++ {
					if b.Labels[i] != b.Labels[j] {
						rest = append(rest, int32(j))
					}
				}
				for range min(k, len(rest)) {
					best := 0
					for r := range rest {
						if inner(i, int(rest[r])) > inner(i, int(rest[best])) {
							best = r
						}
					}
					wantFirst, wantSecond = append(wantFirst, int32(i)), append(wantSecond, rest[best])
					rest = append(rest[:best:best], rest[best+1:]...)
				}
			}
			for _, threads := range []int{1, 3} {
				first, second, err := metrix.ChoosePairs(b, metrix.PairChoice{Hardest: k, Blocks: blocks, Threads: threads})
				require.NoError(t, err)
				require.Equal(t, wantFirst, first)
				require.Equal(t, wantSecond, second)
			}
		}
	}
}

func TestChoosePairsNamesWhatIsWrong(t *testing.T) {
	b := large(10, 2, 4)
	for words, c := range map[string]metrix.PairChoice{
		"the 0 hardest negatives":               {Threads: 1},
		"threads is 0":                          {Hardest: 1},
		"cannot be divided into 3 equal blocks": {Hardest: 1, Threads: 1, Blocks: 3},
	} {
		_, _, err := metrix.ChoosePairs(b, c)
		require.ErrorContains(t, err, words)
	}
	b.Embeddings = b.Embeddings[1:]
	_, _, err := metrix.ChoosePairs(b, metrix.PairChoice{Hardest: 1, Threads: 1})
	require.ErrorContains(t, err, "do not fit 39 embedding floats")
}
