package semi

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func forms() map[string]Config {
	angular, margin := DefaultConfig(), DefaultConfig()
	angular.Form, angular.Angle = Angular, 40
	margin.Form, margin.Margin = Margin, 0.4
	return map[string]Config{Angular: angular, Margin: margin}
}

func prepared(t *testing.T, c Config, s scene, threads int) *Loss {
	t.Helper()
	l, err := New(c, threads)
	require.NoError(t, err)
	require.NoError(t, l.Prepare(s.rows, s.labels, s.dim))
	require.NotEmpty(t, l.Triplets())
	return l
}

// The loss of a list of triplets by its formula, with e.g. |n - c|^2 from the law of the median.
func naive(s scene, c Config, triplets []Triplet) float64 {
	row := func(i int32) []float32 { return s.rows[int(i)*s.dim:][:s.dim] }
	var sum float64
	for _, t := range triplets {
		ap := squaredDistance(row(t.Anchor), row(t.Positive))
		an := squaredDistance(row(t.Anchor), row(t.Negative))
		pn := squaredDistance(row(t.Positive), row(t.Negative))
		if c.Form == Margin {
			sum += max(0, math.Sqrt(ap)-math.Sqrt(an)+c.Margin)
			continue
		}
		tan := math.Tan(c.Angle / 180 * math.Pi)
		median := an/2 + pn/2 - ap/4
		sum += math.Log(1 + math.Exp(ap-4*tan*tan*median))
	}
	return sum / float64(len(triplets))
}

func TestLossIsTheFormula(t *testing.T) {
	for name, c := range forms() {
		s := clusters(1, 6, 8, 3, 12, 0.8)
		l := prepared(t, c, s, 1)
		value, err := l.Evaluate(nil, 0, len(s.labels), 0.5)
		require.NoError(t, err)
		require.InDelta(t, 0.5*naive(s, c, l.Triplets()), value, 1e-12, name)
		require.Positive(t, value)
	}
}

// The triplets are constants of the step, so the gradient is that of the formula on them.
func TestGradientIsTheFiniteDifference(t *testing.T) {
	for name, c := range forms() {
		c.Margin = 4 // above all differences of distances: no kinks
		s := clusters(2, 5, 8, 3, 8, 0.9)
		l := prepared(t, c, s, 1)
		grad := make([]float32, len(s.rows))
		_, err := l.Evaluate(grad, 0, len(s.labels), 1)
		require.NoError(t, err)
		widest := 0.0
		for i := range s.rows {
			const step = 1.0 / 512
			kept := s.rows[i]
			s.rows[i] = kept + step
			up, span := naive(s, c, l.Triplets()), float64(s.rows[i])
			s.rows[i] = kept - step
			down := naive(s, c, l.Triplets())
			span -= float64(s.rows[i])
			s.rows[i] = kept
			widest = max(widest, math.Abs((up-down)/span-float64(grad[i])))
		}
		t.Logf("%s: largest difference %.1e", name, widest)
		require.Less(t, widest, 2e-4)
	}
}

func TestSharesOfAnchorsSumToTheWhole(t *testing.T) {
	for name, c := range forms() {
		s := clusters(3, 8, 8, 3, 16, 0.8)
		n := len(s.labels)
		l := prepared(t, c, s, 2)
		whole := make([]float32, len(s.rows))
		want, err := l.Evaluate(whole, 0, n, 0.7)
		require.NoError(t, err)
		for _, parts := range []int{2, 3, 8, n} {
			sum, value := make([]float32, len(s.rows)), 0.0
			for p := range parts {
				v, err := l.Evaluate(sum, n*p/parts, n*(p+1)/parts, 0.7)
				require.NoError(t, err)
				value += v
			}
			require.InDelta(t, want, value, 1e-12, name)
			for i := range whole {
				require.InDelta(t, whole[i], sum[i], 1e-6)
			}
		}
	}
}

