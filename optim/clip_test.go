package optim

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClipValue(t *testing.T) {
	x := []float32{-11, -10, 0, 3, 10, 1e30, float32(math.Inf(-1))}
	ClipValue(x, 10)
	require.Equal(t, []float32{-10, -10, 0, 3, 10, 10, -10}, x)
	ClipValue(x, 0)
	require.Equal(t, float32(-10), x[0], "limit 0 is no limit")
	nan := []float32{float32(math.NaN())}
	ClipValue(nan, 1)
	require.True(t, math.IsNaN(float64(nan[0])))
}

func TestClipNorm(t *testing.T) {
	x := []float32{3, 0, 0, 0, 4}
	require.Equal(t, 5.0, ClipNorm(x, 5), "a norm at the limit stays")
	require.Equal(t, []float32{3, 0, 0, 0, 4}, x)
	require.Equal(t, 5.0, ClipNorm(x, 1))
	require.InDeltaSlice(t, []float32{0.6, 0, 0, 0, 0.8}, x, 1e-6)
	require.InDelta(t, 1.0, ClipNorm(x, 0), 1e-6)

	large := []float32{1e30, 1e30} // squares beyond float32
	require.InEpsilon(t, math.Sqrt2*1e30, ClipNorm(large, 1), 1e-6)
	require.InDeltaSlice(t, []float32{math.Sqrt2 / 2, math.Sqrt2 / 2}, large, 1e-6)

	broken := []float32{1, float32(math.NaN()), 2}
	require.True(t, math.IsNaN(ClipNorm(broken, 0.1)))
	require.Equal(t, float32(2), broken[2], "left for the caller to refuse")
	broken[1] = float32(math.Inf(1))
	require.True(t, math.IsInf(ClipNorm(broken, 0.1), 1))
	require.Equal(t, float32(2), broken[2])
}

func TestClipNormOfManyIsExact(t *testing.T) {
	x := make([]float32, 1_000_003)
	for i := range x {
		x[i] = 0.1
	}
	want := float64(float32(0.1)) * math.Sqrt(float64(len(x)))
	require.InEpsilon(t, want, ClipNorm(x, 0), 1e-11)
}
