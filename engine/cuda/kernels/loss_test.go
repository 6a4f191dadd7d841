package kernels_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// lossCase is a form with the way it is reduced.
type lossCase struct {
	name      string
	params    map[string]float64
	reduction string
}

func (k lossCase) form(t *testing.T) metrix.Form {
	t.Helper()
	f, err := metrix.NewFormReduced(k.name, k.params, k.reduction)
	require.NoError(t, err)
	return f
}

var lossCases = []lossCase{
	{"multi_similarity", map[string]float64{"beta": 18, "gamma": 75, "margin": 0.77}, ""},
	{"multi_similarity", map[string]float64{"beta": 2, "gamma": 5, "margin": 0.3}, ""},
	{"multi_similarity", map[string]float64{"beta": 2, "gamma": 40, "margin": 0.5, "miner": 1, "epsilon": 0.1}, ""},
	{"contrastive", map[string]float64{"margin": 0.1, "positive_margin": 0}, ""},
	{"contrastive", map[string]float64{"margin": 0.1, "positive_margin": 0.9, "nonzero": 1}, "nonzero"},
	{"contrastive", map[string]float64{"margin": 0.1, "positive_margin": 0.9}, "mean"},
	{"binomial_deviance", map[string]float64{"beta": 2, "gamma": 20, "margin": 0.5}, ""},
	{"lifted_structure", map[string]float64{"margin": 0.5}, ""},
	{"nca", map[string]float64{"temperature": 1}, ""},
	{"nca", map[string]float64{"temperature": 0.5, "all": 1}, ""},
	{"proxy_anchor", map[string]float64{"alpha": 32, "delta": 0.1}, ""},
	{"proxy_nca", map[string]float64{"temperature": 1.0 / 9}, ""},
	{"proxy_nca", map[string]float64{"temperature": 1.0 / 9, "all": 1}, ""},
}

// drawn is a lambda per ordered pair.
func drawn(dst []float32, row int) {
	for n := range dst {
		dst[n] = float32(draw.Of(11, draw.Test, uint64(row), uint64(n)).Range(0.1, 0.9))
	}
}

var mixes = map[string]metrix.Mix{
	"clean":                      {},
	"positive-negative":          {Weight: 0.4, Lambda: 0.3},
	"anchor-negative":            {Weight: 0.4, Lambda: 0.65, Pairs: metrix.AnchorNegative},
	"hardest 2":                  {Weight: 0.7, Lambda: 0.55, Hardest: 2},
	"hardest 3, anchor-negative": {Weight: 0.4, Lambda: 0.4, Hardest: 3, Pairs: metrix.AnchorNegative},
	"per pair":                   {Weight: 0.4, PerPair: drawn},
	"per pair, anchor-negative":  {Weight: 0.4, PerPair: drawn, Pairs: metrix.AnchorNegative},
}

// batchOf is rows that lean to their classes' directions; classes are of several sizes, one of a single row.
func batchOf(dim int) metrix.Batch {
	labels := []int32{3, 0, 1, 0, 2, 3, 1, 0, 5, 3, 0, 1}
	const classes = 7 // class 4 and 6 have proxies but no rows
	proxies := noise(1, classes*dim)
	raw := noise(2, len(labels)*dim)
	for i := range raw {
		raw[i] += 0.7 * proxies[int(labels[i/dim])*dim+i%dim]
	}
	metrix.Normalize(raw, raw, dim)
	return metrix.Batch{Embeddings: raw, Labels: labels, Dim: dim, Proxies: proxies}
}

// times is a b^T of rows of d floats, as cuBLAS computes it.
func times(a, b []float32, d int) []float32 {
	m, n := len(a)/d, len(b)/d
	out := make([]float32, m*n)
	for i := range m {
		for j := range n {
			var s float32
			for k := range d {
				s += a[i*d+k] * b[j*d+k]
			}
			out[i*n+j] = s
		}
	}
	return out
}

// addProduct adds w x (w: rows by rows of x) to dst, w^T x if transposed.
func addProduct(dst []float64, w, x []float32, columns, d int, transposed bool) {
	for i := range len(w) / columns {
		for j := range columns {
			to, from := i, j
			if transposed {
				to, from = j, i
			}
			for k := range d {
				dst[to*d+k] += float64(w[i*columns+j]) * float64(x[from*d+k])
			}
		}
	}
}

func take(x []float32, order []int32, d int) []float32 {
	var out []float32
	for _, i := range order {
		out = append(out, x[int(i)*d:int(i+1)*d]...)
	}
	return out
}

// scatter adds rows of d to those of the given indices.
func scatter[F float32 | float64](to []float32, index []int32, from []F, d int) {
	for i, at := range index {
		for k := range d {
			to[int(at)*d+k] += float32(from[i*d+k])
		}
	}
}

