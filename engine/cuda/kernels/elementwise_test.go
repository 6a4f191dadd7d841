package kernels_test

import (
	"math"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
)

// noise is n values of a normal distribution.
func noise(seed uint64, n int) []float32 {
	r := draw.Of(seed, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// bf16 is a bfloat16.
type bf16 uint16

func (b bf16) float() float32 { return math.Float32frombits(uint32(b) << 16) }

// round is to nearest, ties to even.
func round(x float32) bf16 {
	bits := math.Float32bits(x)
	return bf16((bits + 0x7fff + bits>>16&1) >> 16)
}

// activations are values in one of the two types of activations, rounded to it.
type activations struct {
	suffix string
	width  int
	// tolerance is the relative rounding of a value.
	tolerance float64
}

var types = []activations{{"_f32", 4, 1e-6}, {"_bf16", 8, 1.0 / 256}}

func (a activations) name(kernel string) string { return kernel + a.suffix }

// put uploads x, and returns it as it was rounded.
func (a activations) put(c *card, x []float32) (buffer, []float32) {
	if a.suffix == "_f32" {
		return upload(c, x), x
	}
	short, rounded := make([]bf16, len(x)), make([]float32, len(x))
	for i, v := range x {
		short[i] = round(v)
		rounded[i] = short[i].float()
	}
	return upload(c, short), rounded
}

func (a activations) room(c *card, n int) buffer {
	if a.suffix == "_f32" {
		return room[float32](c, n)
	}
	return room[bf16](c, n)
}

func (a activations) get(c *card, b buffer) []float32 {
	if a.suffix == "_f32" {
		return download[float32](c, b)
	}
	x := make([]float32, b.n)
	for i, v := range download[bf16](c, b) {
		x[i] = v.float()
	}
	return x
}

// nearly compares element by element, relative to the greatest element of want.
func nearly(t *testing.T, want, got []float32, tolerance float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	scale, worst, at := 0.0, 0.0, 0
	for i, w := range want {
		scale = max(scale, math.Abs(float64(w)))
		if d := math.Abs(float64(w) - float64(got[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	require.False(t, math.IsNaN(worst), "%s: element %d is %v", what, at, got[at])
	require.LessOrEqual(t, worst, tolerance*max(scale, 1e-30), "%s: element %d is %v, not %v", what, at, got[at], want[at])
}

// each runs a test with both types.
func each(t *testing.T, test func(t *testing.T, c *card, a activations)) {
	for _, a := range types {
		t.Run(a.suffix[1:], func(t *testing.T) { test(t, open(t), a) })
	}
}

func TestEntriesOfThePTXAreThoseOfTheHeader(t *testing.T) {
	ptx, err := os.ReadFile("kernels.ptx")
	require.NoError(t, err)
	var entries, declared []string
	for _, m := range regexp.MustCompile(`\.entry (\w+)`).FindAllStringSubmatch(string(ptx), -1) {
		entries = append(entries, m[1])
	}
	for name := range kernels.Signatures() {
		declared = append(declared, name)
	}
	require.ElementsMatch(t, declared, entries, "run make ptx")
}

func TestElementwise(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		for _, n := range []int{1, 7, 64, 4099} {
			x, xs := a.put(c, noise(1, n))
			y, ys := a.put(c, noise(2, n))
			out, g := a.room(c, n), kernels.Each(int64(n))
			sum, rectified, masked := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range sum {
				sum[i] = xs[i] + ys[i]
				rectified[i] = max(sum[i], 0)
				if ys[i] > 0 {
					masked[i] = xs[i]
				}
			}
			c.launch(a.name("add"), g, out, x, y, int32(0), int64(n))
			nearly(t, sum, a.get(c, out), a.tolerance, "add")
			c.launch(a.name("add"), g, out, x, y, int32(1), int64(n))
			nearly(t, rectified, a.get(c, out), a.tolerance, "add and ReLU")
			c.launch(a.name("relu_backward"), g, out, x, y, int64(n))
			require.Equal(t, masked, a.get(c, out))
			c.launch(a.name("relu"), g, x, x, int64(n))
			for i := range xs {
				xs[i] = max(xs[i], 0)
			}
			require.Equal(t, xs, a.get(c, x))
			c.launch(a.name("fill"), g, out, float32(-1.5), int64(n))
			for _, v := range a.get(c, out) {
				require.Equal(t, float32(-1.5), v)
			}
		}
	})
}

func TestReLUPassesNaNOn(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		nan := float32(math.NaN())
		x, _ := a.put(c, []float32{nan, -1, 2, nan})
		c.launch(a.name("relu"), kernels.Each(4), x, x, int64(4))
		got := a.get(c, x)
		require.True(t, got[0] != got[0] && got[3] != got[3])
		require.Equal(t, []float32{0, 2}, got[1:3])
	})
}

func TestCastsRoundToEvenAndBack(t *testing.T) {
	c := open(t)
	x := append(noise(3, 4090), 1, 1+1.0/256, 1+3.0/256, float32(math.Inf(1)), 3e38, float32(math.Copysign(0, -1)), 1e-40)
	short, back := room[bf16](c, len(x)), room[float32](c, len(x))
	c.launch("cast_f32_bf16", kernels.Each(int64(len(x))), short, upload(c, x), int64(len(x)))
	c.launch("cast_bf16_f32", kernels.Each(int64(len(x))), back, short, int64(len(x)))
	wide := download[float32](c, back)
	for i, b := range download[bf16](c, short) {
		require.Equal(t, round(x[i]), b, "%v", x[i])
		require.Equal(t, b.float(), wide[i])
	}
}

func TestAxpyAndScale(t *testing.T) {
	c := open(t)
	const n = 1003
	x, y := noise(4, n), noise(5, n)
	dst := upload(c, y)
	c.launch("axpy", kernels.Each(n), dst, upload(c, x), float32(0.3), int64(n))
	c.launch("scale", kernels.Each(n), dst, float32(-2), int64(n))
	for i := range y {
		y[i] = -2 * (float32(float32(0.3)*x[i]) + y[i])
	}
	require.Equal(t, y, download[float32](c, dst))
}

// The emulator reports what a kernel must not do, as a card would.
func TestAccessesOutsideMemoryAreErrors(t *testing.T) {
	emulated(t)
	t.Run("write behind", func(t *testing.T) {
		c := open(t)
		dst := room[float32](c, 1024)
		require.Equal(t, int32(700), c.tryLaunch("fill_f32", kernels.Each(4096), dst, float32(1), int64(4096)))
		require.Equal(t, int32(700), c.f.synchronize(), "the context is lost")
	})
	t.Run("misaligned", func(t *testing.T) {
		c := open(t)
		dst := room[float32](c, 1024)
		dst.address += 4
		require.Equal(t, int32(716), c.tryLaunch("fill_f32", kernels.Each(512), dst, float32(1), int64(512)))
	})
	t.Run("too many threads", func(t *testing.T) {
		c := open(t)
		g := kernels.Geometry{Grid: [3]int{1, 1, 1}, Block: [3]int{512, 1, 1}}
		require.Equal(t, int32(701), c.tryLaunch("fill_f32", g, room[float32](c, 4), float32(1), int64(4)))
	})
}
