package semi

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
)

// world is a data set of features for a linear head: what tells classes apart lies in few of the
// dimensions, the others are louder.
type world struct {
	features []float32 // images x width
	truth    []int32
	width    int
	classes  [][]int
}

func newWorld(seed uint64, classes, images, signal, width int) world {
	w := world{width: width, classes: make([][]int, classes)}
	for c := range classes {
		center := make([]float64, signal)
		r := draw.Of(seed, draw.Test, 3, uint64(c))
		for j := range center {
			center[j] = r.Norm()
		}
		for range images {
			w.classes[c] = append(w.classes[c], len(w.truth))
			w.truth = append(w.truth, int32(c))
			for j := range width {
				x := 1.5 * r.Norm()
				if j < signal {
					x = center[j] + 0.5*r.Norm()
				}
				w.features = append(w.features, float32(x))
			}
		}
	}
	return w
}

// head is a linear head without bias, dim x width, and the L2 norm.
type head struct {
	w          []float32
	dim, width int
}

func newHead(seed uint64, dim, width int) head {
	h := head{make([]float32, dim*width), dim, width}
	r := draw.Of(seed, draw.Test, 4)
	for i := range h.w {
		h.w[i] = float32(r.Norm() / math.Sqrt(float64(width)))
	}
	return h
}

func (h head) project(dst, x []float32) {
	for i := range h.dim {
		var sum float64
		for j, v := range x {
			sum += float64(v) * float64(h.w[i*h.width+j])
		}
		dst[i] = float32(sum)
	}
}

// recall is Recall@1 over a world.
func (h head) recall(t testing.TB, w world) float64 {
	n := len(w.truth)
	s := scene{rows: make([]float32, n*h.dim), dim: h.dim, truth: w.truth, labels: make([]int32, n)}
	for i := range n {
		s.labels[i] = -1
		h.project(s.rows[i*h.dim:][:h.dim], w.features[i*w.width:][:w.width])
	}
	normalize(s.rows, s.dim)
	return s.recall(t)
}

// train is the loop of a worker in small: the head learns from multi-similarity on the labelled rows
// and, with weight, from mined triplets on all.
func (h head) train(t testing.TB, w world, batch *sampler.Semi, cfg Config, steps int, weight float64, orthogonal bool) {
	form, err := metrix.NewForm("multi_similarity", map[string]float64{"beta": 2, "gamma": 20, "margin": 0.5})
	require.NoError(t, err)
	supervised, err := metrix.New(form, 1)
	require.NoError(t, err)
	mined, err := New(cfg, 1)
	require.NoError(t, err)
	n := batch.Rows()
	raw, rows, labels := make([]float32, n*h.dim), make([]float32, n*h.dim), make([]int32, n)
	for step := range run.Step(steps) {
		items := batch.Batch(step)
		for i, it := range items {
			labels[i] = int32(it.Class)
			h.project(raw[i*h.dim:][:h.dim], w.features[it.Image*w.width:][:w.width])
		}
		metrix.Normalize(rows, raw, h.dim)
		grad := make([]float32, len(rows))

		at := Labelled(labels)
		own := metrix.Batch{Embeddings: make([]float32, len(at)*h.dim), Labels: make([]int32, len(at)), Dim: h.dim}
		Gather(own.Embeddings, rows, at, h.dim)
		Gather(own.Labels, labels, at, 1)
		byOwn := make([]float32, len(own.Embeddings))
		_, err := supervised.Evaluate(metrix.Gradient{Embeddings: byOwn}, own, metrix.Mix{}, 0, len(at))
		require.NoError(t, err)
		Scatter(grad, byOwn, at, h.dim)

		require.NoError(t, mined.Prepare(rows, labels, h.dim))
		_, err = mined.Evaluate(grad, 0, n, weight)
		require.NoError(t, err)

		byRaw := make([]float32, len(raw))
		metrix.NormalizeBackward(byRaw, grad, raw, h.dim)
		h.step(t, w, items, byRaw, orthogonal)
	}
}

