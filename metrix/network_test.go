package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// networkRows are mixed rows as a network may have made them: anywhere on the sphere. Raw rows in
// float64, a few per row of the batch, some of partners that share a class (of no use).
func networkRows(seed uint64, p problem) (raw [][]float64, m *metrix.MixedRows) {
	r := draw.Of(seed, draw.Test)
	m = &metrix.MixedRows{}
	for i := range p.x {
		for range 3 {
			j := r.IntN(len(p.x))
			row := make([]float64, len(p.x[0]))
			for k := range row {
				row[k] = float64(float32(p.x[i][k] + r.Norm()))
			}
			raw = append(raw, row)
			m.First, m.Second = append(m.First, int32(i)), append(m.Second, int32(j))
			m.Lambda = append(m.Lambda, float32(r.Range(0.1, 0.9)))
		}
	}
	m.Embeddings = flat(raw)
	metrix.Normalize(m.Embeddings, m.Embeddings, len(p.x[0]))
	return raw, m
}

// rowsLoss is mean over all anchors of lm(a) with V(a) taken from mixed rows, in float64.
func (p problem) rowsLoss(f paperRow, raw [][]float64, m *metrix.MixedRows, pairs metrix.PairType) (mixed float64) {
	anchors, anchorLabels := p.ends(f.anchors)
	present := map[int32]bool{}
	for _, l := range p.labels {
		present[l] = true
	}
	scale := 1.0
	if f.presentMean {
		scale = float64(len(anchors)) / float64(len(present))
	}
	proxies := f.anchors != f.candidates
	for a := range anchors {
		var v []labelled
		for i, row := range raw {
			first, second := int(m.First[i]), int(m.Second[i])
			if p.labels[first] != anchorLabels[a] || p.labels[second] == anchorLabels[a] {
				continue
			}
			self := f.anchors == metrix.Example && first == a
			if self != (!proxies && pairs == metrix.AnchorNegative) {
				continue
			}
			v = append(v, labelled{unit(row), float64(m.Lambda[i])})
		}
		mixed += f.term(anchors[a], v, scale)
	}
	return mixed / float64(len(anchors))
}

// evaluateRows returns value and gradients by raw rows, raw proxies and raw mixed rows.
func evaluateRows(t *testing.T, l *metrix.Loss, p problem, raw [][]float64, mix metrix.Mix) (metrix.Value, [3][]float32) {
	t.Helper()
	dim := len(p.x[0])
	x, b := p.batch(dim)
	mixed := flat(raw)
	byUnit, byProxy, byMix := make([]float32, len(x)), make([]float32, len(b.Proxies)), make([]float32, len(mixed))
	v, err := l.Evaluate(metrix.Gradient{Embeddings: byUnit, Proxies: byProxy, Mixed: byMix}, b, mix, 0, metrix.NumAnchors(l.Form(), b))
	require.NoError(t, err)
	byRaw, byMixed := make([]float32, len(x)), make([]float32, len(mixed))
	metrix.NormalizeBackward(byRaw, byUnit, x, dim)
	metrix.NormalizeBackward(byMixed, byMix, mixed, dim)
	return v, [3][]float32{byRaw, byProxy, byMixed}
}

// differences are central differences of total by every coordinate of rows.
func differences(rows [][]float64, total func() float64) (out []float64) {
	const h = 1e-5
	for _, r := range rows {
		for j, v := range r {
			r[j] = v + h
			up := total()
			r[j] = v - h
			out = append(out, (up-total())/(2*h))
			r[j] = v
		}
	}
	return out
}

// lm(a) over rows that went through the network: every form, both pair types, value and gradient by
// clean rows, proxies and mixed rows, against the formula in float64 and its central differences.
func TestMixedRowsMatchPaperAndFiniteDifferences(t *testing.T) {
	p := random(5, []int32{0, 1, 0, 2, 1, 0, 3, 2}, 5, 4)
	raw, rows := networkRows(3, p)
	var worst float64
	for caseName, c := range cases() {
		for _, pairs := range []metrix.PairType{metrix.PositiveNegative, metrix.AnchorNegative} {
			f := form(t, c.name, c.params)
			row := paper(c.name, c.params)
			mix := metrix.Mix{Level: metrix.LevelFeature, Weight: 0.4, Pairs: pairs, Rows: rows}
			v, got := evaluateRows(t, loss(t, f, 2), p, raw, mix)
			n := len(p.x)
			if c.name == "proxy_anchor" {
				n = len(p.proxies)
			}
			clean, _ := p.loss(row, metrix.Mix{}, 0, n)
			mixed := p.rowsLoss(row, raw, rows, pairs)
			require.InDelta(t, clean, v.Clean, 1e-5*(1+abs(clean)), caseName)
			require.InDelta(t, mixed, v.Mixed, 1e-5*(1+abs(mixed)), caseName)
			require.InDelta(t, v.Clean+0.4*v.Mixed, v.Total, 1e-12)
			total := func() float64 {
				c, _ := p.loss(row, metrix.Mix{}, 0, n)
				return c + 0.4*p.rowsLoss(row, raw, rows, pairs)
			}
			wantX, wantMixed := differences(p.x, total), differences(raw, total)
			d := max(distance(wantX, got[0]), distance(wantMixed, got[2]))
			if f.UsesProxies() {
				d = max(d, distance(differences(p.proxies, total), got[1]))
			}
			require.Less(t, d, 3e-5, "%s, %v", caseName, pairs)
			worst = max(worst, d)
		}
	}
	t.Logf("largest relative difference of a gradient: %.1e", worst)
}

