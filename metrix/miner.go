package metrix

import "math"

// Miner chooses pairs of an anchor's clean part from the extent of its similarities: positives
// below the first threshold and negatives above the second are kept, the others weigh nothing.
// The choice is not differentiated. An extent of nothing has min = +Inf and max = -Inf.
type Miner func(positiveMin, positiveMax, negativeMin, negativeMax float64) (positivesBelow, negativesAbove float64)

// MultiSimilarityMiner keeps what is hard relative to the other side (Wang et al. 2019, section 3.3):
// negatives more similar than the least similar positive, positives less similar than the most
// similar negative, each by more than -epsilon. An anchor that lacks one side keeps nothing.
func MultiSimilarityMiner(epsilon float64) Miner {
	return func(positiveMin, _, _, negativeMax float64) (positivesBelow, negativesAbove float64) {
		return negativeMax + epsilon, positiveMin - epsilon
	}
}

// mine sets the label of every pair that is dropped to what weighs nothing: positives (the first,
// len(p) of y) to 0, negatives to 1. It returns the extents of what is kept.
func (e *evaluation) mine(p, n []float64, y []float32) (kept [2]extent) {
	pos, neg := nothing(), nothing()
	pos.add(p)
	neg.add(n)
	if e.form.Miner == nil {
		return [2]extent{pos, neg}
	}
	below, above := e.form.Miner(pos.min, pos.max, neg.min, neg.max)
	kept = [2]extent{nothing(), nothing()}
	for j, s := range p {
		if s < below {
			kept[0].add(p[j : j+1])
		} else {
			y[j] = 0
		}
	}
	for j, s := range n {
		if s > above {
			kept[1].add(n[j : j+1])
		} else {
			y[len(p)+j] = 1
		}
	}
	return kept
}

// empty reports whether nothing was added to e.
func (e extent) empty() bool { return math.IsInf(e.min, 1) }