// step follows the gradient by the head's outputs.
func (h head) step(t testing.TB, w world, items []sampler.Item, byRaw []float32, orthogonal bool) {
	grad := make([]float32, len(h.w))
	for i, it := range items {
		for k := range h.dim {
			for j, x := range w.features[it.Image*w.width:][:w.width] {
				grad[k*h.width+j] += byRaw[i*h.dim+k] * x
			}
		}
	}
	if orthogonal {
		require.NoError(t, Tangent(grad, h.w, h.dim, h.width, 1))
	}
	const rate = 0.1
	for i, g := range grad {
		h.w[i] -= rate * g
	}
	if orthogonal {
		require.NoError(t, Retract(h.w, h.dim, h.width, 1))
	}
}

// average trains heads on worlds of several seeds and returns Recall@1 on the classes they were trained
// on and on unseen ones, before training too.
func average(t testing.TB, seeds, steps int, fraction float64, cfg Config, weight float64, orthogonal bool) (start, trained, unseen float64) {
	for seed := range uint64(seeds) {
		share := 1 / float64(seeds)
		w, test := newWorld(seed, 24, 20, 12, 48), newWorld(seed+50, 24, 20, 12, 48)
		split, err := SplitLabels(seed, fraction, 2, w.classes)
		require.NoError(t, err)
		batch, err := sampler.NewSemi(sampler.Config{Seed: seed, Shards: 4, Classes: 12, Images: 2}, split.Classes, split.Unlabelled, 48)
		require.NoError(t, err)
		h := newHead(seed, 12, 48)
		if orthogonal {
			require.NoError(t, Retract(h.w, h.dim, h.width, 1))
		}
		start += h.recall(t, test) * share
		h.train(t, w, batch, cfg, steps, weight, orthogonal)
		trained += h.recall(t, w) * share
		unseen += h.recall(t, test) * share
	}
	return start, trained, unseen
}

// With 30 % of the labels, mined triplets on top of the supervised loss help the classes trained on
// and unseen ones. The table for more settings is BenchmarkSettings, its result in docs/semi.md.
func TestMinedTripletsHelpAHead(t *testing.T) {
	_, trained, unseen := average(t, 2, 50, 0.3, DefaultConfig(), 0, true)
	start, semiTrained, semiUnseen := average(t, 2, 50, 0.3, DefaultConfig(), 3, true)
	t.Logf("Recall@1 on classes trained on: labels only %.3f, with mined triplets %.3f", trained, semiTrained)
	t.Logf("Recall@1 on unseen classes: untrained %.3f, labels only %.3f, with mined triplets %.3f", start, unseen, semiUnseen)
	require.Greater(t, semiTrained, trained+0.05)
	require.Greater(t, semiUnseen, unseen+0.01)
}

// BenchmarkSettings reports Recall@1 for settings of the mining; run it with -benchtime 1x.
func BenchmarkSettings(b *testing.B) {
	try := func(name string, fraction float64, cfg Config, weight float64, orthogonal bool) {
		b.Run(fmt.Sprintf("labels=%.1f/%s", fraction, name), func(b *testing.B) {
			var trained, unseen float64
			for b.Loop() {
				_, trained, unseen = average(b, 3, 100, fraction, cfg, weight, orthogonal)
			}
			b.ReportMetric(trained, "trained-R@1")
			b.ReportMetric(unseen, "unseen-R@1")
		})
	}
	for _, fraction := range []float64{0.1, 0.3} {
		try("only/free", fraction, DefaultConfig(), 0, false)
		try("only/orthogonal", fraction, DefaultConfig(), 0, true)
		for _, weight := range []float64{1, 3, 10} {
			try(fmt.Sprintf("mined/free/weight=%v", weight), fraction, DefaultConfig(), weight, false)
			try(fmt.Sprintf("mined/orthogonal/weight=%v", weight), fraction, DefaultConfig(), weight, true)
		}
		for _, form := range []string{Angular, Margin} {
			for _, signed := range []bool{false, true} {
				for _, damping := range []float64{0.5, 0.9} {
					for _, k := range []int{6, 10, 20} {
						cfg := DefaultConfig()
						cfg.Form, cfg.Signed, cfg.Damping, cfg.Neighbors = form, signed, damping, k
						try(fmt.Sprintf("%s/signed=%v/gamma=%v/k=%d", form, signed, damping, k), fraction, cfg, 3, true)
					}
				}
			}
		}
	}
}