// every returns the mixed rows of all pairs of rows of different classes, materialised by the
// operator and put back on the sphere, with the raw mixes.
func every(b metrix.Batch, mix metrix.Mix) (raw []float32, m *metrix.MixedRows) {
	m = &metrix.MixedRows{}
	for i, a := range b.Labels {
		for j, c := range b.Labels {
			if a != c {
				m.First, m.Second = append(m.First, int32(i)), append(m.Second, int32(j))
			}
		}
	}
	m.Lambda = mix.Lambdas(b.Size(), m.First, m.Second)
	raw = make([]float32, len(m.First)*b.Dim)
	m.Operator().Apply(raw, b.Embeddings, b.Dim)
	m.Embeddings = make([]float32, len(raw))
	metrix.Normalize(m.Embeddings, raw, b.Dim)
	return raw, m
}

// The network being the identity, mixing rows is mixing embeddings: value and gradient, taken back
// through the normalisation and the operator's transpose to both partners, are those of the Gram
// form, for every form with examples as candidates and both pair types.
func TestMaterialisedRowsAreTheGramForm(t *testing.T) {
	p := mixedBatch()
	dim := len(p.x[0])
	raw, b := p.batch(dim)
	for caseName, c := range cases() {
		if c.name == "proxy_nca" {
			continue // mixes proxies at the embedding level
		}
		l := loss(t, form(t, c.name, c.params), 2)
		n := metrix.NumAnchors(l.Form(), b)
		for _, mix := range []metrix.Mix{
			{Weight: 0.4, Lambda: 0.3}, {Weight: 0.4, PerPair: perPair}, {Weight: 0.4, PerPair: perPair, Pairs: metrix.AnchorNegative},
		} {
			want, wantX, wantProxies := evaluate(t, l, p, mix)
			rawMixes, rows := every(b, mix)
			mix.Rows = rows
			grad := metrix.Gradient{Embeddings: make([]float32, len(raw)), Proxies: make([]float32, len(b.Proxies)), Mixed: make([]float32, len(rawMixes))}
			v, err := l.Evaluate(grad, b, mix, 0, n)
			require.NoError(t, err)
			require.InEpsilon(t, 1+abs(want.Total), 1+abs(v.Total), 1e-6, caseName)
			byMix := make([]float32, len(rawMixes))
			metrix.NormalizeBackward(byMix, grad.Mixed, rawMixes, dim)
			rows.Operator().Transpose(grad.Embeddings, byMix, dim)
			x := make([]float32, len(raw))
			metrix.NormalizeBackward(x, grad.Embeddings, raw, dim)
			require.Less(t, distance(widen(wantX), x), 1e-5, "%s, %v", caseName, mix.Pairs)
			require.Less(t, distance(widen(wantProxies), grad.Proxies), 1e-5, "%s, %v", caseName, mix.Pairs)
		}
	}
}

// Ranges of anchors sum to the whole, and the bits of a range depend neither on threads nor on
// what a Loss evaluated before.
func TestMixedRowsInRangesAndThreads(t *testing.T) {
	p := mixedBatch()
	_, b := p.batch(len(p.x[0]))
	_, rows := networkRows(9, p)
	for _, name := range []string{"contrastive", "multi_similarity", "proxy_anchor", "proxy_nca", "nt_xent", "supcon"} {
		for _, reduction := range []string{"", "nonzero"} {
			f, err := metrix.NewFormReduced(name, nil, reduction)
			if err != nil {
				continue
			}
			n := metrix.NumAnchors(f, b)
			mix := metrix.Mix{Level: metrix.LevelInput, Weight: 0.4, Rows: rows}
			cut := func(threads int, used *metrix.Loss, at ...int) (sum metrix.Value, x, proxies, mixed []float32) {
				g := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies)), Mixed: make([]float32, len(rows.Embeddings))}
				for i := range at[1:] {
					l := used
					if l == nil {
						l = loss(t, f, threads)
					}
					v, err := l.Evaluate(g, b, mix, at[i], at[i+1])
					require.NoError(t, err)
					sum = sum.Add(v)
				}
				return sum, g.Embeddings, g.Proxies, g.Mixed
			}
			v, x, proxies, mixed := cut(1, nil, 0, n)
			u, y, others, mixes := cut(2, nil, 0, n/3, n/3, n-1, n)
			require.InEpsilon(t, 1+abs(v.Total), 1+abs(u.Total), 1e-7, name)
			require.Less(t, distance(widen(x), y), 2e-6, name)
			require.Less(t, distance(widen(proxies), others), 2e-6, name)
			require.Less(t, distance(widen(mixed), mixes), 2e-6, name)

			used := loss(t, f, 5)
			_, _, _, _ = cut(5, used, 0, n)
			w, z, _, m := cut(5, used, 0, n/3, n/3, n-1, n)
			require.Equal(t, u, w, name)
			require.Equal(t, y, z, name)
			require.Equal(t, mixes, m, name)
		}
	}
}

