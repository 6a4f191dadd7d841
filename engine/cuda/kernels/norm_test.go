package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// normCase is a batch norm (groups 0) or a group norm.
type normCase struct {
	n, c, side, groups int
	frozen             bool
}

func (n normCase) String() string {
	return fmt.Sprintf("%d rows, %d channels, side %d, groups %d, frozen %v", n.n, n.c, n.side, n.groups, n.frozen)
}

var normCases = []normCase{
	{n: 3, c: 16, side: 5}, {n: 2, c: 5, side: 4}, {n: 40, c: 8, side: 9}, {n: 3, c: 24, side: 3, frozen: true},
	{n: 2, c: 264, side: 2}, {n: 3, c: 16, side: 5, groups: 4}, {n: 2, c: 10, side: 3, groups: 5}, {n: 2, c: 8, side: 30, groups: 8},
}

// norms runs the kernels of a norm with ReLU, forward and backward, as an engine does.
type norms struct {
	c            *card
	a            activations
	k            normCase
	images, area int
	groups       int
	g            kernels.Geometry
	mean, inv    buffer
	partial      buffer // sums of slices
	sums         buffer
}

func newNorms(c *card, a activations, k normCase) *norms {
	s := &norms{c: c, a: a, k: k, images: 1, area: k.n * k.side * k.side, groups: k.c}
	if k.groups > 0 {
		s.images, s.area, s.groups = k.n, k.side*k.side, k.groups
	}
	s.g = kernels.Columns(s.area, k.c, a.width, s.images)
	sets := s.images * s.groups
	s.mean, s.inv, s.sums = room[float32](c, sets), room[float32](c, sets), room[float32](c, 2*sets)
	s.partial = room[float32](c, s.images*s.g.Slices()*2*k.c)
	return s
}

func (s *norms) statistics(x buffer, sumMean, sumVar, runningMean, runningVar buffer) {
	area, c, slices := int32(s.area), int32(s.k.c), int32(s.g.Slices())
	if s.k.frozen {
		s.c.launch("running_statistics", kernels.Each(int64(c)), s.mean, s.inv, runningMean, runningVar, float32(model.NormEps), c)
		return
	}
	partial := s.partial
	s.c.launch(s.a.name("norm_partial"), s.g, partial, x, area, c)
	if s.k.groups == 0 {
		s.c.launch("batch_statistics", kernels.Channels(s.k.c), s.mean, s.inv, sumMean, sumVar, partial, slices, area, c, float32(model.NormEps))
		return
	}
	s.c.launch("group_statistics", kernels.Warps(s.images*s.groups), s.mean, s.inv, partial, slices, area, c, int32(s.groups), int32(s.images), float32(model.NormEps))
}

func (s *norms) backward(dx, residual, dy, y, x, weight, dWeight, dBias buffer) {
	area, c, groups, slices := int32(s.area), int32(s.k.c), int32(s.groups), int32(s.g.Slices())
	partial, sums := s.partial, s.sums
	s.c.launch(s.a.name("norm_backward_partial"), s.g, partial, dy, y, x, s.mean, s.inv, area, c, groups)
	batch := sums
	if s.k.groups > 0 {
		s.c.launch("group_backward_sums", kernels.Warps(s.images*s.groups), sums, partial, weight, slices, c, groups, int32(s.images))
		batch = buffer{}
	}
	s.c.launch("norm_backward_reduce", kernels.Channels(s.k.c), batch, dWeight, dBias, partial, weight, int32(s.images)*slices, c)
	if s.k.frozen {
		sums = buffer{}
	}
	s.c.launch(s.a.name("norm_backward_apply"), s.g, dx, residual, dy, y, x, s.mean, s.inv, weight, sums, area, c, groups)
}

// layer is the norm as a layer of a model.
func (k normCase) layer() model.Layer {
	if k.groups > 0 {
		return &model.GroupNorm{Name: "norm", Channels: k.c, Groups: k.groups}
	}
	return &model.BatchNorm{Name: "norm", Channels: k.c}
}

func TestNormsEqualTheReference(t *testing.T) {
	for _, a := range types {
		for _, k := range normCases {
			t.Run(a.name(k.String()), func(t *testing.T) { checkNorm(t, open(t), a, k) })
		}
	}
}

