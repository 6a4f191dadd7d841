package metrix_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// random returns a problem whose rows lean to their class's direction, so that similarities of
// both signs and of all sizes occur.
func random(seed uint64, labels []int32, classes, dim int) problem {
	r := draw.Of(seed, draw.Test)
	p := problem{labels: labels}
	row := func() []float64 {
		x := make([]float64, dim)
		for j := range x {
			x[j] = float64(float32(r.Norm()))
		}
		return x
	}
	for range classes {
		p.proxies = append(p.proxies, row())
	}
	for _, l := range labels {
		x := row()
		for j := range x {
			x[j] = float64(float32(x[j] + 0.7*p.proxies[l][j]))
		}
		p.x = append(p.x, x)
	}
	return p
}

func flat(rows [][]float64) (out []float32) {
	for _, r := range rows {
		for _, v := range r {
			out = append(out, float32(v))
		}
	}
	return out
}

// batch returns the raw rows and the batch of unit rows.
func (p problem) batch(dim int) (raw []float32, b metrix.Batch) {
	raw = flat(p.x)
	unit := make([]float32, len(raw))
	metrix.Normalize(unit, raw, dim)
	return raw, metrix.Batch{Embeddings: unit, Labels: p.labels, Dim: dim, Proxies: flat(p.proxies)}
}

func form(t testing.TB, name string, params map[string]float64) metrix.Form {
	t.Helper()
	f, err := metrix.NewForm(name, params)
	require.NoError(t, err)
	return f
}

func loss(t testing.TB, f metrix.Form, threads int) *metrix.Loss {
	t.Helper()
	l, err := metrix.New(f, threads)
	require.NoError(t, err)
	return l
}

// evaluate returns the value and the gradients by raw rows and raw proxies, over all anchors.
func evaluate(t testing.TB, l *metrix.Loss, p problem, mix metrix.Mix) (metrix.Value, []float32, []float32) {
	t.Helper()
	dim := len(p.x[0])
	raw, b := p.batch(dim)
	byUnit := make([]float32, len(raw))
	byProxy := make([]float32, len(b.Proxies))
	v, err := l.Evaluate(metrix.Gradient{Embeddings: byUnit, Proxies: byProxy}, b, mix, 0, metrix.NumAnchors(l.Form(), b))
	require.NoError(t, err)
	byRaw := make([]float32, len(raw))
	metrix.NormalizeBackward(byRaw, byUnit, raw, dim)
	return v, byRaw, byProxy
}

// distance is the greatest difference relative to the greatest entry of want.
func distance(want []float64, got []float32) float64 {
	var worst, scale float64
	for i, w := range want {
		scale = max(scale, math.Abs(w))
		d := math.Abs(w - float64(got[i]))
		if !(d <= worst) {
			worst = d
		}
	}
	if scale == 0 {
		return worst
	}
	return worst / scale
}

func join(rows [][]float64) (out []float64) {
	for _, r := range rows {
		out = append(out, r...)
	}
	return out
}

func widen(x []float32) (out []float64) {
	for _, v := range x {
		out = append(out, float64(v))
	}
	return out
}

// perPair is a lambda per ordered pair that stays away from 0 and 1.
func perPair(dst []float32, row int) {
	for n := range dst {
		dst[n] = float32(draw.Of(11, draw.Test, uint64(row), uint64(n)).Range(0.1, 0.9))
	}
}

// kinds are the ways of mixing that every form is checked with.
func kinds() map[string]metrix.Mix {
	return map[string]metrix.Mix{
		"clean":                      {},
		"positive-negative":          {Weight: 0.4, Lambda: 0.3},
		"anchor-negative":            {Weight: 0.4, Lambda: 0.65, Pairs: metrix.AnchorNegative},
		"hardest 2":                  {Weight: 0.7, Lambda: 0.55, Hardest: 2},
		"hardest 3, anchor-negative": {Weight: 0.4, Lambda: 0.4, Hardest: 3, Pairs: metrix.AnchorNegative},
		"per pair":                   {Weight: 0.4, PerPair: perPair},
		"per pair, anchor-negative":  {Weight: 0.4, PerPair: perPair, Pairs: metrix.AnchorNegative},
	}
}

// cases are the forms with the constants they are checked with.
func cases() map[string]struct {
	name   string
	params map[string]float64
} {
	type c = struct {
		name   string
		params map[string]float64
	}
	return map[string]c{
		"contrastive":              {"contrastive", map[string]float64{"margin": 0.1}},
		"multi-similarity":         {"multi_similarity", map[string]float64{"beta": 18, "gamma": 75, "margin": 0.77}},
		"multi-similarity, gentle": {"multi_similarity", map[string]float64{"beta": 2, "gamma": 5, "margin": 0.3}},
		"binomial deviance":        {"binomial_deviance", map[string]float64{"beta": 2, "gamma": 20, "margin": 0.5}},
		"lifted structure":         {"lifted_structure", map[string]float64{"margin": 0.5}},
		"NCA":                      {"nca", map[string]float64{"temperature": 1}},
		"NCA, all":                 {"nca", map[string]float64{"temperature": 0.5, "all": 1}},
		"proxy anchor":             {"proxy_anchor", map[string]float64{"alpha": 32, "delta": 0.1}},
		"ProxyNCA":                 {"proxy_nca", map[string]float64{"temperature": 1.0 / 9}},
		"ProxyNCA++":               {"proxy_nca", map[string]float64{"temperature": 1.0 / 9, "all": 1}},
	}
}

// fitting returns the mix, or what comes nearest to it, for a form that does not mix that way.
func fitting(f metrix.Form, mix metrix.Mix) metrix.Mix {
	switch {
	case f.Virtual:
		return metrix.Mix{Weight: 1, Pairs: metrix.SameClass, Lambda: mix.Lambda, PerPair: mix.PerPair}
	case f.Listwise != nil && !f.Listwise.Soft:
		return metrix.Mix{}
	}
	return mix
}
