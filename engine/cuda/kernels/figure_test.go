package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
)

// bandwidth is what a card's memory moves at best, in bytes per millisecond.
func bandwidth(c *card) float64 {
	const clockRate, busWidth = 36, 37 // kHz, bits
	var kilohertz, bits int32
	c.check(c.f.attribute(&kilohertz, clockRate, 0), "cuDeviceGetAttribute")
	c.check(c.f.attribute(&bits, busWidth, 0), "cuDeviceGetAttribute")
	return 2 * float64(kilohertz) * float64(bits) / 8 // two transfers a clock
}

// The loss and its gradient by similarities, multi-similarity with all positive-negative mixes of a batch
// of 4096 with four of a class: 50 million mixes. The products with cuBLAS before and after are not part.
// The floor is reading the Gram matrix and writing its gradient once.
func TestFigureOfTheLoss(t *testing.T) {
	if !real() {
		t.Skip("a time has meaning on a card only: set METRIX_CUDA_CARD=1")
	}
	const size, per = 4096, 4
	c := open(t)
	labels, g := make([]int32, size), make([]float32, size*size)
	for i := range labels {
		labels[i] = int32(i / per)
	}
	r := draw.Of(1, draw.Test)
	for i := range g {
		g[i] = float32(r.Range(-0.3, 0.9))
	}
	plan, err := kernels.PlanLoss(labels, labels, true, 0, size, false)
	require.NoError(t, err)
	form, _ := kernels.LossFormOf("multi_similarity", map[string]float64{"beta": 18, "gamma": 75, "margin": 0.77})
	mix := kernels.LossMix{Kind: kernels.MixPositiveNegative, Weight: 0.4, Lambda: 0.37}
	h, dg, anchors, ranges := upload(c, g), room[float32](c, len(g)), upload(c, plan.Anchors), upload(c, plan.Ranges)
	terms, slopes, value := room[kernels.LossTerm](c, size), room[kernels.LossSlope](c, size), room[float64](c, 3)
	blocks, columns := kernels.Blocks(size), int32(size)
	ms := c.milliseconds(func() {
		c.launch("loss_terms", blocks, terms, h, h, anchors, buffer{}, buffer{}, columns, form, mix)
		c.launch("loss_finish", kernels.Blocks(1), slopes, value, terms, anchors, columns, form, mix, plan.Reduction(false))
		c.launch("loss_anchor_gradient", blocks, dg, h, h, anchors, terms, slopes, buffer{}, buffer{}, columns, form, mix)
		c.launch("loss_pair_gradient", blocks, dg, h, h, anchors, ranges, terms, slopes, buffer{}, buffer{}, columns, int32(1), form, mix)
	})
	floor := 8 * float64(len(g)) / bandwidth(c)
	t.Logf("figure: loss kernels, batch %d, classes of %d, all mixes: %.3f ms; reading and writing the Gram matrix once: %.3f ms", size, per, ms, floor)
	require.NotZero(t, download[float64](c, value)[2])
}

// A batch norm with ReLU, forward and backward, of the first stage of a ResNet-50 at 224 pixels.
func TestFigureOfBatchNorm(t *testing.T) {
	if !real() {
		t.Skip("a time has meaning on a card only: set METRIX_CUDA_CARD=1")
	}
	c, a := open(t), types[1]
	k := normCase{n: 128, c: 256, side: 56}
	size := k.n * k.c * k.side * k.side
	x := a.room(c, size)
	c.launch(a.name("fill"), kernels.Each(int64(size)), x, float32(0.5), int64(size))
	y, dx, s := a.room(c, size), a.room(c, size), newNorms(c, a, k)
	weight, dW, dB := upload(c, noise(2, k.c)), upload(c, make([]float32, k.c)), upload(c, make([]float32, k.c))
	var none buffer
	forward := c.milliseconds(func() {
		s.statistics(x, none, none, none, none)
		c.launch(a.name("norm_apply"), s.g, y, x, none, s.mean, s.inv, weight, weight, int32(s.area), int32(k.c), int32(s.groups), int32(1))
	})
	backward := c.milliseconds(func() { s.backward(dx, none, y, y, x, weight, dW, dB) })
	pass := 2 * float64(size) / bandwidth(c)
	t.Logf("figure: batch norm and ReLU, bf16, %d x %d x %d x %d: forward %.3f ms (3 passes over memory: %.3f), backward %.3f ms (7 passes: %.3f)",
		k.n, k.side, k.side, k.c, forward, 3*pass, backward, 7*pass)
}
