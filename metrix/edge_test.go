package metrix_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// Slopes far beyond the published ones, on rows that coincide and rows that are opposite: e^(1000)
// is not a number float64 holds, the loss must still be one.
func TestSteepFormsStayFinite(t *testing.T) {
	rows := [][]float64{{1, 0, 0}, {1, 1e-7, 0}, {-1, 0, 0}, {1, 0, 1e-7}, {-1, 1e-7, 0}, {0, 1, 0}}
	p := problem{x: rows, labels: []int32{0, 0, 0, 1, 1, 2}, proxies: [][]float64{{1, 0, 0}, {-1, 0, 0}, {1, 0, 1e-6}}}
	for name, params := range map[string]map[string]float64{
		"multi_similarity":  {"beta": 1e4, "gamma": 1e4, "margin": 0},
		"binomial_deviance": {"beta": 1e4, "gamma": 1e4, "margin": 0},
		"proxy_anchor":      {"alpha": 1e4},
		"nca":               {"temperature": 1e-4},
		"proxy_nca":         {"temperature": 1e-4},
		"lifted_structure":  nil,
		"contrastive":       nil,
	} {
		for _, pairs := range []metrix.PairType{metrix.PositiveNegative, metrix.AnchorNegative} {
			l := loss(t, form(t, name, params), 1)
			v, x, proxies := evaluate(t, l, p, metrix.Mix{Weight: 0.4, Lambda: 0.5, Pairs: pairs})
			require.False(t, math.IsNaN(v.Total) || math.IsInf(v.Total, 0), name)
			requireFinite(t, x)
			requireFinite(t, proxies)
		}
	}
}

// With beta = gamma = k the multi-similarity loss tends to [m - s_p]+ + [s_n - m]+ over the hardest
// pair as k grows: a check of the stable form far outside the range of e^x.
func TestSteepMultiSimilarityIsAHinge(t *testing.T) {
	p := problem{x: [][]float64{{1, 0}, {0.6, 0.8}, {0.8, 0.6}}, labels: []int32{0, 0, 1}}
	l := loss(t, form(t, "multi_similarity", map[string]float64{"beta": 1e5, "gamma": 1e5, "margin": 0.7}), 1)
	v, _, _ := evaluate(t, l, p, metrix.Mix{})
	// anchors: 0 has s_p 0.6, s_n 0.8; 1 has s_p 0.6, s_n 0.96; 2 has no positive, s_n 0.96.
	require.InDelta(t, ((0.1+0.1)+(0.1+0.26)+0.26)/3, v.Total, 1e-4)
}

// One class only: no negatives, nothing to mix. All classes distinct: no positives.
func TestAnchorsWithoutPositivesOrNegativesCount(t *testing.T) {
	for _, labels := range [][]int32{{0, 0, 0}, {0, 1, 2}} {
		p := random(4, labels, 3, 5)
		for caseName, c := range cases() {
			for kind, mix := range kinds() {
				n := 3 // examples and proxies alike
				clean, mixed := p.loss(paper(c.name, c.params), mix, 0, n)
				v, x, _ := evaluate(t, loss(t, form(t, c.name, c.params), 1), p, mix)
				require.InDelta(t, clean, v.Clean, 1e-5*(1+abs(clean)), "%s, %s", caseName, kind)
				require.InDelta(t, mixed, v.Mixed, 1e-5*(1+abs(mixed)), "%s, %s", caseName, kind)
				requireFinite(t, x)
			}
		}
	}
}

// Labels that a float32 cannot tell apart are different classes.
func TestLargeLabelsStayApart(t *testing.T) {
	p := random(4, []int32{0, 1, 0, 1}, 2, 5)
	want, _, _ := evaluate(t, loss(t, form(t, "multi_similarity", nil), 1), p, metrix.Mix{})
	p.labels = []int32{16777216, 16777217, 16777216, 16777217}
	got, _, _ := evaluate(t, loss(t, form(t, "multi_similarity", nil), 1), p, metrix.Mix{})
	require.Equal(t, want, got)
}

// Hardest >= |N| is all negatives, and 0 is all negatives.
func TestHardestOfAllIsAll(t *testing.T) {
	p := mixedBatch()
	for _, name := range metrix.Forms() {
		l := loss(t, form(t, name, nil), 1)
		want, x, _ := evaluate(t, l, p, fitting(l.Form(), metrix.Mix{Weight: 1, Lambda: 0.4}))
		got, y, _ := evaluate(t, l, p, fitting(l.Form(), metrix.Mix{Weight: 1, Lambda: 0.4, Hardest: 100}))
		require.Equal(t, want, got)
		require.Equal(t, x, y)
	}
}