// evaluation is one loss on the emulated card: the launches of kernels.LossPlan in their order, the products by
// plain loops.
type evaluation struct {
	t                    *testing.T
	c                    *card
	form                 kernels.LossForm
	mix                  kernels.LossMix
	plan                 *kernels.LossPlan
	by                   kernels.LossReduction
	own, proxyCandidates bool
	reduction            string
	x, a                 []float32 // candidates and anchors, in the order of the plan
	h, g, dh, dg         buffer
	anchors, terms       buffer
	lambdas, keep        buffer
	d, columns           int
}

// share evaluates the anchors [lo, hi) and returns value and gradients like metrix.Loss.Evaluate.
func share(t *testing.T, c *card, k lossCase, b metrix.Batch, mix metrix.Mix, lo, hi int) (metrix.Value, metrix.Gradient) {
	e := newEvaluation(t, c, k, b, mix, lo, hi)
	slopes, value := room[kernels.LossSlope](c, len(e.plan.Anchors)), room[float64](c, 3)
	count := int32(len(e.plan.Anchors))
	first := e.mix
	if mix.Rows != nil {
		first.Kind = kernels.MixNothing
	}
	e.c.launch("loss_terms", kernels.Blocks(int(count)), e.terms, e.h, e.g, e.anchors, e.lambdas, e.keep, int32(e.columns), e.form, first)
	var rows *rowsEvaluation
	if mix.Rows != nil {
		rows = e.mixedRows(b, mix.Rows)
	}
	e.c.launch("loss_finish", kernels.Blocks(1), slopes, value, e.terms, e.anchors, count, e.form, e.mix, e.by)
	e.c.launch("loss_anchor_gradient", kernels.Blocks(int(count)), e.dh, e.h, e.g, e.anchors, e.terms, slopes, e.lambdas, e.keep, int32(e.columns), e.form, first)
	if first.Kind != kernels.MixNothing {
		add := int32(0)
		if e.own {
			add = 1
		}
		ranges := upload(c, e.plan.Ranges)
		e.c.launch("loss_pair_gradient", kernels.Blocks(e.plan.Touched), e.dg, e.h, e.g, e.anchors, ranges, e.terms, slopes, e.lambdas, e.keep, int32(e.columns), add, e.form, first)
	}
	v := download[float64](c, value)
	grad := e.gradient(b, first.Kind != kernels.MixNothing)
	if rows != nil {
		rows.gradient(&grad, b, slopes)
	}
	return metrix.Value{Clean: v[0], Mixed: v[1], Total: v[2]}, grad
}

func newEvaluation(t *testing.T, c *card, k lossCase, b metrix.Batch, mix metrix.Mix, lo, hi int) *evaluation {
	f := k.form(t)
	form, ok := kernels.LossFormOf(k.name, k.params)
	require.True(t, ok)
	if k.reduction == "mean" {
		form.Positive.Rho = kernels.RhoHinge
	}
	e := &evaluation{t: t, c: c, form: form, own: !f.UsesProxies(), proxyCandidates: f.Candidates == metrix.Proxy, reduction: k.reduction, d: b.Dim}
	proxies, proxyLabels := make([]float32, len(b.Proxies)), make([]int32, b.Classes())
	metrix.Normalize(proxies, b.Proxies, b.Dim)
	for i := range proxyLabels {
		proxyLabels[i] = int32(i)
	}
	rows, labels, anchors, anchorLabels := b.Embeddings, b.Labels, b.Embeddings, b.Labels
	if f.Candidates == metrix.Proxy {
		rows, labels = proxies, proxyLabels
	}
	if f.Anchors == metrix.Proxy {
		anchors, anchorLabels = proxies, proxyLabels
	}
	var err error
	e.plan, err = kernels.PlanLoss(anchorLabels, labels, e.own, lo, hi, f.Reduction == metrix.MeanOverNonZero || mix.Rows != nil)
	require.NoError(t, err)
	e.x, e.a = take(rows, e.plan.Order, b.Dim), take(anchors, e.plan.Index, b.Dim)
	e.columns = len(labels)
	e.mix = kernels.LossMix{Weight: float32(mix.Weight), Lambda: float32(mix.Lambda)}
	if mix.Weight > 0 {
		e.mix.Kind = kernels.MixPositiveNegative
		if e.own && mix.Pairs == metrix.AnchorNegative {
			e.mix.Kind = kernels.MixAnchorNegative
		}
	}
	e.compare(mix)
	e.anchors, e.terms = upload(c, e.plan.Anchors), room[kernels.LossTerm](c, len(e.plan.Anchors))
	e.hardest(mix)
	e.by = e.plan.Reduction(f.MeanOverPresent)
	switch f.Reduction {
	case metrix.MeanOverTerms:
		e.by = e.plan.ReductionOver(e.plan.LossTerms(e.mix.Kind, mix.Hardest))
	case metrix.MeanOverNonZero:
		e.by.NonZero = 1
	}
	return e
}

