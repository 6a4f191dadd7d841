package metrix_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// minedLoss is the multi-similarity loss over mined pairs as its paper has it (equations 7, 8 and 15),
// in float64; its mixed part is not mined.
func minedLoss(p problem, beta, gamma, margin, epsilon float64) float64 {
	rows, labels := p.ends(metrix.Example)
	var sum float64
	for a := range rows {
		least, most := math.Inf(1), math.Inf(-1)
		for i := range rows {
			switch s := inner(rows[a], rows[i]); {
			case labels[i] != labels[a]:
				most = max(most, s)
			case i != a:
				least = min(least, s)
			}
		}
		var pos, neg float64
		for i := range rows {
			switch s := inner(rows[a], rows[i]); {
			case labels[i] != labels[a] && s > least-epsilon:
				neg += math.Exp(gamma * (s - margin))
			case labels[i] == labels[a] && i != a && s < most+epsilon:
				pos += math.Exp(-beta * (s - margin))
			}
		}
		sum += math.Log1p(pos)/beta + math.Log1p(neg)/gamma
	}
	return sum / float64(len(rows))
}

// Value and gradient over mined pairs; the mixed part is what it is without a miner.
func TestMinedPairsMatchTheFormula(t *testing.T) {
	p := random(5, []int32{0, 1, 0, 2, 1, 0, 3, 2, 2, 1}, 5, 6)
	for _, epsilon := range []float64{-0.2, 0, 0.1, 0.4, 5} {
		params := map[string]float64{"beta": 2, "gamma": 20, "margin": 0.4, "miner": 1, "epsilon": epsilon}
		total := func() float64 { return minedLoss(p, 2, 20, 0.4, epsilon) }
		v, x, _ := evaluate(t, loss(t, form(t, "multi_similarity", params), 2), p, metrix.Mix{})
		require.InDelta(t, total(), v.Total, 1e-6)
		require.Less(t, distance(differences(p.x, total), x), 1e-5)

		mix := metrix.Mix{Weight: 0.4, Lambda: 0.3}
		with, _, _ := evaluate(t, loss(t, form(t, "multi_similarity", params), 1), p, mix)
		delete(params, "miner")
		without, _, _ := evaluate(t, loss(t, form(t, "multi_similarity", params), 1), p, mix)
		require.Equal(t, without.Mixed, with.Mixed)
	}
}

// Nothing kept, with slopes whose exponentials overflow: the part is missing, not NaN.
func TestMinerThatKeepsNothing(t *testing.T) {
	p := problem{x: [][]float64{{1, 0}, {1, 0.01}, {-1, 0}, {-1, 0.01}}, labels: []int32{0, 0, 1, 1}}
	f := form(t, "multi_similarity", map[string]float64{"beta": 1e4, "gamma": 1e4, "margin": 0, "miner": 1, "epsilon": 0})
	v, x, _ := evaluate(t, loss(t, f, 1), p, metrix.Mix{})
	require.Zero(t, v.Total)
	require.Equal(t, make([]float32, len(x)), x)
}
