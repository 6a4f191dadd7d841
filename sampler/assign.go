package sampler

import (
	"fmt"
	"math"
	"slices"

	"github.com/metrixml/metrix/run"
)

// Assign gives worker i a contiguous range of the shards, in proportion to weights[i] (its speed, in
// any unit) by the method of the largest remainder; ties go to the lower index. Every worker gets at
// least one shard: those whose share is below one get exactly one, and the others divide the rest.
// There must be 1 to shards workers, with positive finite weights.
func Assign(shards int, weights []float64) ([]run.Shards, error) {
	if err := checkAssign(shards, weights); err != nil {
		return nil, err
	}
	counts := quotas(shards, weights)
	out := make([]run.Shards, len(weights))
	first := run.Shard(0)
	for i, n := range counts {
		out[i] = run.Shards{First: first, Count: n}
		first += run.Shard(n)
	}
	return out, nil
}

func checkAssign(shards int, weights []float64) error {
	switch workers := len(weights); {
	case shards < 1:
		return fmt.Errorf("sampler: %d shards cannot be assigned: a run has at least 1", shards)
	case workers == 0:
		return fmt.Errorf("sampler: %d shards cannot be assigned to no workers: wait for one to join", shards)
	case workers > shards:
		return fmt.Errorf("sampler: %d workers are too many for %d shards: every worker needs one, "+
			"so start at most %d workers or raise the shards of the recipe", workers, shards, shards)
	}
	for i, w := range weights {
		if !(w > 0) || math.IsInf(w, 1) {
			return fmt.Errorf("sampler: the weight of worker %d is %v: it must be a positive finite number", i, w)
		}
	}
	return nil
}

// quotas returns how many shards each worker gets.
func quotas(shards int, weights []float64) []int {
	counts := make([]int, len(weights))
	largest := slices.Max(weights)
	// The conversion keeps a compiler from fusing the product into a later sum, which some
	// architectures do: all coordinators must come to the same shares.
	share := func(left int, sum float64, i int) float64 {
		return float64(float64(left) * (weights[i] / largest / sum))
	}

	// Workers below one shard leave with one; that shrinks the others' shares, so look again.
	open := make([]int, len(weights))
	for i := range open {
		open[i] = i
	}
	left, sum := shards, 0.0
	for {
		sum = 0
		for _, i := range open {
			sum += weights[i] / largest
		}
		kept := slices.DeleteFunc(slices.Clone(open), func(i int) bool { return share(left, sum, i) < 1 })
		if len(kept) == len(open) || len(kept) == 0 {
			break
		}
		for _, i := range open {
			if !slices.Contains(kept, i) {
				counts[i] = 1
			}
		}
		left -= len(open) - len(kept)
		open = kept
	}
	largestRemainder(counts, open, left, func(i int) float64 { return share(left, sum, i) })
	return counts
}

// largestRemainder adds left shards to the open workers' counts: the whole part of each share (at
// least one), then one more to those with the largest fractions until nothing is left.
func largestRemainder(counts, open []int, left int, share func(i int) float64) {
	fraction := make([]float64, len(counts))
	for _, i := range open {
		whole := math.Floor(share(i))
		fraction[i] = share(i) - whole
		counts[i] = max(1, int(whole))
		left -= counts[i]
	}
	slices.SortStableFunc(open, func(a, b int) int {
		switch {
		case fraction[a] > fraction[b]:
			return -1
		case fraction[a] < fraction[b]:
			return 1
		}
		return a - b
	})
	for n := 0; left > 0; n++ {
		counts[open[n%len(open)]]++
		left--
	}
}
