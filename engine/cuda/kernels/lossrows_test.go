package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/metrix"
)

// rowsEvaluation is the part of an evaluation that compares anchors with mixed rows of the network.
type rowsEvaluation struct {
	*evaluation
	mixed        *kernels.RowsPlan
	count        int       // mixed rows
	index        []int32   // of the rows below in the batch
	anchorRows   []float32 // the candidates where anchors are candidates
	rows, v      buffer
	s            buffer
	first        buffer
	lambda       buffer
	proxyAnchors bool
}

// mixedRows adds the mixed part to the terms.
func (e *evaluation) mixedRows(b metrix.Batch, m *metrix.MixedRows) *rowsEvaluation {
	r := &rowsEvaluation{evaluation: e, count: len(m.First), index: e.plan.Index, anchorRows: e.a}
	r.proxyAnchors = !e.own && !e.proxyCandidates
	if e.own {
		r.index, r.anchorRows = e.plan.Order, e.x
	}
	r.mixed = e.plan.PlanRows(b.Labels, m.First, m.Second, m.Lambda, e.mix.Kind, r.proxyAnchors)
	e.anchors = upload(e.c, e.plan.Anchors)
	r.rows, r.v = upload(e.c, r.anchorRows), upload(e.c, take(m.Embeddings, r.mixed.Order, e.d))
	r.s, r.first, r.lambda = room[float32](e.c, r.mixed.Slots), upload(e.c, r.mixed.First), upload(e.c, r.mixed.Lambda)
	blocks := kernels.Blocks(len(e.plan.Anchors))
	e.c.launch("loss_rows_similarities", blocks, r.s, r.rows, r.v, e.anchors, int32(e.d))
	e.c.launch("loss_rows_terms", blocks, e.terms, r.s, e.anchors, r.first, r.lambda, e.form, e.mix)
	if e.by.NonZero == 0 && e.reduction == "mean" {
		n := e.plan.LossTerms(kernels.MixNothing, 0)
		n[2], n[3] = r.mixed.Used, r.mixed.Used
		e.by = e.plan.ReductionOver(n)
	}
	return r
}

// gradient adds what the mixed rows say of the anchors, and that by the rows themselves.
func (r *rowsEvaluation) gradient(grad *metrix.Gradient, b metrix.Batch, slopes buffer) {
	c, d, blocks := r.c, int32(r.d), kernels.Blocks(len(r.plan.Anchors))
	c.launch("loss_rows_slopes", blocks, r.s, r.anchors, r.terms, slopes, r.first, r.lambda, r.form, r.mix)
	dRows, dv := upload(c, make([]float32, len(r.anchorRows))), room[float32](c, r.v.n)
	c.launch("loss_rows_anchor_gradient", blocks, dRows, r.s, r.v, r.anchors, d)
	c.launch("loss_rows_mixed_gradient", kernels.Blocks(len(r.mixed.Order)), dv, r.s, r.rows, r.anchors, upload(c, r.mixed.Ranges), d)
	to, byProxy := grad.Embeddings, make([]float32, len(b.Proxies))
	if r.proxyAnchors {
		to = byProxy
	}
	scatter(to, r.index, download[float32](c, dRows), r.d)
	metrix.NormalizeBackward(grad.Proxies, byProxy, b.Proxies, b.Dim)
	grad.Mixed = make([]float32, r.count*r.d)
	scatter(grad.Mixed, r.mixed.Order, download[float32](c, dv), r.d)
}

// Mixed examples that went through the network: what they embed to is near the mix of their partners.
func TestLossOfMixedRowsEqualsPackageMetrix(t *testing.T) {
	for _, k := range lossCases {
		for _, pairs := range []metrix.PairType{metrix.PositiveNegative, metrix.AnchorNegative} {
			t.Run(fmt.Sprintf("%s %v %s, %v", k.name, k.params, k.reduction, pairs), func(t *testing.T) {
				b := batchOf(16)
				first, second, err := metrix.ChoosePairs(b, metrix.PairChoice{Hardest: 2, Threads: 1})
				require.NoError(t, err)
				m := &metrix.MixedRows{First: first, Second: second, Lambda: make([]float32, len(first))}
				for v := range m.Lambda {
					m.Lambda[v] = 0.2 + 0.05*float32(v%12)
				}
				m.Second[3] = m.First[3] // mixes nothing of use
				m.Embeddings = make([]float32, len(first)*b.Dim)
				m.Operator().Apply(m.Embeddings, b.Embeddings, b.Dim)
				for i, x := range noise(9, len(m.Embeddings)) {
					m.Embeddings[i] += 0.1 * x
				}
				metrix.Normalize(m.Embeddings, m.Embeddings, b.Dim)
				mix := metrix.Mix{Level: metrix.LevelFeature, Weight: 0.4, Pairs: pairs, Rows: m}
				compareLoss(t, k, b, mix, 0, metrix.NumAnchors(k.form(t), b))
				compareLoss(t, k, b, mix, 2, 6)
			})
		}
	}
}
