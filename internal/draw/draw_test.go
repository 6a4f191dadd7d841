package draw

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first values of a few decisions, recorded: a change here changes every run ever made.
func TestValuesArePartOfWhatASeedMeans(t *testing.T) {
	require.Equal(t, uint64(5350406420556865242), Of(1, ShardDeal, 0).Uint64())
	require.Equal(t, uint64(15756086355651965816), Of(1, Augment, 3, 70, 1).Uint64())
	require.Equal(t, []int{0, 3, 2, 4, 6, 5, 1, 7}, Of(7, ClassOrder, 2).Perm(8))
	require.InDelta(t, 0.27894051975602968, Of(7, Lambda, 12).Beta(2, 2), 1e-15)
}

func TestDecisionsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for seed := uint64(0); seed < 4; seed++ {
		for p := ShardDeal; p <= MixLevel; p++ {
			for _, c := range [][]uint64{nil, {0}, {1}, {0, 0}, {0, 1}, {1, 0}} {
				v := Of(seed, p, c...).Uint64()
				require.Empty(t, seen[v], "seed %d purpose %d counters %v", seed, p, c)
				seen[v] = "taken"
			}
		}
	}
}

func TestMoments(t *testing.T) {
	const n = 200_000
	type moments struct{ mean, variance float64 }
	measure := func(next func(*Rand) float64) moments {
		r := Of(3, Test, 9)
		var sum, sq float64
		for range n {
			x := next(r)
			sum += x
			sq += x * x
		}
		mean := sum / n
		return moments{mean, sq/n - mean*mean}
	}
	check := func(name string, got moments, mean, variance float64) {
		require.InDelta(t, mean, got.mean, 5*math.Sqrt(variance/n), name)
		require.InDelta(t, variance, got.variance, 0.02*variance, name)
	}
	check("uniform", measure((*Rand).Float64), 0.5, 1.0/12)
	check("normal", measure((*Rand).Norm), 0, 1)
	check("Beta(2,2)", measure(func(r *Rand) float64 { return r.Beta(2, 2) }), 0.5, 1.0/20)
	check("Beta(0.4,0.4)", measure(func(r *Rand) float64 { return r.Beta(0.4, 0.4) }), 0.5, 0.25/1.8)
	check("IntN(6)", measure(func(r *Rand) float64 { return float64(r.IntN(6)) }), 2.5, 35.0/12)
}

func TestPermIsAPermutation(t *testing.T) {
	for n := range 20 {
		seen := make([]bool, n)
		for _, v := range Of(5, Test, uint64(n)).Perm(n) {
			require.False(t, seen[v])
			seen[v] = true
		}
	}
}
