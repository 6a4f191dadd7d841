package metrix_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// listwiseForms are the rows of the table that are not of the paper's form.
func listwiseForms() []string { return []string{"triplet", "nt_xent", "supcon", "recall_at_k"} }

// seen is what an anchor is compared with, in float64: similarities, labels, and the rows.
type seen struct {
	s, y []float64
	rows [][]float64
}

// plain is the loss of one anchor as its paper prints it, with the number of its terms and of those
// above zero. It shares no code with the package.
type plain func(v seen) (value float64, terms, nonzero int)

func plainTriplet(margin float64, cosine, smooth, swap bool) plain {
	d := func(s float64) float64 {
		if cosine {
			return -s
		}
		return math.Sqrt(2 - 2*s)
	}
	return func(v seen) (value float64, terms, nonzero int) {
		for p := range v.s {
			for n := range v.s {
				if v.y[p] != 1 || v.y[n] != 0 {
					continue
				}
				far := d(v.s[n])
				if swap {
					far = min(far, d(inner(v.rows[p], v.rows[n])))
				}
				l := hinge(d(v.s[p]) - far + margin)
				if smooth {
					l = math.Log1p(math.Exp(d(v.s[p]) - far + margin))
				}
				value, terms = value+l, terms+1
				if l > 0 {
					nonzero++
				}
			}
		}
		return value, terms, nonzero
	}
}

func plainNTXent(t float64) plain {
	return func(v seen) (value float64, terms, nonzero int) {
		var rest float64
		for k, s := range v.s {
			rest += (1 - v.y[k]) * math.Exp(s/t)
		}
		for p, s := range v.s {
			if v.y[p] == 0 {
				continue
			}
			l := -v.y[p] * math.Log(math.Exp(s/t)/(math.Exp(s/t)+rest))
			value, terms = value+l, terms+1
			if l > 0 {
				nonzero++
			}
		}
		return value, terms, nonzero
	}
}

func plainSupCon(t float64) plain {
	return func(v seen) (value float64, terms, nonzero int) {
		var all, weight float64
		for k, s := range v.s {
			all += math.Exp(s / t)
			weight += v.y[k]
		}
		if weight == 0 {
			return 0, 0, 0
		}
		for p, s := range v.s {
			value -= v.y[p] / weight * math.Log(math.Exp(s/t)/all)
		}
		return value, 1, 1
	}
}

func plainRecall(outer, near float64) plain {
	sigma := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	return func(v seen) (value float64, terms, nonzero int) {
		positives := 0.0
		for _, y := range v.y {
			positives += y
		}
		if positives == 0 {
			return 0, 0, 0
		}
		for _, k := range []float64{1, 2, 4, 8, 16} {
			var found float64
			for p := range v.s {
				if v.y[p] == 0 {
					continue
				}
				rank := 1.0
				for x := range v.s {
					if x != p {
						rank += sigma((v.s[x] - v.s[p]) / near)
					}
				}
				found += sigma((k - rank) / outer)
			}
			value += min(found, k) / min(k, positives) / 5
		}
		return 1 - value, 1, 1
	}
}

// plainLoss reduces a plain loss of rows: over anchors, over terms, or over non-zero terms.
func plainLoss(l plain, rows [][]float64, labels []int32, reduction string) float64 {
	var sum, terms, nonzero float64
	for a := range rows {
		var v seen
		for i := range rows {
			if i == a {
				continue
			}
			y := 0.0
			if labels[i] == labels[a] {
				y = 1
			}
			v.s, v.y, v.rows = append(v.s, inner(rows[a], rows[i])), append(v.y, y), append(v.rows, rows[i])
		}
		value, t, n := l(v)
		sum, terms, nonzero = sum+value, terms+float64(t), nonzero+float64(n)
	}
	return sum / map[string]float64{"paper": float64(len(rows)), "mean": terms, "nonzero": nonzero}[reduction]
}

type listwiseCase struct {
	name      string
	params    map[string]float64
	reduction string
	plain     plain
}

