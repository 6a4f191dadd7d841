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
func (h head) train(t testing.TB, w world, batch *sampler.Semi, s setting) {
	form, err := metrix.NewForm("multi_similarity", map[string]float64{"beta": 2, "gamma": 20, "margin": 0.5})
	require.NoError(t, err)
	supervised, err := metrix.New(form, 1)
	require.NoError(t, err)
	mined, err := New(s.cfg, 1)
	require.NoError(t, err)
	n := batch.Rows()
	raw, rows, labels := make([]float32, n*h.dim), make([]float32, n*h.dim), make([]int32, n)
	for step := range run.Step(s.steps) {
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
		_, err = mined.Evaluate(grad, 0, n, s.weight)
		require.NoError(t, err)

		byRaw := make([]float32, len(raw))
		metrix.NormalizeBackward(byRaw, grad, raw, h.dim)
		h.step(t, w, items, byRaw, s)
	}
}

// step follows the gradient by the head's outputs.
func (h head) step(t testing.TB, w world, items []sampler.Item, byRaw []float32, s setting) {
	grad := make([]float32, len(h.w))
	for i, it := range items {
		for k := range h.dim {
			for j, x := range w.features[it.Image*w.width:][:w.width] {
				grad[k*h.width+j] += byRaw[i*h.dim+k] * x
			}
		}
	}
	if s.orthogonal {
		require.NoError(t, Tangent(grad, h.w, h.dim, h.width, 1))
	}
	for i, g := range grad {
		h.w[i] -= s.rate * g
	}
	if s.orthogonal {
		require.NoError(t, Retract(h.w, h.dim, h.width, 1))
	}
}

// setting is one way to train a head.
type setting struct {
	labels     float64 // fraction
	unlabelled int     // rows of a batch
	weight     float64 // of the mined triplets
	orthogonal bool
	rate       float32
	steps      int
	cfg        Config
}

// standard is labels alone, at the learning rate that is best for them.
func standard(labels float64) setting {
	return setting{labels: labels, unlabelled: 48, orthogonal: true, rate: 1, steps: 100, cfg: DefaultConfig()}
}

// average trains heads on worlds of several seeds and returns Recall@1 on the classes they were
// trained on and on unseen ones.
func (s setting) average(t testing.TB, seeds int) (trained, unseen float64) {
	share := 1 / float64(seeds)
	for seed := range uint64(seeds) {
		w, test := newWorld(seed, 24, 20, 12, 48), newWorld(seed+50, 24, 20, 12, 48)
		split, err := SplitLabels(seed, s.labels, 2, w.classes)
		require.NoError(t, err)
		batch, err := sampler.NewSemi(sampler.Config{Seed: seed, Shards: 4, Classes: 12, Images: 2}, split.Classes, split.Unlabelled, s.unlabelled)
		require.NoError(t, err)
		h := newHead(seed, 12, 48)
		if s.orthogonal {
			require.NoError(t, Retract(h.w, h.dim, h.width, 1))
		}
		h.train(t, w, batch, s)
		trained += h.recall(t, w) * share
		unseen += h.recall(t, test) * share
	}
	return trained, unseen
}

// With 10 % of the labels, triplets with unlabelled rows find more of the neighbours of unseen classes
// than labels alone, and more than the same triplets among labelled rows.
func TestMinedTripletsHelpAHead(t *testing.T) {
	mined := standard(0.1)
	mined.weight, mined.rate = 1, 2
	without := mined
	without.unlabelled = 0
	_, labels := standard(0.1).average(t, 3)
	_, control := without.average(t, 3)
	_, unseen := mined.average(t, 3)
	t.Logf("Recall@1 on unseen classes: labels only %.3f, triplets of labelled rows %.3f, of all rows %.3f", labels, control, unseen)
	require.Greater(t, unseen, max(labels, control)+0.01)
}

// BenchmarkSettings reports Recall@1, mean of ten seeds, for settings of the mining; run it with
// -benchtime 1x. docs/semi.md has the table.
func BenchmarkSettings(b *testing.B) {
	for _, labels := range []float64{0.1, 0.3} {
		for _, rate := range []float32{1, 2} {
			try := func(name string, change func(*setting)) {
				s := standard(labels)
				s.rate = rate
				change(&s)
				b.Run(fmt.Sprintf("labels=%.1f/rate=%v/%s", labels, rate, name), func(b *testing.B) {
					var trained, unseen float64
					for b.Loop() {
						trained, unseen = s.average(b, 10)
					}
					b.ReportMetric(trained, "trained-R@1")
					b.ReportMetric(unseen, "unseen-R@1")
				})
			}
			try("labels-only", func(*setting) {})
			try("labels-only/free", func(s *setting) { s.orthogonal = false })
			for _, weight := range []float64{0.1, 0.3, 1} {
				name := fmt.Sprintf("weight=%v", weight)
				try("margin/"+name, func(s *setting) { s.weight = weight })
				try("margin/free/"+name, func(s *setting) { s.weight, s.orthogonal = weight, false })
				try("margin/signed/"+name, func(s *setting) { s.weight, s.cfg.Signed = weight, true })
				try("angular/"+name, func(s *setting) { s.weight, s.cfg.Form = weight, Angular })
				// What triplets of the labelled rows alone are worth.
				try("margin/no-unlabelled/"+name, func(s *setting) { s.weight, s.unlabelled = weight, 0 })
				try("margin/free/no-unlabelled/"+name, func(s *setting) { s.weight, s.unlabelled, s.orthogonal = weight, 0, false })
			}
		}
	}
}
