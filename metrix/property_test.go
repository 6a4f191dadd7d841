package metrix_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// mixedBatch is unsorted, with classes of 1 to 5 examples and a class without any.
func mixedBatch() problem {
	return random(21, []int32{4, 0, 2, 0, 1, 2, 4, 4, 1, 0, 3, 4, 2, 4, 0, 1}, 6, 7)
}

// lambda = 1 makes every mix its first row with label 1, lambda = 0 its second with label 0: the
// mixed sums are the clean ones, each positive once per negative or each negative once per first
// row. With plain sums that is visible in the value.
func TestLambdaOneAndZeroGiveTheCleanPairs(t *testing.T) {
	labels := []int32{0, 0, 0, 1, 1, 1, 2, 2, 2} // 2 positives and 6 negatives each
	p := random(3, labels, 3, 6)
	f := form(t, "contrastive", map[string]float64{"margin": 0.1})
	onlyPositives, onlyNegatives := f, f
	nothing := metrix.Part{Rho: metrix.Line(0, 0), Sigma: metrix.Identity}
	onlyPositives.Negative, onlyNegatives.Positive = nothing, nothing
	mixedOnly := func(lambda float64, pairs metrix.PairType) (float64, []float32) {
		v, with, _ := evaluate(t, loss(t, f, 1), p, metrix.Mix{Weight: 1, Lambda: lambda, Pairs: pairs})
		_, without, _ := evaluate(t, loss(t, f, 1), p, metrix.Mix{})
		for i := range with {
			with[i] -= without[i]
		}
		return v.Mixed, with
	}
	check := func(lambda float64, pairs metrix.PairType, clean metrix.Form, times float64) {
		mixed, grad := mixedOnly(lambda, pairs)
		v, want, _ := evaluate(t, loss(t, clean, 1), p, metrix.Mix{})
		require.InDelta(t, times*v.Clean, mixed, 1e-5)
		scaled := widen(want)
		for i := range scaled {
			scaled[i] *= times
		}
		require.Less(t, distance(scaled, grad), 1e-5)
	}
	check(1, metrix.PositiveNegative, onlyPositives, 6)
	check(0, metrix.PositiveNegative, onlyNegatives, 2)
	check(0, metrix.AnchorNegative, onlyNegatives, 1)
	mixed, _ := mixedOnly(1, metrix.AnchorNegative) // six times the anchor as its own positive
	require.InDelta(t, -6, mixed, 1e-5)
}

// The logarithm of one repeated exponential is the exponential's exponent plus a constant, so the
// limits hold for the other forms as well; a part without weight must add 0, not log 0.
func TestLimitsOfEveryFormAreFinite(t *testing.T) {
	for caseName, c := range cases() {
		l := loss(t, form(t, c.name, c.params), 1)
		for _, lambda := range []float64{0, 1} {
			for _, pairs := range []metrix.PairType{metrix.PositiveNegative, metrix.AnchorNegative} {
				mix := metrix.Mix{Weight: 1, Lambda: lambda, Pairs: pairs}
				v, byRaw, byProxy := evaluate(t, l, mixedBatch(), mix)
				n := len(mixedBatch().x)
				if c.name == "proxy_anchor" {
					n = len(mixedBatch().proxies)
				}
				_, want := mixedBatch().loss(paper(c.name, c.params), mix, 0, n)
				require.InDelta(t, want, v.Mixed, 1e-5*(1+abs(want)), "%s, lambda %v, %v", caseName, lambda, pairs)
				requireFinite(t, byRaw)
				requireFinite(t, byProxy)
			}
		}
	}
}

func requireFinite(t *testing.T, x []float32) {
	t.Helper()
	for i, v := range x {
		require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0), "element %d is %v", i, v)
	}
}

// Rows in another order: the same value, and the gradient in that order.
func TestPermutationOfRowsPermutesTheGradient(t *testing.T) {
	p := mixedBatch()
	order := draw.Of(2, draw.Test).Perm(len(p.x))
	q := problem{proxies: p.proxies}
	for _, i := range order {
		q.x = append(q.x, p.x[i])
		q.labels = append(q.labels, p.labels[i])
	}
	for caseName, c := range cases() {
		l := loss(t, form(t, c.name, c.params), 2)
		for kind, mix := range kinds() {
			if mix.PerPair != nil {
				continue // lambda belongs to the place in the batch
			}
			v, x, proxies := evaluate(t, l, p, mix)
			u, y, others := evaluate(t, l, q, mix)
			require.InEpsilon(t, 1+v.Total, 1+u.Total, 1e-6, "%s, %s", caseName, kind)
			moved := make([]float64, 0, len(x))
			dim := len(p.x[0])
			for _, i := range order {
				moved = append(moved, widen(x[i*dim:(i+1)*dim])...)
			}
			require.Less(t, distance(moved, y), 1e-5, "%s, %s", caseName, kind)
			require.Less(t, distance(widen(proxies), others), 1e-5, "%s, %s", caseName, kind)
		}
	}
}