func listwiseCases() map[string]listwiseCase {
	triplet := func(margin float64, cosine, smooth, swap bool, reduction string) listwiseCase {
		flag := map[bool]float64{true: 1}
		return listwiseCase{"triplet", map[string]float64{"margin": margin, "cosine": flag[cosine], "smooth": flag[smooth], "swap": flag[swap]},
			reduction, plainTriplet(margin, cosine, smooth, swap)}
	}
	t := func(x float64) map[string]float64 { return map[string]float64{"temperature": x} }
	return map[string]listwiseCase{
		"triplet":             triplet(0.2, false, false, false, "nonzero"),
		"triplet, swap":       triplet(0.3, false, false, true, "nonzero"),
		"triplet, smooth":     triplet(0.05, false, true, false, "mean"),
		"triplet, cosine":     triplet(0.1, true, false, false, "paper"),
		"triplet, all":        triplet(0.2, true, true, true, "mean"),
		"NT-Xent":             {"nt_xent", t(0.2), "mean", plainNTXent(0.2)},
		"NT-Xent, by anchor":  {"nt_xent", t(0.07), "paper", plainNTXent(0.07)},
		"NT-Xent, non-zero":   {"nt_xent", t(0.2), "nonzero", plainNTXent(0.2)},
		"SupCon":              {"supcon", t(0.1), "nonzero", plainSupCon(0.1)},
		"SupCon, all anchors": {"supcon", t(0.3), "paper", plainSupCon(0.3)},
		"recall@k":            {"recall_at_k", nil, "paper", plainRecall(1, 0.01)},
		"recall@k, gentle":    {"recall_at_k", map[string]float64{"rank_temperature": 0.7, "temperature": 0.2}, "paper", plainRecall(0.7, 0.2)},
	}
}

func (c listwiseCase) form(t testing.TB) metrix.Form {
	t.Helper()
	f, err := metrix.NewFormReduced(c.name, c.params, c.reduction)
	require.NoError(t, err)
	return f
}

// Value and gradient of every further loss against its formula in float64 and central differences.
func TestListwiseMatchesFormulasAndFiniteDifferences(t *testing.T) {
	p := random(5, []int32{0, 1, 0, 2, 1, 0, 3, 2, 2, 1}, 5, 6)
	for name, c := range listwiseCases() {
		total := func() float64 {
			rows, labels := p.ends(metrix.Example)
			return plainLoss(c.plain, rows, labels, c.reduction)
		}
		v, x, _ := evaluate(t, loss(t, c.form(t), 2), p, metrix.Mix{})
		require.InDelta(t, total(), v.Total, 2e-5*(1+abs(v.Total)), name)
		d := distance(differences(p.x, total), x)
		require.Less(t, d, 2e-4, name)
		t.Logf("%-20s value %.7f, largest relative difference of the gradient %.1e", name, v.Total, d)
	}
}

// Mixed NT-Xent and SupCon: the formulas with labels between 0 and 1, over M(a) materialised in
// float64, by both pair types.
func TestSoftListwiseMixes(t *testing.T) {
	p := random(15, []int32{0, 1, 0, 2, 1, 0, 2}, 3, 5)
	for name, l := range map[string]plain{"nt_xent": plainNTXent(0.3), "supcon": plainSupCon(0.3)} {
		f, err := metrix.NewFormReduced(name, map[string]float64{"temperature": 0.3}, "paper")
		require.NoError(t, err)
		for kind, mix := range kinds() {
			total := func() float64 {
				rows, labels := p.ends(metrix.Example)
				value := plainLoss(l, rows, labels, "paper")
				for a := range rows {
					var pos, neg []int
					for i := range rows {
						if labels[i] != labels[a] {
							neg = append(neg, i)
						} else if i != a {
							pos = append(pos, i)
						}
					}
					var v seen
					if mix.Weight > 0 {
						for _, q := range mixedPairs(rows[a], rows, a, pos, neg, mix, true) {
							v.s, v.y = append(v.s, inner(rows[a], q.v)), append(v.y, q.y)
						}
					}
					m, _, _ := l(v)
					value += mix.Weight * m / float64(len(rows))
				}
				return value
			}
			v, x, _ := evaluate(t, loss(t, f, 2), p, mix)
			require.InDelta(t, total(), v.Total, 1e-5*(1+abs(v.Total)), "%s, %s", name, kind)
			require.Less(t, distance(differences(p.x, total), x), 5e-5, "%s, %s", name, kind)
		}
	}
}

