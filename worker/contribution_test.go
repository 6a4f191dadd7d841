package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/exact"
)

// A contribution of sums and of a shard that is not among them gives the ring what both add up to, and
// clips gradients, not the statistics behind them.
func TestContribution(t *testing.T) {
	const n, gradients, clip, shards = 2*blockInts + 77, 2*blockInts + 5, 2, 3
	r := draw.Of(1, draw.Test)
	summed, latest, others := make([]float32, n), make([]float32, n), make([]int64, n)
	for i := range n {
		summed[i], latest[i], others[i] = float32(r.Norm()), float32(r.Norm()), int64(r.Norm()/exact.Unit)
	}
	acc := make([]int64, n)
	require.NoError(t, exact.Add(acc, summed, shards))
	both := append([]int64(nil), acc...)
	require.NoError(t, exact.Add(both, latest, shards))
	alone := make([]int64, n)
	require.NoError(t, exact.Add(alone, latest, shards))

	for name, c := range map[string]struct {
		own  []int64
		from contribution
	}{
		"sums and a shard": {both, contribution{acc: acc, latest: latest}},
		"sums":             {acc, contribution{acc: acc}},
		"a shard":          {alone, contribution{latest: latest}},
	} {
		c.from.shards, c.from.gradients, c.from.clip, c.from.sums = shards, gradients, clip, make([]float32, n)
		const lo = 100
		got := make([]int64, n-lo)
		require.NoError(t, c.from.Load(got, lo))
		require.Equal(t, c.own[lo:], got, name)
		require.NoError(t, c.from.Add(got, lo))
		want, clipped := make([]float32, n), 0
		for i := range n {
			if i >= lo {
				require.Equal(t, 2*c.own[i], got[i-lo], name)
				want[i] = float32(exact.Value(c.own[i] + others[i]))
			}
			if i < gradients && (want[i] > clip || want[i] < -clip) {
				want[i] = min(max(want[i], -clip), clip)
				clipped++
			}
		}
		require.NotZero(t, clipped)
		require.NoError(t, c.from.Finish(append([]int64(nil), others[lo:]...), lo))
		require.Equal(t, want, c.from.sums, name)
	}
}
