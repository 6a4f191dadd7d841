package enginetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/metrix"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lossCase is a loss as a recipe names it.
type lossCase struct {
	name      string
	params    map[string]float64
	reduction string
}

func (c lossCase) String() string { return fmt.Sprintf("%s %v %s", c.name, c.params, c.reduction) }

// losses are the sums over pairs of package metrix, with every option.
func losses() []lossCase {
	type p = map[string]float64
	return []lossCase{
		{"multi_similarity", nil, ""},
		{"multi_similarity", p{"beta": 2, "gamma": 40, "margin": 0.5, "miner": 1}, ""},
		{"contrastive", p{"margin": 0.1}, ""},
		{"contrastive", p{"margin": 0.1, "positive_margin": 0.9}, "nonzero"},
		{"contrastive", p{"margin": 0.1, "positive_margin": 0.9}, "mean"},
		{"binomial_deviance", p{"gamma": 20}, ""},
		{"lifted_structure", p{"margin": 0.5}, ""},
		{"nca", nil, ""},
		{"nca", p{"temperature": 0.5, "all": 1}, ""},
		{"proxy_anchor", nil, ""},
		{"proxy_nca", nil, ""},
		{"proxy_nca", p{"all": 1}, ""},
	}
}

// form returns the loss as package metrix and as package engine have it.
func (c lossCase) form(t *testing.T) (metrix.Form, engine.Loss) {
	t.Helper()
	f, err := metrix.NewFormReduced(c.name, c.params, c.reduction)
	require.NoError(t, err)
	constants, err := metrix.Constants(c.name, c.params, c.reduction)
	require.NoError(t, err)
	return f, engine.Loss{
		Form: c.name, Params: constants, Reduction: f.Reduction.String(),
		ProxyAnchors: f.Anchors == metrix.Proxy, ProxyCandidates: f.Candidates == metrix.Proxy, OverPresent: f.MeanOverPresent,
	}
}

// lossMixes are the ways of mixing, by name.
func lossMixes(b metrix.Batch) map[string]metrix.Mix {
	drawn := func(dst []float32, row int) {
		for n := range dst {
			dst[n] = float32(draw.Of(11, draw.Test, uint64(row), uint64(n)).Range(0.1, 0.9))
		}
	}
	rows := mixedRows(b)
	return map[string]metrix.Mix{
		"clean":                     {},
		"positive-negative":         {Weight: 0.4, Lambda: 0.3},
		"anchor-negative, hardest":  {Weight: 0.7, Lambda: 0.55, Hardest: 2, Pairs: metrix.AnchorNegative},
		"hardest":                   {Weight: 0.7, Lambda: 0.55, Hardest: 3},
		"per pair":                  {Weight: 0.4, PerPair: drawn},
		"per pair, anchor-negative": {Weight: 0.4, PerPair: drawn, Pairs: metrix.AnchorNegative},
		"rows":                      {Level: metrix.LevelFeature, Weight: 0.4, Hardest: 2, Rows: rows},
		"rows, anchor-negative":     {Level: metrix.LevelInput, Weight: 0.4, Hardest: 2, Rows: rows, Pairs: metrix.AnchorNegative},
	}
}

// lossBatch is rows that lean to their classes' directions: classes of several sizes, one of a single row,
// and two of no row, which only proxies have.
func lossBatch(dim int) metrix.Batch {
	labels := []int32{3, 0, 1, 0, 2, 3, 1, 0, 5, 3, 0, 1}
	const classes = 7
	proxies, rows := values(21, classes*dim), values(22, len(labels)*dim)
	for i := range rows {
		rows[i] += 0.7 * proxies[int(labels[i/dim])*dim+i%dim]
	}
	metrix.Normalize(rows, rows, dim)
	return metrix.Batch{Embeddings: rows, Labels: labels, Dim: dim, Proxies: proxies}
}

// values are normal numbers.
func values(key uint64, n int) []float32 {
	r := draw.Of(key, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// mixedRows is what a network may make of mixed examples: rows near the mixes of their partners, one of
// which mixes a class with itself and is of no use.
func mixedRows(b metrix.Batch) *metrix.MixedRows {
	m := &metrix.MixedRows{}
	for i, class := range b.Labels {
		for j, other := range b.Labels {
			if class != other && (i+j)%4 == 0 {
				m.First, m.Second = append(m.First, int32(i)), append(m.Second, int32(j))
				m.Lambda = append(m.Lambda, 0.2+0.05*float32(len(m.First)%12))
			}
		}
	}
	m.Second[3] = m.First[3]
	m.Embeddings = make([]float32, len(m.First)*b.Dim)
	m.Operator().Apply(m.Embeddings, b.Embeddings, b.Dim)
	for i, x := range values(23, len(m.Embeddings)) {
		m.Embeddings[i] += 0.1 * x
	}
	metrix.Normalize(m.Embeddings, m.Embeddings, b.Dim)
	return m
}

// handOver is the batch as package engine has it.
func handOver(b metrix.Batch, f metrix.Form, m metrix.Mix) engine.Batch {
	out := engine.Batch{Rows: b.Embeddings, Labels: b.Labels, Dim: b.Dim, Proxies: b.Proxies, Mix: engine.Mix{
		Weight: m.Weight, AnchorNegative: m.PairsOf(f) == metrix.AnchorNegative, Hardest: m.Hardest, Lambda: m.Lambda, PerPair: m.PerPair,
	}}
	if r := m.Rows; r != nil {
		out.Mix.Rows = &engine.MixedRows{Rows: r.Embeddings, First: r.First, Second: r.Second, Lambda: r.Lambda}
	}
	return out
}

// lossShare is what the anchors of a range give.
type lossShare struct {
	clean, mixed float64
	grad         engine.Gradients
}

func emptyShare(b metrix.Batch, m metrix.Mix) lossShare {
	s := lossShare{grad: engine.Gradients{Rows: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies))}}
	if m.Rows != nil {
		s.grad.Mixed = make([]float32, len(m.Rows.Embeddings))
	}
	return s
}

