package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/metrixml/metrix/metrix"
)

// A naive version as a Gorgonia graph: it materialises every mixed row as a row of L E, L holding
// lambda and 1 - lambda, puts it back on the sphere, compares every anchor with every mixed row
// and lets Gorgonia differentiate. Only operations that Gorgonia differentiates correctly are
// used: sums over one axis, broadcast division, element-wise functions, matrix products.

// build collects operations and the first error.
type build struct {
	t *testing.T
	g *G.ExprGraph
}

func (b build) must(n *G.Node, err error) *G.Node {
	b.t.Helper()
	require.NoError(b.t, err)
	return n
}

func (b build) scalar(x float64) *G.Node { return G.NewConstant(x) }

func (b build) constant(name string, rows [][]float64) *G.Node {
	value := tensor.New(tensor.WithShape(len(rows), len(rows[0])), tensor.WithBacking(join(rows)))
	return G.NewMatrix(b.g, tensor.Float64, G.WithShape(len(rows), len(rows[0])), G.WithName(name), G.WithValue(value))
}

// unitRows divides every row by its norm.
func (b build) unitRows(x *G.Node) *G.Node {
	n := x.Shape()[0]
	norm := b.must(G.Sqrt(b.must(G.Sum(b.must(G.Square(x)), 1))))
	return b.must(G.BroadcastHadamardDiv(x, b.must(G.Reshape(norm, tensor.Shape{n, 1})), nil, []byte{1}))
}

// exp is e^{slope (s - shift)}.
func (b build) exp(s *G.Node, slope, shift float64) *G.Node {
	return b.must(G.Exp(b.must(G.Mul(b.must(G.Sub(s, b.scalar(shift))), b.scalar(slope)))))
}

// weighted is SUM_m w[a,m] rho[a,m], a vector over anchors.
func (b build) weighted(rho *G.Node, name string, w [][]float64) *G.Node {
	return b.must(G.Sum(b.must(G.HadamardProd(rho, b.constant(name, w))), 1))
}

// parts returns sig+ and sig- of every anchor, given its similarities and weights.
func (b build) parts(name string, p map[string]float64, s *G.Node, tag string, wPos, wNeg [][]float64) (pos, neg *G.Node) {
	sum := func(rho *G.Node, side string, w [][]float64) *G.Node { return b.weighted(rho, tag+side, w) }
	log1p := func(x *G.Node, over float64) *G.Node {
		return b.must(G.Mul(b.must(G.Log1p(x)), b.scalar(1/over)))
	}
	switch name {
	case "contrastive":
		return sum(b.must(G.Neg(s)), "+", wPos), sum(b.must(G.Rectify(b.must(G.Sub(s, b.scalar(p["margin"]))))), "-", wNeg)
	case "multi_similarity":
		return log1p(sum(b.exp(s, -p["beta"], p["margin"]), "+", wPos), p["beta"]),
			log1p(sum(b.exp(s, p["gamma"], p["margin"]), "-", wNeg), p["gamma"])
	case "binomial_deviance":
		return log1p(sum(b.exp(s, -p["beta"], p["margin"]), "+", wPos), 1),
			log1p(sum(b.exp(s, p["gamma"], p["margin"]), "-", wNeg), 1)
	case "lifted_structure":
		return b.must(G.Log(sum(b.exp(s, -1, 0), "+", wPos))), b.must(G.Log(sum(b.exp(s, 1, p["margin"]), "-", wNeg)))
	case "proxy_anchor":
		return log1p(sum(b.exp(s, -p["alpha"], p["delta"]), "+", wPos), 1),
			log1p(sum(b.exp(s, p["alpha"], -p["delta"]), "-", wNeg), 1)
	}
	t := p["temperature"]
	return b.must(G.Neg(b.must(G.Log(sum(b.exp(s, 1/t, 0), "+", wPos))))), b.must(G.Log(sum(b.exp(s, 1/t, 0), "-", wNeg)))
}

// pairTable is every pair of every anchor as rows of L, with weights by anchor.
type pairTable struct{ mixing, wPos, wNeg [][]float64 }

// add appends the mix lam row p + (1-lam) row n, which belongs to one anchor.
func (q *pairTable) add(anchor, rows, p, n int, lam, wPos, wNeg float64) {
	m := make([]float64, rows)
	m[p] += lam
	m[n] += 1 - lam
	q.mixing = append(q.mixing, m)
	for a := range q.wPos {
		w, v := 0.0, 0.0
		if a == anchor {
			w, v = wPos, wNeg
		}
		q.wPos[a], q.wNeg[a] = append(q.wPos[a], w), append(q.wNeg[a], v)
	}
}

