package kernels_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/optim"
)

// Sums on the card have the bits of internal/exact, and refuse what it refuses.
func TestExactSumsHaveTheBitsOfPackageExact(t *testing.T) {
	c := open(t)
	const n, count = 5000, 7
	acc, want := upload(c, make([]int64, n)), make([]int64, n)
	flag := upload(c, []int32{0})
	limit := int32(math.Float32bits(float32(exact.Max(count))))
	for k := range uint64(count) {
		x := noise(k, n)
		for i := range x {
			x[i] *= float32(math.Pow(10, float64(i%11)-8))
		}
		x[0], x[1], x[2] = float32(exact.Max(count)), 1e-40, -1e-14
		require.NoError(t, exact.Add(want, x, count))
		c.launch("exact_add", kernels.Each(n), acc, upload(c, x), limit, flag, int64(n))
	}
	require.Equal(t, want, download[int64](c, acc))
	require.Equal(t, []int32{0}, download[int32](c, flag))
	dst, plain := room[float32](c, n), make([]float32, n)
	c.launch("exact_float32", kernels.Each(n), dst, acc, int64(n))
	exact.Float32(plain, want)
	require.Equal(t, plain, download[float32](c, dst))

	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e30, math.Nextafter32(float32(exact.Max(count)), 1e30)} {
		require.Error(t, exact.Add(make([]int64, 1), []float32{bad}, count))
		flag := upload(c, []int32{0})
		c.launch("exact_add", kernels.Each(n), acc, upload(c, append(make([]float32, n-1), bad)), limit, flag, int64(n))
		require.Equal(t, []int32{1}, download[int32](c, flag), "%v", bad)
	}
}

// groups of the optimizers' tests, with different learning rates and decays.
func groups(n int) []optim.Group {
	return []optim.Group{{Lo: 0, Hi: 5, LRScale: 1, WeightDecay: 0}, {Lo: 5, Hi: n / 2, LRScale: 1, WeightDecay: 0.1}, {Lo: n / 2, Hi: n, LRScale: 100, WeightDecay: 0.01}}
}

func starts(gs []optim.Group) []int64 {
	s := []int64{int64(gs[0].Lo)}
	for _, g := range gs {
		s = append(s, int64(g.Hi))
	}
	return s
}

// sameUpdates compares bits, or nearly where the Go compiler fuses products and sums.
func sameUpdates(t *testing.T, want, got []float32) {
	t.Helper()
	if runtime.GOARCH == "amd64" {
		require.Equal(t, want, got)
		return
	}
	nearly(t, want, got, 1e-6, "parameters")
}

func TestAdamHasTheBitsOfPackageOptim(t *testing.T) {
	for _, name := range []string{"adam", "adamw"} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			const n, lr = 3000, 1e-2
			cfg := optim.DefaultConfig()
			cfg.Name = name
			o, err := optim.New(cfg, n, groups(n))
			require.NoError(t, err)
			params := noise(1, n)
			p, mean, square := upload(c, params), upload(c, make([]float32, n)), upload(c, make([]float32, n))
			for step := 1; step <= 4; step++ {
				grads := noise(uint64(step+1), n)
				active := groups(n)
				if step == 1 {
					active = active[1:] // a group that joins late has its own count
				}
				require.NoError(t, o.Step(params, grads, lr, optim.Range{Lo: active[0].Lo, Hi: n}))
				var constants []kernels.AdamGroup
				for _, g := range active {
					steps := step
					if g.Lo == 0 {
						steps--
					}
					constants = append(constants, kernels.AdamOf(cfg.Betas, cfg.Eps, lr*g.LRScale, g.WeightDecay, float64(steps), name == "adamw"))
				}
				c.launch("adam", kernels.Each(n), p, mean, square, upload(c, grads), upload(c, starts(active)), upload(c, constants), int32(len(active)))
			}
			sameUpdates(t, params, download[float32](c, p))
			sameUpdates(t, o.Block()[:n], download[float32](c, mean))
			sameUpdates(t, o.Block()[n:2*n], download[float32](c, square))
		})
	}
}

func TestSGDHasTheBitsOfPackageOptim(t *testing.T) {
	c := open(t)
	const n, lr = 3000, 1e-2
	cfg := optim.DefaultConfig()
	cfg.Name = "sgd"
	o, err := optim.New(cfg, n, groups(n))
	require.NoError(t, err)
	params := noise(1, n)
	p, momentum := upload(c, params), upload(c, make([]float32, n))
	var constants []kernels.SGDGroup
	for _, g := range groups(n) {
		constants = append(constants, kernels.SGDGroup{Rate: float32(lr * g.LRScale), Decay: float32(g.WeightDecay)})
	}
	for step := range uint64(3) {
		grads := noise(step+2, n)
		require.NoError(t, o.Step(params, grads, lr, optim.Range{Lo: 0, Hi: n}))
		c.launch("sgd", kernels.Each(n), p, momentum, upload(c, grads), upload(c, starts(groups(n))), upload(c, constants), float32(cfg.Momentum), int32(len(constants)))
	}
	sameUpdates(t, params, download[float32](c, p))
	sameUpdates(t, o.Block()[:n], download[float32](c, momentum))
}

func TestClipping(t *testing.T) {
	c := open(t)
	x := append(noise(1, 200_001), float32(math.NaN()), 1e30)
	want := append([]float32(nil), x...)
	optim.ClipValue(want, 0.7)
	b := upload(c, x)
	c.launch("clip_value", kernels.Each(int64(len(x))), b, float32(0.7), int64(len(x)))
	got := download[float32](c, b)
	require.True(t, got[200_001] != got[200_001], "NaN stays")
	got[200_001], want[200_001] = 0, 0
	require.Equal(t, want, got)

	partial, sum := room[float64](c, kernels.SquareBlocks), room[float64](c, 1)
	c.launch("sum_squares", kernels.Blocks(kernels.SquareBlocks), partial, upload(c, want), int64(len(want)))
	c.launch("sum_partial", kernels.Blocks(1), sum, partial)
	require.InEpsilon(t, optim.ClipNorm(want, 0), math.Sqrt(download[float64](c, sum)[0]), 1e-12)
}
