package sampler

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

func counts(t *testing.T, shards int, weights ...float64) []int {
	t.Helper()
	ranges, err := Assign(shards, weights)
	require.NoError(t, err)
	out := make([]int, len(ranges))
	next := run.Shard(0)
	for i, r := range ranges {
		require.Equal(t, next, r.First, "ranges are contiguous and in order")
		next += run.Shard(r.Count)
		out[i] = r.Count
	}
	require.Equal(t, run.Shard(shards), next, "every shard has an owner")
	return out
}

func TestAssign(t *testing.T) {
	require.Equal(t, []int{8}, counts(t, 8, 3))
	require.Equal(t, []int{3, 3, 2}, counts(t, 8, 1, 1, 1))
	require.Equal(t, []int{6, 2}, counts(t, 8, 3, 1))
	require.Equal(t, []int{1, 6, 1}, counts(t, 8, 1e-9, 1, 1e-9), "everyone gets at least one")
	require.Equal(t, []int{1, 4, 4, 1}, counts(t, 10, 0.4, 4, 4, 0.4))
	require.Equal(t, []int{1, 1, 1}, counts(t, 3, 5, 1, 100))
	require.Equal(t, []int{2, 1, 1}, counts(t, 4, math.MaxFloat64, math.MaxFloat64, math.MaxFloat64))
}

func TestAssignProperties(t *testing.T) {
	for trial := range uint64(500) {
		r := draw.Of(trial, draw.Test, 2)
		shards := 1 + r.IntN(64)
		weights := make([]float64, 1+r.IntN(shards))
		sum := 0.0
		for i := range weights {
			weights[i] = math.Exp(r.Range(-3, 3))
			sum += weights[i]
		}
		got := counts(t, shards, weights...)
		for i, n := range got {
			require.GreaterOrEqual(t, n, 1)
			fair := float64(shards) * weights[i] / sum
			require.Less(t, float64(n), fair+1+1e-9, "nobody gets more than a fair share rounded up, or one")
			for j := range got {
				if weights[i] > weights[j] {
					require.GreaterOrEqual(t, n, got[j], "a faster worker gets no less")
				}
			}
		}
		equal := make([]float64, len(weights))
		for i := range equal {
			equal[i] = 0.1
		}
		got = counts(t, shards, equal...)
		require.LessOrEqual(t, got[0]-got[len(got)-1], 1)
	}
}

func TestAssignRefuses(t *testing.T) {
	for _, c := range []struct {
		shards  int
		weights []float64
		says    string
	}{
		{0, []float64{1}, "0 shards cannot be assigned"},
		{4, nil, "4 shards cannot be assigned to no workers"},
		{2, []float64{1, 1, 1}, "3 workers are too many for 2 shards"},
		{2, []float64{1, 0}, "the weight of worker 1 is 0: it must be a positive finite number"},
		{2, []float64{math.NaN()}, "the weight of worker 0 is NaN"},
		{2, []float64{math.Inf(1)}, "the weight of worker 0 is +Inf"},
	} {
		_, err := Assign(c.shards, c.weights)
		require.ErrorContains(t, err, c.says)
	}
}