// tables lists the clean and the mixed pairs.
func tables(f paperRow, anchorLabels, labels []int32, mix metrix.Mix) (clean, mixed pairTable) {
	own := f.anchors == f.candidates
	for _, q := range []*pairTable{&clean, &mixed} {
		q.wPos, q.wNeg = make([][]float64, len(anchorLabels)), make([][]float64, len(anchorLabels))
	}
	rest := func(y float64) float64 {
		if f.all {
			return 1
		}
		return 1 - y
	}
	for a, la := range anchorLabels {
		for p, lp := range labels {
			if !own || p != a {
				y := 0.0
				if lp == la {
					y = 1
				}
				clean.add(a, len(labels), p, p, 1, y, rest(y))
			}
			first := lp == la && (!own || p != a)
			if own && mix.Pairs == metrix.AnchorNegative {
				first = p == a
			}
			for n, ln := range labels {
				if first && ln != la {
					mixed.add(a, len(labels), p, n, mix.Lambda, mix.Lambda, rest(mix.Lambda))
				}
			}
		}
	}
	return clean, mixed
}

// autodiff returns clean + w mixed and its gradients by raw rows and raw proxies.
func autodiff(t *testing.T, name string, params map[string]float64, p problem, mix metrix.Mix) (float64, []float64, []float64) {
	b := build{t, G.NewGraph()}
	f := paper(name, params)
	x, proxies := b.constant("rows", p.x), b.constant("proxies", p.proxies)
	ends := func(k metrix.Kind) (*G.Node, []int32) {
		_, labels := p.ends(k)
		if k == metrix.Proxy {
			return b.unitRows(proxies), labels
		}
		return b.unitRows(x), labels
	}
	anchors, anchorLabels := ends(f.anchors)
	rows, labels := ends(f.candidates)
	clean, mixed := tables(f, anchorLabels, labels, mix)
	term := func(q pairTable, tag string) *G.Node {
		v := b.unitRows(b.must(G.Mul(b.constant(tag+"L", q.mixing), rows))) // the materialised rows
		s := b.must(G.Mul(anchors, b.must(G.Transpose(v))))
		pos, neg := b.parts(name, params, s, tag, q.wPos, q.wNeg)
		sum := b.must(G.Add(pos, neg))
		if name == "lifted_structure" {
			sum = b.must(G.Rectify(sum))
		}
		return b.must(G.Mean(sum))
	}
	total := b.must(G.Add(term(clean, "clean"), b.must(G.Mul(term(mixed, "mixed"), b.scalar(mix.Weight)))))
	by := []*G.Node{x}
	if f.anchors == metrix.Proxy || f.candidates == metrix.Proxy {
		by = append(by, proxies)
	}
	grads, err := G.Grad(total, by...)
	require.NoError(t, err)
	vm := G.NewTapeMachine(b.g)
	defer vm.Close()
	require.NoError(t, vm.RunAll())
	values := [][]float64{grads[0].Value().Data().([]float64), nil}
	if len(grads) > 1 {
		values[1] = grads[1].Value().Data().([]float64)
	}
	return total.Value().Data().(float64), values[0], values[1]
}

// Every form, both pair types, against Gorgonia's derivative of the version that materialises.
func TestMatchesGorgoniaOnMaterialisedRows(t *testing.T) {
	p := random(8, []int32{0, 1, 2, 0, 1, 2, 2}, 3, 5)
	var worst float64
	for caseName, c := range cases() {
		for _, mix := range []metrix.Mix{
			{Weight: 0.4, Lambda: 0.3},
			{Weight: 0.4, Lambda: 0.7, Pairs: metrix.AnchorNegative},
		} {
			want, wantX, wantProxies := autodiff(t, c.name, c.params, p, mix)
			v, byRaw, byProxy := evaluate(t, loss(t, form(t, c.name, c.params), 1), p, mix)
			require.InDelta(t, want, v.Total, 1e-6*(1+abs(want)), "%s, %v", caseName, mix.Pairs)
			d := distance(wantX, byRaw)
			if wantProxies != nil {
				d = max(d, distance(wantProxies, byProxy))
			}
			require.Less(t, d, 1e-5, "%s, %v", caseName, mix.Pairs)
			worst = max(worst, d)
		}
	}
	t.Logf("largest relative difference of a gradient: %.1e", worst)
}
