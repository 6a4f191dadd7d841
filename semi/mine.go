package semi

import (
	"cmp"
	"slices"
)

// Triplet says that row Anchor should be nearer to Positive than to Negative.
type Triplet struct{ Anchor, Positive, Negative int32 }

// Mine returns the triplets of all rows, ordered by anchor. The k neighbours of an anchor are sorted
// by their affinity to it, highest first, ties nearer first; the first half are positives, the last
// half negatives, and the i-th of each make a triplet:
//
//	neighbours by affinity   n1 n2 n3 n4      (k = 4; of an odd k the middle one is left out)
//	triplets                 (a, n1, n3) (a, n2, n4)
//
// A triplet is left out if its two affinities are equal, as where no label has reached, or if labels
// contradict it: a positive known to be of another class, a negative known to be of the same. With
// signed only those stay whose positive has an affinity above 0 and whose negative one below.
func Mine(g *Graph, a *Affinity, signed bool) []Triplet {
	var out []Triplet
	affinity := make([]float64, g.Rows())
	for anchor := range g.Rows() {
		out = a.mine(out, int32(anchor), slices.Clone(g.of(anchor)), affinity, signed)
	}
	return out
}

// mine appends the triplets of one anchor to dst. It sorts the neighbours, nearest first, and uses
// affinity, one value per row, as workspace.
func (a *Affinity) mine(dst []Triplet, anchor int32, neighbors []int32, affinity []float64, signed bool) []Triplet {
	for _, j := range neighbors {
		affinity[j] = a.Between(int(anchor), int(j))
	}
	slices.SortStableFunc(neighbors, func(i, j int32) int { return cmp.Compare(affinity[j], affinity[i]) })
	half := len(neighbors) / 2
	negatives := neighbors[len(neighbors)-half:]
	for i := range half {
		t := Triplet{anchor, neighbors[i], negatives[i]}
		near, far := affinity[t.Positive], affinity[t.Negative]
		if near > far && !a.contradicts(t) && (!signed || near > 0 && far < 0) {
			dst = append(dst, t)
		}
	}
	return dst
}

// contradicts reports whether known labels say otherwise than t.
func (a *Affinity) contradicts(t Triplet) bool {
	anchor, positive, negative := a.labels[t.Anchor], a.labels[t.Positive], a.labels[t.Negative]
	return anchor >= 0 && (positive >= 0 && positive != anchor || negative == anchor)
}
