package metrix

import "slices"

// hit is a negative with its similarity to the anchor.
type hit struct {
	similarity float32
	position   int
	index      int // in the batch, which decides ties
}

// easier reports whether a is dropped before b: less similar, or as similar and later in the batch.
func easier(a, b hit) bool {
	if a.similarity != b.similarity {
		return a.similarity < b.similarity
	}
	return a.index > b.index
}

// mixedNegatives returns the negatives that are mixed: N(a), or the hardest k of it as runs of
// positions in ascending order. The choice is not differentiated.
func (e *evaluation) mixedNegatives(sc *scratch, v view) []span {
	negatives := before(v.negatives, e.mixed)
	k := e.mix.Hardest
	if k <= 0 || k >= total(negatives) {
		return negatives
	}
	sc.heap = sc.heap[:0]
	for _, n := range negatives {
		for j := n.lo; j < n.hi; j++ {
			index := j // memory rows count on from the batch
			if j < len(e.order) {
				index = e.order[j]
			}
			sc.keep(hit{v.h[j], j, index}, k)
		}
	}
	return sc.runs()
}

// keep offers x to the k hardest so far: a heap with the easiest of them on top.
func (sc *scratch) keep(x hit, k int) {
	h := sc.heap
	if len(h) < k {
		h = append(h, x)
		for i := len(h) - 1; i > 0 && easier(h[i], h[(i-1)/2]); i = (i - 1) / 2 {
			h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		}
		sc.heap = h
		return
	}
	if !easier(h[0], x) {
		return
	}
	h[0] = x
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && easier(h[child+1], h[child]) {
			child++
		}
		if !easier(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// runs turns the kept negatives into runs of neighbouring positions.
func (sc *scratch) runs() []span {
	slices.SortFunc(sc.heap, func(a, b hit) int { return a.position - b.position })
	sc.negatives = sc.negatives[:0]
	for _, x := range sc.heap {
		if n := len(sc.negatives); n > 0 && sc.negatives[n-1].hi == x.position {
			sc.negatives[n-1].hi++
			continue
		}
		sc.negatives = append(sc.negatives, span{x.position, x.position + 1})
	}
	return sc.negatives
}