// A share has the same bits whatever was evaluated before and on however many threads: what workers
// add does not depend on who owns which shards.
func TestAShareIsAFunctionOfItsArguments(t *testing.T) {
	s := clusters(4, 8, 8, 3, 16, 0.8)
	a, b := prepared(t, DefaultConfig(), s, 1), prepared(t, DefaultConfig(), s, 4)
	require.Equal(t, a.Triplets(), b.Triplets())
	for shard := range 8 {
		one, two := make([]float32, len(s.rows)), make([]float32, len(s.rows))
		x, err := a.Evaluate(one, shard*8, shard*8+8, 1)
		require.NoError(t, err)
		_, err = b.Evaluate(nil, 0, 8*shard, 1)
		require.NoError(t, err)
		y, err := b.Evaluate(two, shard*8, shard*8+8, 1)
		require.NoError(t, err)
		require.Equal(t, x, y)
		require.Equal(t, one, two)
	}
}

func TestOrderOfRowsChangesOnlyTheOrderOfTheGradient(t *testing.T) {
	for name, c := range forms() {
		s := clusters(5, 6, 8, 3, 12, 0.8)
		order := draw.Of(3, draw.Test).Perm(len(s.labels))
		p := s.shuffled(order)
		grad, permuted := make([]float32, len(s.rows)), make([]float32, len(s.rows))
		want, err := prepared(t, c, s, 1).Evaluate(grad, 0, len(order), 1)
		require.NoError(t, err)
		got, err := prepared(t, c, p, 1).Evaluate(permuted, 0, len(order), 1)
		require.NoError(t, err)
		require.InDelta(t, want, got, 1e-12, name)
		for i, row := range order {
			for j := range s.dim {
				require.InDelta(t, grad[row*s.dim+j], permuted[i*s.dim+j], 1e-7)
			}
		}
	}
}

func TestDegenerateBatches(t *testing.T) {
	l, err := New(DefaultConfig(), 1)
	require.NoError(t, err)
	for _, n := range []int{0, 1, 2, 3, 5} {
		s := clusters(1, n, 1, 1, 4, 0.5)
		require.NoError(t, l.Prepare(s.rows, s.labels, 4))
		grad := make([]float32, 4*n)
		value, err := l.Evaluate(grad, 0, n, 1)
		require.NoError(t, err)
		require.False(t, math.IsNaN(value))
	}
}

func TestLossRefuses(t *testing.T) {
	for change, says := range map[*func(c *Config)]string{
		ptr(func(c *Config) { c.Neighbors = 1 }):               "mined among 1 neighbours",
		ptr(func(c *Config) { c.Damping = 1 }):                 "the damping of the propagation is 1",
		ptr(func(c *Config) { c.Form = "quad" }):               `there is no loss form "quad"`,
		ptr(func(c *Config) { c.Form, c.Angle = Angular, 90 }): "the angle of the angular loss is 90",
		ptr(func(c *Config) { c.Form, c.Margin = Margin, -1 }): "the margin of the triplet loss is -1",
	} {
		c := DefaultConfig()
		(*change)(&c)
		_, err := New(c, 1)
		require.ErrorContains(t, err, says)
	}
	l, err := New(DefaultConfig(), 1)
	require.NoError(t, err)
	require.ErrorContains(t, l.Prepare(make([]float32, 7), make([]int32, 4), 2), "4 labels of dimension 2 need 8 floats, got 7")
	s := clusters(1, 4, 4, 2, 4, 0.5)
	require.NoError(t, l.Prepare(s.rows, s.labels, 4))
	_, err = l.Evaluate(nil, 0, 17, 1)
	require.ErrorContains(t, err, "anchors [0, 17) are no range of the 16 rows")
	_, err = l.Evaluate(make([]float32, 3), 0, 4, 1)
	require.ErrorContains(t, err, "the gradient has 3 floats, the rows 64")
}

func ptr[T any](v T) *T { return &v }
