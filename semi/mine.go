package semi

import "slices"

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
	half := g.K / 2
	order := make([]int32, g.K)
	affinity := make([]float64, g.Rows()) // valid at the anchor's neighbours
	for anchor := range g.Rows() {
		copy(order, g.of(anchor))
		for _, j := range order {
			affinity[j] = a.Between(anchor, int(j))
		}
		slices.SortStableFunc(order, func(i, j int32) int {
			switch {
			case affinity[i] > affinity[j]:
				return -1
			case affinity[i] < affinity[j]:
				return 1
			}
			return 0
		})
		for i := range half {
			t := Triplet{int32(anchor), order[i], order[g.K-half+i]}
			toPositive, toNegative := affinity[t.Positive], affinity[t.Negative]
			if !(toPositive > toNegative) || a.contradicts(t) || signed && !(toPositive > 0 && toNegative < 0) {
				continue
			}
			out = append(out, t)
		}
	}
	return out
}

// contradicts reports whether known labels say otherwise than t.
func (a *Affinity) contradicts(t Triplet) bool {
	anchor, positive, negative := a.labels[t.Anchor], a.labels[t.Positive], a.labels[t.Negative]
	return anchor >= 0 && (positive >= 0 && positive != anchor || negative == anchor)
}
