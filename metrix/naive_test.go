package metrix_test

import (
	"math"
	"slices"

	"github.com/metrixml/metrix/metrix"
)

// The slow, plain reference: float64, one mixed row at a time, formulas as the paper prints them,
// no Gram matrix and no log-sum-exp. It shares no code with the package.

// paperRow is a row of the paper's table.
type paperRow struct {
	tau, sigPos, sigNeg, rhoPos, rhoNeg func(float64) float64
	anchors, candidates                 metrix.Kind
	all, presentMean                    bool
}

func same(x float64) float64  { return x }
func hinge(x float64) float64 { return max(x, 0) }

func paper(name string, p map[string]float64) paperRow {
	exp := func(slope, shift float64) func(float64) float64 {
		return func(s float64) float64 { return math.Exp(slope * (s - shift)) }
	}
	switch name {
	case "contrastive":
		return paperRow{tau: same, sigPos: same, sigNeg: same,
			rhoPos: func(s float64) float64 { return -s },
			rhoNeg: func(s float64) float64 { return hinge(s - p["margin"]) }}
	case "multi_similarity":
		return paperRow{tau: same,
			sigPos: func(x float64) float64 { return math.Log1p(x) / p["beta"] },
			sigNeg: func(x float64) float64 { return math.Log1p(x) / p["gamma"] },
			rhoPos: exp(-p["beta"], p["margin"]), rhoNeg: exp(p["gamma"], p["margin"])}
	case "binomial_deviance":
		return paperRow{tau: same, sigPos: math.Log1p, sigNeg: math.Log1p,
			rhoPos: exp(-p["beta"], p["margin"]), rhoNeg: exp(p["gamma"], p["margin"])}
	case "lifted_structure":
		return paperRow{tau: hinge, sigPos: math.Log, sigNeg: math.Log, rhoPos: exp(-1, 0), rhoNeg: exp(1, p["margin"])}
	case "nca", "proxy_nca":
		row := paperRow{tau: same, sigNeg: math.Log, all: p["all"] != 0,
			sigPos: func(x float64) float64 { return -math.Log(x) },
			rhoPos: exp(1/p["temperature"], 0), rhoNeg: exp(1/p["temperature"], 0)}
		if name == "proxy_nca" {
			row.candidates = metrix.Proxy
		}
		return row
	case "proxy_anchor":
		return paperRow{tau: same, sigPos: math.Log1p, sigNeg: math.Log1p, anchors: metrix.Proxy, presentMean: true,
			rhoPos: exp(-p["alpha"], p["delta"]), rhoNeg: exp(p["alpha"], -p["delta"])}
	}
	panic(name)
}

// problem is a batch in float64, rows not normalised.
type problem struct {
	x, proxies [][]float64
	labels     []int32
}

func unit(x []float64) []float64 {
	var n float64
	for _, v := range x {
		n += v * v
	}
	out := slices.Clone(x)
	for i := range out {
		out[i] /= math.Sqrt(n)
	}
	return out
}