// The strictly-positive reduction of mixed pairs, against plain counting.
func TestNonZeroReductionOfMixedPairs(t *testing.T) {
	p := random(6, []int32{0, 1, 0, 1, 2, 2, 0}, 3, 5)
	f := form(t, "contrastive", map[string]float64{"nonzero": 1, "margin": 0.2})
	const lam = 0.35
	v, _, _ := evaluate(t, loss(t, f, 2), p, metrix.Mix{Weight: 0.4, Lambda: lam})
	var pos, neg, nPos, nNeg float64
	rows, labels := p.ends(metrix.Example)
	for a := range rows {
		for i := range rows {
			for n := range rows {
				if i == a || labels[i] != labels[a] || labels[n] == labels[a] {
					continue
				}
				s := inner(rows[a], mixOf(lam, rows[i], rows[n]))
				if x := lam * hinge(1-s); x > 0 {
					pos, nPos = pos+x, nPos+1
				}
				if x := (1 - lam) * hinge(s-0.2); x > 0 {
					neg, nNeg = neg+x, nNeg+1
				}
			}
		}
	}
	require.InEpsilon(t, pos/nPos+neg/nNeg, v.Mixed, 1e-6)
}

func TestNormalizeBackwardIsTheDerivative(t *testing.T) {
	const dim, h = 5, 1e-3
	r := draw.Of(9, draw.Test)
	x, dy := make([]float32, 2*dim), make([]float32, 2*dim)
	for i := range x {
		x[i], dy[i] = float32(r.Norm())*3, float32(r.Norm())
	}
	clear(x[dim:]) // a row of zeros stays zero and gets no gradient
	value := func() (sum float64) {
		y := make([]float32, len(x))
		metrix.Normalize(y, x, dim)
		for i := range y {
			sum += float64(y[i]) * float64(dy[i])
		}
		return sum
	}
	got := make([]float32, len(x))
	got[0] = 10 // added to
	metrix.NormalizeBackward(got, dy, x, dim)
	got[0] -= 10
	for i := range dim {
		was := x[i]
		x[i] = was + h
		up := value()
		x[i] = was - h
		down := value()
		x[i] = was
		require.InDelta(t, (up-down)/(2*h), got[i], 2e-3)
	}
	require.Equal(t, make([]float32, dim), got[dim:])
	requireFinite(t, got)
}

func TestMistakesAreSentences(t *testing.T) {
	_, b := random(1, []int32{0, 0, 1}, 2, 4).batch(4)
	ms, anchor := form(t, "multi_similarity", nil), form(t, "proxy_anchor", nil)
	try := func(f metrix.Form, b metrix.Batch, g metrix.Gradient, mix metrix.Mix, lo, hi int) string {
		_, err := loss(t, f, 1).Evaluate(g, b, mix, lo, hi)
		require.Error(t, err)
		return err.Error()
	}
	with := func(change func(*metrix.Batch)) metrix.Batch { c := b; change(&c); return c }
	none := metrix.Gradient{}
	require.Contains(t, try(ms, b, none, metrix.Mix{}, 0, 4), "[0, 4) are not a range")
	require.Contains(t, try(ms, b, none, metrix.Mix{}, -1, 2), "not a range")
	require.Contains(t, try(ms, b, none, metrix.Mix{Lambda: 2}, 0, 3), "lambda is 2")
	require.Contains(t, try(ms, b, none, metrix.Mix{Weight: math.NaN()}, 0, 3), "mix weight is NaN")
	require.Contains(t, try(ms, b, none, metrix.Mix{Hardest: -1}, 0, 3), "hardest is -1")
	require.Contains(t, try(ms, with(func(b *metrix.Batch) { b.Dim = 0 }), none, metrix.Mix{}, 0, 3), "dimension is 0")
	require.Contains(t, try(ms, with(func(b *metrix.Batch) { b.Labels = b.Labels[:2] }), none, metrix.Mix{}, 0, 2), "need 8 embedding floats, got 12")
	require.Contains(t, try(ms, b, metrix.Gradient{Embeddings: make([]float32, 3)}, metrix.Mix{}, 0, 3), "gradient has 3 floats")
	require.Contains(t, try(ms, with(func(b *metrix.Batch) { b.Embeddings = make([]float32, 12) }), none, metrix.Mix{}, 0, 3), "row 0 has norm 0")
	require.Contains(t, try(ms, with(func(b *metrix.Batch) {
		b.Embeddings = append([]float32{float32(math.NaN())}, b.Embeddings[1:]...)
	}), none, metrix.Mix{}, 0, 3), "row 0 is not a number")
	require.Contains(t, try(anchor, with(func(b *metrix.Batch) { b.Proxies = nil }), none, metrix.Mix{}, 0, 0), "needs one proxy row")
	require.Contains(t, try(anchor, with(func(b *metrix.Batch) { b.Proxies = b.Proxies[:4] }), none, metrix.Mix{}, 0, 1), "label 1 of row 2 has no proxy")
	require.Contains(t, try(anchor, with(func(b *metrix.Batch) { b.Proxies = make([]float32, 8) }), none, metrix.Mix{}, 0, 2), "proxy 0 has squared norm 0")
	require.Contains(t, try(anchor, b, metrix.Gradient{Proxies: make([]float32, 1)}, metrix.Mix{}, 0, 2), "proxy gradient has 1 floats")
}