// compare uploads the similarities, and lambdas where they are drawn per pair.
func (e *evaluation) compare(mix metrix.Mix) {
	touched := e.x[:e.plan.Touched*e.d]
	e.g = upload(e.c, times(touched, e.x, e.d))
	e.dg = upload(e.c, make([]float32, e.g.n))
	e.h, e.dh = e.g, e.dg
	if !e.own {
		e.h = upload(e.c, times(e.a, e.x, e.d))
		e.dh = room[float32](e.c, e.h.n)
	}
	if mix.PerPair == nil {
		return
	}
	var lambdas []float32
	for _, i := range e.plan.Order[:e.plan.Touched] {
		row := make([]float32, e.columns)
		mix.PerPair(row, int(i))
		for _, j := range e.plan.Order {
			lambdas = append(lambdas, row[j])
		}
	}
	e.lambdas = upload(e.c, lambdas)
}

func (e *evaluation) hardest(mix metrix.Mix) {
	if mix.Hardest == 0 {
		return
	}
	e.keep = room[byte](e.c, len(e.plan.Anchors)*e.columns)
	e.c.launch("loss_hardest", kernels.Blocks(len(e.plan.Anchors)), e.keep, e.h, e.anchors, upload(e.c, e.plan.Order), int32(e.columns), int32(mix.Hardest))
}

// gradient takes dh and dg to the rows.
func (e *evaluation) gradient(b metrix.Batch, mixed bool) metrix.Gradient {
	dx, da := make([]float64, len(e.x)), make([]float64, len(e.a))
	touched := e.x[:e.plan.Touched*e.d]
	if e.own || mixed {
		dg := download[float32](e.c, e.dg)
		addProduct(dx, dg, e.x, e.columns, e.d, false)
		addProduct(dx, dg, touched, e.columns, e.d, true)
	}
	if !e.own {
		dh := download[float32](e.c, e.dh)
		addProduct(dx, dh, e.a, e.columns, e.d, true)
		addProduct(da, dh, e.x, e.columns, e.d, false)
	}
	grad := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies))}
	byProxy := make([]float32, len(b.Proxies))
	candidates, anchors := grad.Embeddings, byProxy
	if e.proxyCandidates {
		candidates, anchors = byProxy, grad.Embeddings
	}
	scatter(candidates, e.plan.Order, dx, e.d)
	if !e.own {
		scatter(anchors, e.plan.Index, da, e.d)
	}
	metrix.NormalizeBackward(grad.Proxies, byProxy, b.Proxies, b.Dim)
	return grad
}

// compareLoss holds a share to package metrix.
func compareLoss(t *testing.T, k lossCase, b metrix.Batch, mix metrix.Mix, lo, hi int) {
	t.Helper()
	got, grad := share(t, open(t), k, b, mix, lo, hi)
	l, err := metrix.New(k.form(t), 1)
	require.NoError(t, err)
	want := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies))}
	if mix.Rows != nil {
		want.Mixed = make([]float32, len(mix.Rows.Embeddings))
	}
	v, err := l.Evaluate(want, b, mix, lo, hi)
	require.NoError(t, err)
	require.InDelta(t, v.Clean, got.Clean, 2e-5*max(1, math.Abs(v.Clean)), "clean")
	require.InDelta(t, v.Mixed, got.Mixed, 2e-5*max(1, math.Abs(v.Mixed)), "mixed")
	require.InDelta(t, v.Total, got.Total, 2e-5*max(1, math.Abs(v.Total)), "total")
	nearly(t, want.Embeddings, grad.Embeddings, 3e-5, "gradient by the embeddings")
	nearly(t, want.Proxies, grad.Proxies, 3e-5, "gradient by the proxies")
	if mix.Rows != nil {
		nearly(t, want.Mixed, grad.Mixed, 3e-5, "gradient by the mixed rows")
	}
	require.NotZero(t, v.Clean)
}

// Every form and way of mixing, on all anchors and on a part of them, gives what package metrix gives.
func TestLossEqualsPackageMetrix(t *testing.T) {
	for _, k := range lossCases {
		for _, name := range slices.Sorted(maps.Keys(mixes)) {
			t.Run(fmt.Sprintf("%s %v %s, %s", k.name, k.params, k.reduction, name), func(t *testing.T) {
				b, mix := batchOf(16), mixes[name]
				n := metrix.NumAnchors(k.form(t), b)
				compareLoss(t, k, b, mix, 0, n)
				if name == "hardest 2" || name == "per pair" {
					compareLoss(t, k, b, mix, 1, 5)
				}
			})
		}
	}
}
