package semi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The paper's picture: of four neighbours the two of greater affinity are pulled, the others pushed.
func TestHalvesOfTheNeighbourhoodMakeTriplets(t *testing.T) {
	mine := func(labels ...int32) []Triplet {
		a := &Affinity{labels: labels, width: 1, mass: make([]float64, 5),
			reach: []float64{0.5, 0.1, 0.7, 0.4, 0.6}} // F[0,j] is reach[j]
		return a.mine(nil, 0, []int32{1, 2, 3, 4}, make([]float64, 5), false)
	}
	require.Equal(t, []Triplet{{0, 2, 3}, {0, 4, 1}}, mine(-1, -1, -1, -1, -1), "2 4 | 3 1")
	require.Equal(t, []Triplet{{0, 2, 1}, {0, 4, 3}}, mine(7, -1, 7, 8, -1), "2, known to be the same, comes first; 3 last")
	require.Equal(t, []Triplet{{0, 2, 4}}, mine(7, 7, 7, 7, -1), "1 is not pushed away from 3, which is of the class")
	require.Equal(t, []Triplet{{0, 4, 2}}, mine(7, 8, 8, 8, -1), "only 4 can be pulled")

	a := &Affinity{labels: []int32{-1, -1, -1, -1}, width: 1, mass: make([]float64, 4), reach: []float64{0.5, 0.1, 0.7, 0.4}}
	odd := a.mine(nil, 0, []int32{1, 2, 3}, make([]float64, 4), false)
	require.Equal(t, []Triplet{{0, 2, 1}}, odd, "the middle one is left out")
	require.Empty(t, a.mine(nil, 0, []int32{1, 2, 3}, make([]float64, 4), true), "no affinity is below 0")
}

func TestTripletsNeverContradictLabels(t *testing.T) {
	for seed := range uint64(20) {
		s := clusters(seed, 6, 8, 4, 6, 1.5) // hardly separable
		g, a := s.propagate(t, 10, 0.9)
		for _, signed := range []bool{false, true} {
			last := int32(0)
			for _, tr := range Mine(g, a, signed) {
				l := func(i int32) int32 { return s.labels[i] }
				require.False(t, l(tr.Anchor) >= 0 && l(tr.Positive) >= 0 && l(tr.Anchor) != l(tr.Positive))
				require.False(t, l(tr.Anchor) >= 0 && l(tr.Anchor) == l(tr.Negative))
				require.Greater(t, a.Between(int(tr.Anchor), int(tr.Positive)), a.Between(int(tr.Anchor), int(tr.Negative)))
				require.GreaterOrEqual(t, tr.Anchor, last, "ordered by anchor")
				last = tr.Anchor
			}
		}
	}
}

// What mining is worth, on batches of 8 classes with 3 labelled and 5 unlabelled rows each, and on the
// same with 24 unlabelled strangers, each of a class of its own: all triplets of a stranger are wrong.
func TestSignedTripletsAreRightMoreOften(t *testing.T) {
	for _, strangers := range []int{0, 24} {
		var right, count [2]float64
		for seed := range uint64(10) {
			s := clusters(seed, 8, 8, 3, 32, 0.7)
			s.add(clusters(seed+100, strangers, 1, 0, 32, 0.7))
			g, a := s.propagate(t, 10, 0.5)
			for i, signed := range []bool{false, true} {
				triplets := Mine(g, a, signed)
				right[i] += s.right(triplets) / 10
				count[i] += float64(len(triplets)) / 10
			}
		}
		require.Greater(t, right[1], right[0]+0.15)
		t.Logf("%d strangers: right are %.2f of %.0f triplets by halves, %.2f of %.0f signed", strangers, right[0], count[0], right[1], count[1])
	}
}