// Losses holds what a Net compares to package metrix: every loss and way of mixing, in parts of the
// batch, within a relative tolerance; and each part to having the same bits whatever was asked before.
func Losses(t *testing.T, net engine.Comparer, tolerance float64) {
	t.Helper()
	b := lossBatch(16)
	for _, c := range losses() {
		f, named := c.form(t)
		comparison, err := net.Comparison(named)
		require.NoError(t, err, c)
		l, err := metrix.New(f, 1)
		require.NoError(t, err)
		n := metrix.NumAnchors(f, b)
		for name, mix := range lossMixes(b) {
			t.Run(fmt.Sprintf("%v, %s", c, name), func(t *testing.T) {
				compareShares(t, comparison, l, b, mix, [][2]int{{0, n}, {n / 3, n - 1}, {2, 2}, {n - 1, n}, {n / 3, n - 1}}, tolerance)
			})
		}
	}
}

func compareShares(t *testing.T, comparison engine.Comparison, l *metrix.Loss, b metrix.Batch, mix metrix.Mix, ranges [][2]int, tolerance float64) {
	seen := map[[2]int]lossShare{}
	require.NoError(t, comparison.Begin(handOver(b, l.Form(), mix)))
	for _, r := range ranges {
		want, got := emptyShare(b, mix), emptyShare(b, mix)
		v, err := l.Evaluate(metrix.Gradient{Embeddings: want.grad.Rows, Proxies: want.grad.Proxies, Mixed: want.grad.Mixed}, b, mix, r[0], r[1])
		require.NoError(t, err)
		got.clean, got.mixed, err = comparison.Share(got.grad, r[0], r[1])
		require.NoError(t, err)
		assert.InDelta(t, v.Clean, got.clean, tolerance*max(1, math.Abs(v.Clean)), "clean, %v", r)
		assert.InDelta(t, v.Mixed, got.mixed, tolerance*max(1, math.Abs(v.Mixed)), "mixed, %v", r)
		closeTo(t, want.grad.Rows, got.grad.Rows, tolerance, "gradient by the rows", r)
		closeTo(t, want.grad.Proxies, got.grad.Proxies, tolerance, "gradient by the proxies", r)
		closeTo(t, want.grad.Mixed, got.grad.Mixed, tolerance, "gradient by the mixed rows", r)
		if before, ok := seen[r]; ok {
			assert.Equal(t, before, got, "%v again", r)
		}
		seen[r] = got
	}
	if s, ok := comparison.(engine.Summer); ok {
		compareSums(t, s, b, mix, ranges)
	}
}

// compareSums holds exact sums of shares to those of package exact over what Share gives.
func compareSums(t *testing.T, s engine.Summer, b metrix.Batch, mix metrix.Mix, ranges [][2]int) {
	empty := emptyShare(b, mix).grad
	sums := func() engine.Sums {
		return engine.Sums{Rows: make([]int64, len(empty.Rows)), Proxies: make([]int64, len(empty.Proxies)), Mixed: make([]int64, len(empty.Mixed))}
	}
	want, got := sums(), sums()
	for _, r := range ranges {
		x := emptyShare(b, mix)
		var err error
		x.clean, x.mixed, err = s.Share(x.grad, r[0], r[1])
		require.NoError(t, err)
		require.NoError(t, exact.Add(want.Rows, x.grad.Rows, len(ranges)))
		require.NoError(t, exact.Add(want.Proxies, x.grad.Proxies, len(ranges)))
		require.NoError(t, exact.Add(want.Mixed, x.grad.Mixed, len(ranges)))
		clean, mixed, err := s.Sum(r[0], r[1], len(ranges))
		require.NoError(t, err)
		assert.Equal(t, x.clean, clean)
		assert.Equal(t, x.mixed, mixed)
	}
	require.NoError(t, s.Collect(got))
	assert.Equal(t, want, got)
	require.NoError(t, s.Collect(engine.Sums{}), "what nobody wants")
	_, _, err := s.Sum(ranges[0][0], ranges[0][1], 1<<40)
	require.NoError(t, err)
	assert.ErrorIs(t, s.Collect(got), exact.ErrRange, "a limit below every gradient")
}

// closeTo compares by the greatest value.
func closeTo(t *testing.T, want, got []float32, tolerance float64, what string, r [2]int) {
	t.Helper()
	var size, off float64
	for i, w := range want {
		size, off = max(size, math.Abs(float64(w))), max(off, math.Abs(float64(w)-float64(got[i])))
		if got[i] != got[i] {
			off = math.Inf(1)
		}
	}
	assert.LessOrEqual(t, off, tolerance*max(size, 1e-6), "%s, %v: %v", what, r, size)
}