// Rows of other classes than those of the range's anchors can stay where they were embedded.
func TestMixedRowsOfOtherClassesMayBeLeftOut(t *testing.T) {
	b := large(24, 4, 6)
	p := problem{labels: b.Labels}
	for i := range b.Labels {
		p.x = append(p.x, widen(b.Embeddings[i*b.Dim:][:b.Dim]))
	}
	_, rows := networkRows(9, p)
	part := &metrix.MixedRows{} // of rows [8, 16), two whole classes
	for v, first := range rows.First {
		if first >= 8 && first < 16 {
			part.First, part.Second = append(part.First, first), append(part.Second, rows.Second[v])
			part.Lambda = append(part.Lambda, rows.Lambda[v])
			part.Embeddings = append(part.Embeddings, rows.Embeddings[v*b.Dim:][:b.Dim]...)
		}
	}
	for _, name := range []string{"contrastive", "multi_similarity", "nca", "proxy_nca"} {
		f := form(t, name, nil)
		with := func(m *metrix.MixedRows) (metrix.Value, []float32, []float32) {
			return sumOfRanges(t, f, b, metrix.Mix{Level: metrix.LevelInput, Weight: 0.4, Rows: m}, 8, 12, 16)
		}
		want, wantX, _ := with(rows)
		got, x, _ := with(part)
		require.Equal(t, want, got, name)
		require.Equal(t, wantX, x, name)
	}
}

func TestMixedRowsMistakesAreSentences(t *testing.T) {
	p := mixedBatch()
	_, b := p.batch(len(p.x[0]))
	_, rows := networkRows(9, p)
	try := func(name string, change func(*metrix.Mix, *metrix.MixedRows, *metrix.Gradient)) string {
		r, g := *rows, metrix.Gradient{}
		mix := metrix.Mix{Level: metrix.LevelFeature, Weight: 0.4, Rows: &r}
		change(&mix, &r, &g)
		_, err := loss(t, form(t, name, nil), 1).Evaluate(g, b, mix, 0, 1)
		require.Error(t, err)
		return err.Error()
	}
	ms := "multi_similarity"
	require.Contains(t, try(ms, func(m *metrix.Mix, _ *metrix.MixedRows, _ *metrix.Gradient) { m.Rows = nil }), "set Mix.Rows to what it made of them")
	require.Contains(t, try(ms, func(m *metrix.Mix, _ *metrix.MixedRows, g *metrix.Gradient) {
		m.Rows, m.Level, g.Mixed = nil, metrix.LevelEmbed, []float32{}
	}), "give both or neither")
	require.Contains(t, try(ms, func(_ *metrix.Mix, r *metrix.MixedRows, _ *metrix.Gradient) { r.Lambda = r.Lambda[1:] }), "need as many seconds and lambdas")
	require.Contains(t, try(ms, func(_ *metrix.Mix, _ *metrix.MixedRows, g *metrix.Gradient) { g.Mixed = []float32{1} }), "gradient by mixed rows has 1 floats")
	require.Contains(t, try(ms, func(_ *metrix.Mix, r *metrix.MixedRows, _ *metrix.Gradient) {
		r.First = append([]int32{99}, r.First[1:]...)
	}), "is made of rows 99")
	require.Contains(t, try(ms, func(_ *metrix.Mix, r *metrix.MixedRows, _ *metrix.Gradient) {
		r.Lambda = append([]float32{2}, r.Lambda[1:]...)
	}), "lambda 2")
	require.Contains(t, try(ms, func(_ *metrix.Mix, r *metrix.MixedRows, _ *metrix.Gradient) {
		r.Embeddings = make([]float32, len(r.Embeddings))
	}), "mixed row 0 has norm 0")
	nothing := func(*metrix.Mix, *metrix.MixedRows, *metrix.Gradient) {}
	require.Contains(t, try("triplet", nothing), "no meaning for a row that is both")
	require.Contains(t, try("recall_at_k", nothing), "leave Mix.Rows nil")
	require.Contains(t, try("recall_at_k", func(m *metrix.Mix, _ *metrix.MixedRows, _ *metrix.Gradient) {
		m.Rows, m.Level = nil, metrix.LevelEmbed
	}), "set mix level to embed, pairs to same_class and weight to 1")
	require.Contains(t, try(ms, func(m *metrix.Mix, _ *metrix.MixedRows, _ *metrix.Gradient) { m.Pairs = metrix.SameClass }), "belongs to loss form recall_at_k")
}