// Similarity mixup: the enlarged batch materialised in float64, mixes off the sphere, every row an
// anchor. Lambda per pair, gradient by raw rows.
func TestSimilarityMixupIsTheEnlargedBatch(t *testing.T) {
	p := random(5, []int32{0, 1, 0, 2, 1, 0, 3}, 4, 5)
	for _, mix := range []metrix.Mix{{Weight: 1, Pairs: metrix.SameClass, Lambda: 0.3}, {Weight: 1, Pairs: metrix.SameClass, PerPair: perPair}} {
		total := func() float64 {
			rows, labels := p.ends(metrix.Example)
			n := len(rows)
			for i := range n {
				drawn := make([]float32, n)
				for j := range drawn {
					drawn[j] = float32(mix.Lambda)
				}
				if mix.PerPair != nil {
					mix.PerPair(drawn, i)
				}
				for j := i + 1; j < n; j++ {
					if labels[i] != labels[j] {
						continue
					}
					lam := float64(drawn[j])
					row := make([]float64, len(rows[i]))
					for k := range row {
						row[k] = lam*rows[i][k] + (1-lam)*rows[j][k]
					}
					rows, labels = append(rows, row), append(labels, labels[i])
				}
			}
			return plainLoss(plainRecall(0.8, 0.1), rows, labels, "paper")
		}
		f := form(t, "recall_at_k", map[string]float64{"rank_temperature": 0.8, "temperature": 0.1})
		v, x, _ := evaluate(t, loss(t, f, 2), p, mix)
		require.InDelta(t, total(), v.Total, 1e-5)
		require.Less(t, distance(differences(p.x, total), x), 1e-4)
	}
}

// Steep temperatures overflow nothing, and rows that coincide have a distance without a slope.
func TestSteepListwiseStaysFinite(t *testing.T) {
	rows := [][]float64{{1, 0, 0}, {1, 0, 0}, {-1, 0, 0}, {1, 0, 1e-7}, {-1, 1e-7, 0}, {0, 1, 0}}
	for _, labels := range [][]int32{{0, 0, 0, 1, 1, 2}, {0, 0, 0, 0, 0, 0}, {0, 1, 2, 3, 4, 5}} {
		p := problem{x: rows, labels: labels}
		for _, name := range listwiseForms() {
			var params map[string]float64
			if name != "triplet" {
				params = map[string]float64{"temperature": 1e-4}
			}
			l := loss(t, form(t, name, params), 1)
			for _, mix := range []metrix.Mix{{}, fitting(l.Form(), metrix.Mix{Weight: 0.4, Lambda: 0.5})} {
				v, x, _ := evaluate(t, l, p, mix)
				require.False(t, math.IsNaN(v.Total) || math.IsInf(v.Total, 0), name)
				requireFinite(t, x)
			}
		}
	}
}

// Values on the rows of formula(4), recorded from the float64 formulas above.
func TestRecordedListwise(t *testing.T) {
	p := formula(4)
	rows, labels := p.ends(metrix.Example)
	for name, want := range map[string]float64{
		"NT-Xent":             1.689596375314,
		"NT-Xent, by anchor":  4.952307379148,
		"NT-Xent, non-zero":   1.689596375314,
		"SupCon":              2.499413929537,
		"SupCon, all anchors": 1.225628148844,
		"recall@k":            0.241283006504,
		"recall@k, gentle":    0.224180937975,
		"triplet":             0.444961063635,
		"triplet, all":        0.657978135862,
		"triplet, cosine":     0.585346158940,
		"triplet, smooth":     0.507147345753,
		"triplet, swap":       0.544961063635,
	} {
		c := listwiseCases()[name]
		require.InDelta(t, want, plainLoss(c.plain, rows, labels, c.reduction), 1e-9, name)
		v, _, _ := evaluate(t, loss(t, c.form(t), 1), p, metrix.Mix{})
		require.InDelta(t, want, v.Total, 2e-5, name)
	}
}