func inner(a, b []float64) float64 {
	var s float64
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// mixOf is f_lam(x, x'): interpolated and put back on the sphere.
func mixOf(lam float64, a, b []float64) []float64 {
	v := make([]float64, len(a))
	for i := range v {
		v[i] = lam*a[i] + (1-lam)*b[i]
	}
	return unit(v)
}

// ends returns unit rows and classes of one end of the pairs.
func (p problem) ends(k metrix.Kind) (rows [][]float64, labels []int32) {
	source := p.x
	labels = p.labels
	if k == metrix.Proxy {
		source, labels = p.proxies, nil
		for c := range p.proxies {
			labels = append(labels, int32(c))
		}
	}
	for _, r := range source {
		rows = append(rows, unit(r))
	}
	return rows, labels
}

// loss is mean over all anchors of l(a) and of lm(a); anchors outside [lo, hi) add 0.
func (p problem) loss(f paperRow, mix metrix.Mix, lo, hi int) (clean, mixed float64) {
	anchors, anchorLabels := p.ends(f.anchors)
	rows, labels := p.ends(f.candidates)
	own := f.anchors == f.candidates
	positives := func(a int) (pos, neg []int) {
		for i, l := range labels {
			switch {
			case l != anchorLabels[a]:
				neg = append(neg, i)
			case !own || i != a:
				pos = append(pos, i)
			}
		}
		return pos, neg
	}
	present := 0
	for a := range anchors {
		if pos, _ := positives(a); len(pos) > 0 {
			present++
		}
	}
	scale := 1.0
	if f.presentMean {
		scale = float64(len(anchors)) / float64(present)
	}
	for a := lo; a < hi; a++ {
		pos, neg := positives(a)
		clean += f.term(anchors[a], f.cleanPairs(rows, pos, neg), scale)
		if mix.Weight > 0 {
			mixed += f.term(anchors[a], mixedPairs(anchors[a], rows, a, pos, neg, mix, own), scale)
		}
	}
	n := float64(len(anchors))
	return clean / n, mixed / n
}

// labelled is an element (v, y) of V(a).
type labelled struct {
	v []float64
	y float64
}

func (f paperRow) cleanPairs(rows [][]float64, pos, neg []int) (v []labelled) {
	for _, i := range pos {
		v = append(v, labelled{rows[i], 1})
	}
	for _, i := range neg {
		v = append(v, labelled{rows[i], 0})
	}
	return v
}

func mixedPairs(anchor []float64, rows [][]float64, a int, pos, neg []int, mix metrix.Mix, own bool) (v []labelled) {
	if mix.Hardest > 0 {
		neg = slices.Clone(neg)
		slices.SortStableFunc(neg, func(i, j int) int {
			return int(math.Copysign(1, inner(anchor, rows[j])-inner(anchor, rows[i])))
		})
		neg = neg[:min(mix.Hardest, len(neg))]
	}
	if own && mix.Pairs == metrix.AnchorNegative {
		pos = []int{a}
	}
	for _, p := range pos {
		drawn := make([]float32, len(rows))
		for n := range drawn {
			drawn[n] = float32(mix.Lambda)
		}
		if mix.PerPair != nil {
			mix.PerPair(drawn, p)
		}
		for _, n := range neg {
			lam := float64(drawn[n])
			v = append(v, labelled{mixOf(lam, rows[p], rows[n]), lam})
		}
	}
	return v
}

func (f paperRow) term(anchor []float64, pairs []labelled, scale float64) float64 {
	var pos, neg, wPos, wNeg float64
	for _, q := range pairs {
		s, rest := inner(anchor, q.v), 1-q.y
		if f.all {
			rest = 1
		}
		pos += q.y * f.rhoPos(s)
		neg += rest * f.rhoNeg(s)
		wPos += q.y
		wNeg += rest
	}
	var total float64 // a part without weight adds nothing
	if wPos > 0 {
		total += scale * f.sigPos(pos)
	}
	if wNeg > 0 {
		total += f.sigNeg(neg)
	}
	return f.tau(total)
}

// gradient is the central difference of clean + w mixed by every raw coordinate.
func (p problem) gradient(f paperRow, mix metrix.Mix) (x, proxies [][]float64) {
	n := len(p.x)
	if f.anchors == metrix.Proxy {
		n = len(p.proxies)
	}
	total := func() float64 {
		c, m := p.loss(f, mix, 0, n)
		return c + mix.Weight*m
	}
	differences := func(rows [][]float64) (out [][]float64) {
		const h = 1e-5
		for _, r := range rows {
			g := make([]float64, len(r))
			for j, v := range r {
				r[j] = v + h
				up := total()
				r[j] = v - h
				g[j] = (up - total()) / (2 * h)
				r[j] = v
			}
			out = append(out, g)
		}
		return out
	}
	x = differences(p.x)
	if f.anchors == metrix.Proxy || f.candidates == metrix.Proxy {
		proxies = differences(p.proxies)
	}
	return x, proxies
}
