package exact

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// gradients are vectors of very different sizes that nearly cancel.
func gradients(count, length int) [][]float32 {
	out := make([][]float32, count)
	for i := range out {
		r := draw.Of(1, draw.Test, uint64(i))
		out[i] = make([]float32, length)
		for j := range out[i] {
			out[i][j] = float32(r.Norm() * math.Pow(10, r.Range(-9, 2)))
		}
	}
	return out
}

func TestOrderAndGroupingChangeNothing(t *testing.T) {
	const count, length = 16, 500
	xs := gradients(count, length)
	sum := func(order []int) []float32 {
		acc := make([]int64, length)
		for _, i := range order {
			require.NoError(t, Add(acc, xs[i], count))
		}
		out := make([]float32, length)
		Float32(out, acc)
		return out
	}
	want := sum(draw.Of(2, draw.Test).Perm(count))
	differs := false
	for trial := range uint64(20) {
		order := draw.Of(3, draw.Test, trial).Perm(count)
		require.Equal(t, want, sum(order))
		plain := make([]float32, length)
		for _, i := range order {
			for j, v := range xs[i] {
				plain[j] += v
			}
		}
		for j := range plain {
			differs = differs || plain[j] != want[j]
		}
	}
	require.True(t, differs, "plain float32 sums agree too: these vectors test nothing")
}

func TestSumIsRightToFloat32(t *testing.T) {
	const count, length = 7, 300
	xs := gradients(count, length)
	acc, truth, out := make([]int64, length), make([]float64, length), make([]float32, length)
	for _, x := range xs {
		require.NoError(t, Add(acc, x, count))
		for j, v := range x {
			truth[j] += float64(v)
		}
	}
	Float32(out, acc)
	for j := range out {
		require.InDelta(t, truth[j], float64(out[j]), count*Unit+math.Abs(truth[j])*6e-8)
	}
}

func TestWhatCannotBeSummedIsRefused(t *testing.T) {
	limit := float32(Max(8))
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Nextafter32(limit, limit*2)} {
		for _, place := range []int{0, 20, 39} { // in a vector and behind the last
			x := make([]float32, 40)
			x[place] = v
			require.ErrorIs(t, Add(make([]int64, 40), x, 8), ErrRange)
			require.ErrorIs(t, Set(make([]int64, 40), x, 8), ErrRange)
		}
		_, err := Of(float64(v), 8)
		require.ErrorIs(t, err, ErrRange)
	}
	acc := make([]int64, 1)
	for range 8 {
		require.NoError(t, Add(acc, []float32{limit}, 8))
	}
	require.Equal(t, 8*float64(limit), Value(acc[0]))
}

// The loops of this processor have the bits of the plain ones, at any length and alignment.
func TestVectorsEqualThePlainLoops(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 33, 1000, 4111} {
		x := append([]float32{1}, summands(n)...)[1:]
		got, want := make([]int64, n), make([]int64, n)
		require.Equal(t, setPlain(want, x), set(got, x), "largest of %d", n)
		require.Equal(t, want, got, "%d set", n)
		require.Equal(t, addPlain(want, x), add(got, x), "largest of %d", n)
		require.Equal(t, want, got, "%d added", n)
		for i := range got { // sums that float32 and float64 have to round
			got[i] = got[i]<<(i%17) + int64(i)
		}
		a, b := make([]float32, n), make([]float32, n)
		require.Equal(t, toFloat32Plain(b, got), toFloat32(a, got), "largest of %d", n)
		require.Equal(t, b, a, "%d to float32", n)
	}
}

// summands are gradients within range, with the largest, the smallest and zeros of both signs.
func summands(n int) []float32 {
	x := gradients(1, n)[0]
	special := []float32{float32(Max(8)), float32(-Max(8)), 0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, Unit, -Unit * 1.5}
	for i := range x {
		if i%7 == 3 {
			x[i] = special[i%len(special)]
		}
	}
	return x
}

func BenchmarkAdd(b *testing.B) {
	x := gradients(1, 1<<20)[0]
	acc := make([]int64, len(x))
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		if err := Add(acc, x, 4); err != nil {
			b.Fatal(err)
		}
	}
}