func TestReductionsAreNamed(t *testing.T) {
	_, err := metrix.NewFormReduced("multi_similarity", nil, "nonzero")
	require.ErrorContains(t, err, `loss form multi_similarity cannot be reduced by "nonzero"; it can by paper`)
	_, err = metrix.NewFormReduced("contrastive", nil, "sum")
	require.ErrorContains(t, err, `it can by paper, nonzero, mean`)
	_, err = metrix.NewFormReduced("contrastive", map[string]float64{"nonzero": 1}, "mean")
	require.ErrorContains(t, err, "contradicts")
	p := mixedBatch()
	f, err := metrix.NewFormReduced("contrastive", map[string]float64{"margin": 0.1}, "nonzero")
	require.NoError(t, err)
	want, _, _ := evaluate(t, loss(t, form(t, "contrastive", map[string]float64{"nonzero": 1, "margin": 0.1}), 1), p, metrix.Mix{})
	got, _, _ := evaluate(t, loss(t, f, 1), p, metrix.Mix{})
	require.Equal(t, want, got)
}

func TestListwiseLiteralsAreChecked(t *testing.T) {
	some := func(metrix.Neighbors) (float64, int) { return 0, 0 }
	for words, f := range map[string]metrix.Form{
		"lacks Loss":            {Listwise: &metrix.Listwise{}},
		"needs Listwise.Terms":  {Listwise: &metrix.Listwise{Loss: some}, Reduction: metrix.MeanOverTerms},
		"no use for a Listwise": {Listwise: &metrix.Listwise{Loss: some}, Miner: metrix.MultiSimilarityMiner(0)},
		"examples at both ends": {Listwise: &metrix.Listwise{Loss: some, Between: true}, Anchors: metrix.Proxy},
		"cannot drop pairs of a sum": func() metrix.Form {
			f := form(t, "nca", map[string]float64{"all": 1})
			f.Miner = metrix.MultiSimilarityMiner(0)
			return f
		}(),
	} {
		_, err := metrix.New(f, 1)
		require.ErrorContains(t, err, words)
	}
}

// The mean over terms counts them by their labels, mixed ones too; ranges sum to the whole.
func TestMeanOverTerms(t *testing.T) {
	p := mixedBatch()
	_, b := p.batch(7)
	f, err := metrix.NewFormReduced("contrastive", map[string]float64{"margin": 0.1}, "mean")
	require.NoError(t, err)
	for kind, mix := range kinds() {
		rows, labels := p.ends(metrix.Example)
		var clean, mixed [4]float64 // sums and counts of both parts
		for a := range rows {
			var pos, neg []int
			for i := range rows {
				s := inner(rows[a], rows[i])
				switch {
				case labels[i] != labels[a]:
					neg = append(neg, i)
					clean[1], clean[3] = clean[1]+hinge(s-0.1), clean[3]+1
				case i != a:
					pos = append(pos, i)
					clean[0], clean[2] = clean[0]+hinge(1-s), clean[2]+1
				}
			}
			if mix.Weight == 0 {
				continue
			}
			for _, q := range mixedPairs(rows[a], rows, a, pos, neg, mix, true) {
				s := inner(rows[a], q.v)
				mixed[0], mixed[1] = mixed[0]+q.y*hinge(1-s), mixed[1]+(1-q.y)*hinge(s-0.1)
				mixed[2], mixed[3] = mixed[2]+1, mixed[3]+1
			}
		}
		v, _, _ := sumOfRanges(t, f, b, mix, 0, 3, 9, 16)
		require.InDelta(t, clean[0]/clean[2]+clean[1]/clean[3], v.Clean, 1e-5, kind)
		if mix.Weight > 0 {
			require.InDelta(t, mixed[0]/mixed[2]+mixed[1]/mixed[3], v.Mixed, 1e-5, kind)
		}
	}
}
