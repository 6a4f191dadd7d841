package optim

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// values of very different sizes, some of them zero, negative zero, tiny or huge.
func values(n int, seed uint64) []float32 {
	r := draw.Of(seed, draw.Test)
	x := make([]float32, n)
	special := []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 1e-38, math.MaxFloat32}
	for i := range x {
		if x[i] = float32(r.Norm() * math.Pow(10, r.Range(-12, 3))); i%17 == 0 {
			x[i] = special[r.IntN(len(special))]
		}
	}
	return x
}

func bits(x []float32) []uint32 {
	b := make([]uint32, len(x))
	for i, v := range x {
		b[i] = math.Float32bits(v)
	}
	return b
}

// The update of this processor has the bits of the plain one, at any length and alignment.
func TestUpdateEqualsThePlainOne(t *testing.T) {
	for name, c := range map[string]adamConstants{
		"adamw": {shrink: 0.999, keep1: 0.9, new1: 0.1, keep2: 0.999, new2: 0.001, rate: 1e-3, correction: 0.03, eps: 1e-8},
		"adam":  {shrink: 1, decay: 1e-2, keep1: 0.9, new1: 0.1, keep2: 0.999, new2: 0.001, rate: 3e-2, correction: 0.9, eps: 1e-8},
	} {
		for _, n := range []int{0, 1, 7, 8, 9, 31, 1000, 4099} {
			params, grads, mean, square := values(n+1, 1)[1:], values(n+3, 2)[3:], values(n, 3), values(n, 4)
			for i, v := range square {
				square[i] = float32(math.Abs(float64(v)))
			}
			p, g, m, s := clone(params), clone(grads), clone(mean), clone(square)
			c.update(params, grads, mean, square)
			c.updatePlain(p, g, m, s)
			require.Equal(t, bits(p), bits(params), "%s, %d parameters", name, n)
			require.Equal(t, bits(m), bits(mean), "%s, %d means", name, n)
			require.Equal(t, bits(s), bits(square), "%s, %d squares", name, n)
			require.Equal(t, bits(g), bits(grads), "%s, %d gradients", name, n)
		}
	}
}

func clone(x []float32) []float32 { return append([]float32(nil), x...) }
