package kernels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// coarse has many equal values, so that the first of the largest matters.
func coarse(seed uint64, n int) []float32 {
	x := noise(seed, n)
	for i, v := range x {
		x[i] = float32(math.Round(float64(2 * v)))
	}
	return x
}

func TestMaxPoolEqualsTheReference(t *testing.T) {
	for _, a := range types {
		for _, k := range []struct{ n, c, h, w, kernel, stride, pad int }{
			{2, 16, 8, 8, 3, 2, 1}, {3, 5, 7, 9, 3, 2, 1}, {1, 8, 6, 6, 2, 2, 0}, {2, 8, 5, 5, 3, 1, 1}, {1, 8, 9, 9, 2, 3, 0},
		} {
			t.Run(fmt.Sprintf("%v%s", k, a.suffix), func(t *testing.T) {
				c := open(t)
				layer := &model.MaxPool{Name: "pool", Kernel: k.kernel, Stride: k.stride, Pad: k.pad}
				in := model.Shape{C: k.c, H: k.h, W: k.w}
				out := layer.Output(in)
				x, xs := a.put(c, coarse(1, k.n*in.Size()))
				dy, dys := a.put(c, noise(2, k.n*out.Size()))
				want := reference(t, []model.Layer{layer}, in, engine.Train, toCHW(xs, k.c, k.n), toCHW(dys, k.c, k.n), k.n)
				y, from, dx := a.room(c, k.n*out.Size()), room[byte](c, k.n*out.Size()), a.room(c, k.n*in.Size())
				window := kernels.Window{N: int32(k.n), H: int32(k.h), W: int32(k.w), C: int32(k.c), OH: int32(out.H), OW: int32(out.W),
					Kernel: int32(k.kernel), Stride: int32(k.stride), Pad: int32(k.pad)}
				c.launch(a.name("maxpool"), kernels.Each(int64(y.n)), y, from, x, window)
				require.Equal(t, want.out, toCHW(a.get(c, y), k.c, k.n))
				c.launch(a.name("maxpool_backward"), kernels.Each(int64(dx.n)), dx, dy, from, window)
				nearly(t, want.dIn, toCHW(a.get(c, dx), k.c, k.n), a.tolerance, "gradient")
			})
		}
	}
}

func TestAvgMaxPoolEqualsTheReference(t *testing.T) {
	for _, a := range types {
		for _, k := range []struct{ n, c, side int }{{3, 16, 7}, {2, 5, 4}, {4, 64, 1}} {
			t.Run(fmt.Sprintf("%v%s", k, a.suffix), func(t *testing.T) {
				c := open(t)
				area := k.side * k.side
				x, xs := a.put(c, coarse(1, k.n*k.c*area))
				dOut := noise(2, k.n*k.c)
				in := model.Shape{C: k.c, H: k.side, W: k.side}
				want := reference(t, []model.Layer{&model.AvgMaxPool{}}, in, engine.Train, toCHW(xs, k.c, k.n), dOut, k.n)
				y, from, dx := room[float32](c, k.n*k.c), room[int32](c, k.n*k.c), a.room(c, k.n*k.c*area)
				c.launch(a.name("avgmax"), kernels.Each(int64(y.n)), y, from, x, int32(k.n), int32(area), int32(k.c))
				nearly(t, want.out, download[float32](c, y), 1e-6, "output")
				c.launch(a.name("avgmax_backward"), kernels.Each(int64(dx.n)), dx, upload(c, dOut), from, int32(k.n), int32(area), int32(k.c))
				nearly(t, want.dIn, toCHW(a.get(c, dx), k.c, k.n), a.tolerance, "gradient")
			})
		}
	}
}

func TestL2NormEqualsTheReference(t *testing.T) {
	c := open(t)
	const n, d = 11, 70
	x, dy := noise(1, n*d), noise(2, n*d)
	clear(x[3*d : 4*d]) // a row of zeros
	for i := range d {  // a row shorter than eps
		x[4*d+i] = 1e-14
	}
	want := reference(t, []model.Layer{&model.L2Norm{}}, model.Shape{C: d, H: 1, W: 1}, engine.Train, x, dy, n)
	y, length, dx := room[float32](c, n*d), room[float32](c, n), room[float32](c, n*d)
	c.launch("l2norm", kernels.Warps(n), y, length, upload(c, x), int32(n), int32(d), float32(model.L2Eps))
	nearly(t, want.out, download[float32](c, y), 1e-6, "output")
	c.launch("l2norm_backward", kernels.Warps(n), dx, upload(c, dy), y, length, int32(n), int32(d), float32(model.L2Eps))
	nearly(t, want.dIn, download[float32](c, dx), 1e-6, "gradient")
}
