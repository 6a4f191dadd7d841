package retrieval

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// uniform returns n values in [-1, 1).
func uniform(r *draw.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Range(-1, 1))
	}
	return x
}

// reference sums in the order that every kernel promises.
func reference(row, panel []float32, lane int, term func(a, b float32) float32) float32 {
	var sum float32
	for k, a := range row {
		sum += term(a, panel[k*lanes+lane])
	}
	return sum
}

func TestKernelsAgreeBitForBit(t *testing.T) {
	dot := func(a, b float32) float32 { return float32(a * b) }
	minusSquare := func(a, b float32) float32 { return -float32((a - b) * (a - b)) }
	for name, c := range map[string]struct {
		f    kernel
		term func(a, b float32) float32
	}{
		"plain":    {dotPlain, dot},
		"fastest":  {dotKernel(), dot},
		"distance": {negativeDistance, minusSquare},
	} {
		r := draw.Of(1, draw.Test)
		for _, m := range []int{0, 1, 3, 4, 5, 6, 7, 12, 23} {
			for _, dim := range []int{1, 2, 7, 64, 129} {
				rows, panel := uniform(r, m*dim), uniform(r, lanes*dim)
				stride := lanes + 16*(m%3)
				dst := make([]float32, m*stride)
				c.f(dst, stride, rows, panel, dim)
				for i := range m {
					for l := range lanes {
						want := reference(rows[i*dim:(i+1)*dim], panel, l, c.term)
						require.Equal(t, want, dst[i*stride+l], "%s: row %d of %d, lane %d, dim %d", name, i, m, l, dim)
					}
					for _, untouched := range dst[i*stride+lanes : (i+1)*stride] {
						require.Zero(t, untouched)
					}
				}
			}
		}
	}
}

func TestPackPutsRowsSideBySide(t *testing.T) {
	panels := make([]float32, 2*lanes*3)
	pack(panels, []float32{1, 2, 3}, 0)
	pack(panels, []float32{4, 5, 6}, 15)
	pack(panels, []float32{7, 8, 9}, 18)
	at := func(panel, k, lane int) float32 { return panels[panel*lanes*3+k*lanes+lane] }
	require.Equal(t, []float32{1, 2, 3}, []float32{at(0, 0, 0), at(0, 1, 0), at(0, 2, 0)})
	require.Equal(t, []float32{4, 5, 6}, []float32{at(0, 0, 15), at(0, 1, 15), at(0, 2, 15)})
	require.Equal(t, []float32{7, 8, 9}, []float32{at(1, 0, 2), at(1, 1, 2), at(1, 2, 2)})
}

func BenchmarkKernel(b *testing.B) {
	for name, f := range map[string]kernel{"plain": dotPlain, "fastest": dotKernel(), "distance": negativeDistance} {
		b.Run(name, func(b *testing.B) {
			const dim, m = 128, 192
			r := draw.Of(1, draw.Test)
			rows, panel, dst := uniform(r, m*dim), uniform(r, lanes*dim), make([]float32, m*lanes)
			for b.Loop() {
				f(dst, lanes, rows, panel, dim)
			}
			b.ReportMetric(2*dim*m*lanes*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