func checkNorm(t *testing.T, c *card, a activations, k normCase) {
	shape, mode := model.Shape{C: k.c, H: k.side, W: k.side}, engine.Train
	if k.frozen {
		mode = engine.Frozen
	}
	size := k.n * shape.Size()
	raw := noise(1, size)
	for i := range raw {
		raw[i] = 30 + raw[i] // a mean that is large against the deviation
	}
	x, rounded := a.put(c, toNHWC(raw, k.c, k.n))
	dy, dOut := a.put(c, toNHWC(noise(2, size), k.c, k.n))
	want := reference(t, []model.Layer{k.layer(), &model.ReLU{}}, shape, mode, toCHW(rounded, k.c, k.n), toCHW(dOut, k.c, k.n), k.n)

	weight, bias := upload(c, want.params[:k.c]), upload(c, want.params[k.c:])
	var sums, running [2]buffer
	if k.groups == 0 {
		running = [2]buffer{upload(c, want.buffers[:k.c]), upload(c, want.buffers[k.c:])}
		sums = [2]buffer{upload(c, make([]float32, k.c)), upload(c, make([]float32, k.c))}
	}
	s := newNorms(c, a, k)
	s.statistics(x, sums[0], sums[1], running[0], running[1])
	y, dx, residual := a.room(c, size), a.room(c, size), a.room(c, size)
	dWeight, dBias := upload(c, make([]float32, k.c)), upload(c, make([]float32, k.c))
	c.launch(a.name("norm_apply"), s.g, y, x, buffer{}, s.mean, s.inv, weight, bias, int32(s.area), int32(k.c), int32(s.groups), int32(1))
	s.backward(dx, residual, dy, y, x, weight, dWeight, dBias)

	tolerance := 20 * a.tolerance
	nearly(t, want.out, toCHW(a.get(c, y), k.c, k.n), tolerance, "output")
	nearly(t, want.grads[:k.c], download[float32](c, dWeight), 2*tolerance, "gradient by the scale")
	nearly(t, want.grads[k.c:], download[float32](c, dBias), 2*tolerance, "gradient by the shift")
	nearly(t, want.dIn, toCHW(a.get(c, dx), k.c, k.n), 2*tolerance, "gradient by the input")
	out := a.get(c, y)
	for i, g := range a.get(c, residual) {
		if out[i] > 0 {
			require.Equal(t, dOut[i], g)
		} else {
			require.Zero(t, g)
		}
	}
	if k.groups == 0 && !k.frozen {
		nearly(t, want.bufferSum[:k.c], download[float32](c, sums[0]), 1e-5, "sum of means")
		nearly(t, want.bufferSum[k.c:], download[float32](c, sums[1]), 1e-5, "sum of variances")
	}
}

// A residual is added before the ReLU, and the output may take the place of the input.
func TestNormAddsAResidual(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		k := normCase{n: 2, c: 16, side: 3}
		s, size := newNorms(c, a, k), 2*16*9
		x, xs := a.put(c, noise(1, size))
		r, rs := a.put(c, noise(2, size))
		ones, zeros := make([]float32, 16), make([]float32, 16)
		for i := range ones {
			ones[i] = 1
		}
		mean, inverse := upload(c, zeros), upload(c, ones)
		c.launch(a.name("norm_apply"), s.g, x, x, r, mean, inverse, inverse, mean, int32(s.area), int32(16), int32(16), int32(1))
		want := make([]float32, size)
		for i := range want {
			want[i] = max(xs[i]+rs[i], 0)
		}
		nearly(t, want, a.get(c, x), a.tolerance, "sum")
	})
}

// Group norm is computed row by row: what a row gives has the same bits whatever rows lie beside it.
func TestGroupNormOfARowDoesNotDependOnOthers(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		run := func(n int) []float32 {
			k := normCase{n: n, c: 16, side: 8, groups: 4}
			x, _ := a.put(c, noise(1, 3*16*64)[:n*16*64])
			s := newNorms(c, a, k)
			s.statistics(x, buffer{}, buffer{}, buffer{}, buffer{})
			return download[float32](c, s.mean)
		}
		require.Equal(t, run(1), run(3)[:4])
	})
}

// Blocks and threads in the opposite order give the same bits: nothing depends on who is first.
func TestTheOrderOfBlocksAndThreadsChangesNothing(t *testing.T) {
	emulated(t)
	each(t, func(t *testing.T, c *card, a activations) {
		run := func() (out []float32) {
			k := normCase{n: 4, c: 24, side: 7}
			size := 4 * 24 * 49
			x, _ := a.put(c, noise(1, size))
			dy, _ := a.put(c, noise(2, size))
			s := newNorms(c, a, k)
			weight, dW, dB, dx := upload(c, noise(3, 24)), upload(c, make([]float32, 24)), upload(c, make([]float32, 24)), a.room(c, size)
			s.statistics(x, buffer{}, buffer{}, buffer{}, buffer{})
			s.backward(dx, buffer{}, dy, buffer{}, x, weight, dW, dB)
			return append(append(a.get(c, dx), download[float32](c, dW)...), download[float32](c, s.inv)...)
		}
		want := run()
		t.Setenv("METRIX_EMULATOR_ORDER", "reverse")
		require.Equal(t, want, run())
	})
}

func TestBias(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		for _, k := range []struct{ rows, c int }{{7, 16}, {600, 5}, {2000, 64}} {
			y, ys := a.put(c, noise(1, k.rows*k.c))
			b := noise(2, k.c)
			c.launch(a.name("bias"), kernels.Each(int64(k.rows*k.c)), y, upload(c, b), int64(k.rows), int32(k.c))
			sums := make([]float32, k.c)
			want := make([]float32, len(ys))
			for i := range ys {
				want[i] = ys[i] + b[i%k.c]
			}
			nearly(t, want, a.get(c, y), a.tolerance, "sum")
			for i, v := range a.get(c, y) {
				sums[i%k.c] += v
			}
			g := kernels.Columns(k.rows, k.c, a.width, 1)
			partial, db := room[float32](c, g.Slices()*k.c), upload(c, make([]float32, k.c))
			c.launch(a.name("bias_partial"), g, partial, y, int32(k.rows), int32(k.c))
			c.launch("bias_reduce", kernels.Channels(k.c), db, partial, int32(g.Slices()), int32(k.c))
			nearly(t, sums, download[float32](c, db), 1e-5, "gradient")
		}
	})
}