// The promise that lets workers share a batch: shares of ranges of anchors sum to the whole, value
// and gradient, wherever the cuts are.
func TestRangesOfAnchorsSumToTheWhole(t *testing.T) {
	p := mixedBatch()
	dim := len(p.x[0])
	_, b := p.batch(dim)
	forms := map[string]metrix.Form{"contrastive, non-zero": form(t, "contrastive", map[string]float64{"nonzero": 1, "margin": 0.1})}
	for _, name := range listwiseForms() {
		forms[name] = form(t, name, nil)
	}
	for caseName, c := range cases() {
		forms[caseName] = form(t, c.name, c.params)
	}
	for caseName, f := range forms {
		n := metrix.NumAnchors(f, b)
		for kind, mix := range kinds() {
			mix := fitting(f, mix)
			whole, wholeX, wholeProxies := sumOfRanges(t, f, b, mix, 0, n)
			for cuts := 1; cuts <= 4; cuts++ {
				r := draw.Of(uint64(cuts), draw.Test)
				at := []int{0, r.IntN(n + 1), r.IntN(n + 1), n}
				if at[1] > at[2] {
					at[1], at[2] = at[2], at[1]
				}
				v, x, proxies := sumOfRanges(t, f, b, mix, at...)
				require.InEpsilon(t, 1+whole.Total, 1+v.Total, 1e-7, "%s, %s, cuts %v", caseName, kind, at)
				require.Less(t, distance(widen(wholeX), x), 2e-6, "%s, %s, cuts %v", caseName, kind, at)
				require.Less(t, distance(widen(wholeProxies), proxies), 2e-6, "%s, %s, cuts %v", caseName, kind, at)
			}
		}
	}
}

// sumOfRanges evaluates [at[0], at[1]), [at[1], at[2]), ... with one fresh Loss each.
func sumOfRanges(t *testing.T, f metrix.Form, b metrix.Batch, mix metrix.Mix, at ...int) (metrix.Value, []float32, []float32) {
	t.Helper()
	grad := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies))}
	var sum metrix.Value
	for i := range at[1:] {
		v, err := loss(t, f, 1+i).Evaluate(grad, b, mix, at[i], at[i+1])
		require.NoError(t, err)
		sum = sum.Add(v)
	}
	return sum, grad.Embeddings, grad.Proxies
}

// The number of threads changes no bit, and neither does what a Loss evaluated before.
func TestThreadsAndReuseChangeNothing(t *testing.T) {
	small, b := large(21, 3, 9), large(130, 5, 33)
	mix := metrix.Mix{Weight: 0.4, PerPair: perPair, Hardest: 40}
	for _, name := range metrix.Forms() {
		f := form(t, name, nil)
		mix := fitting(f, mix)
		n := metrix.NumAnchors(f, b)
		v, x, proxies := sumOfRanges(t, f, b, mix, 0, n)
		for _, threads := range []int{2, 3, 16} {
			l := loss(t, f, threads)
			_, err := l.Evaluate(metrix.Gradient{}, small, fitting(f, metrix.Mix{Weight: 1}), 0, 7)
			require.NoError(t, err)
			grad := metrix.Gradient{Embeddings: make([]float32, len(x)), Proxies: make([]float32, len(proxies))}
			u, err := l.Evaluate(grad, b, mix, 0, n)
			require.NoError(t, err)
			require.Equal(t, v, u, name)
			require.Equal(t, x, grad.Embeddings, name)
			require.Equal(t, proxies, grad.Proxies, name)
		}
	}
}

// Value only, and gradients by one end only, agree with the full call.
func TestFieldsOfTheGradientAreOptional(t *testing.T) {
	b := large(40, 4, 8)
	mix := metrix.Mix{Weight: 0.4, Lambda: 0.4}
	for _, name := range metrix.Forms() {
		l := loss(t, form(t, name, nil), 2)
		mix := fitting(l.Form(), mix)
		n := metrix.NumAnchors(l.Form(), b)
		v, x, proxies := sumOfRanges(t, l.Form(), b, mix, 0, n)
		for _, g := range []metrix.Gradient{{}, {Embeddings: make([]float32, len(x))}, {Proxies: make([]float32, len(proxies))}} {
			u, err := l.Evaluate(g, b, mix, 0, n)
			require.NoError(t, err)
			require.Equal(t, v, u)
			if g.Embeddings != nil {
				require.Equal(t, x, g.Embeddings)
			}
			if g.Proxies != nil {
				require.Equal(t, proxies, g.Proxies)
			}
		}
	}
}
