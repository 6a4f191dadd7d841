package semi

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// sized makes classes of the given sizes.
func sized(sizes ...int) [][]int {
	out, next := make([][]int, len(sizes)), 0
	for c, n := range sizes {
		for range n {
			out[c] = append(out[c], next)
			next++
		}
	}
	return out
}

func TestSplitKeepsTheFractionOfEachClass(t *testing.T) {
	for fraction, want := range map[float64][]int{
		0.1: {1, 2, 2, 2, 2, 3, 10}, // at least 2 where there are 2; 2.5 is rounded up
		0.3: {1, 2, 2, 3, 6, 8, 30},
		1:   {1, 2, 5, 10, 20, 25, 100},
	} {
		classes := sized(1, 2, 5, 10, 20, 25, 100)
		s, err := SplitLabels(3, fraction, 2, classes)
		require.NoError(t, err)
		total := 0
		for c, kept := range s.Classes {
			require.Len(t, kept, want[c], "fraction %v, class %d", fraction, c)
			require.Subset(t, classes[c], kept)
			require.True(t, slices.IsSorted(kept))
			total += want[c]
		}
		require.Equal(t, total, s.Labels())
		all := append(slices.Concat(s.Classes...), s.Unlabelled...)
		slices.Sort(all)
		require.Equal(t, slices.Concat(classes...), all, "every image is labelled or unlabelled")
	}
}

func TestSplitDependsOnSeedAndClassAlone(t *testing.T) {
	classes := sized(20, 20, 20)
	want, err := SplitLabels(1, 0.3, 2, classes)
	require.NoError(t, err)
	mixed := make([][]int, len(classes))
	for c, images := range classes {
		for _, i := range draw.Of(9, draw.Test).Perm(len(images)) {
			mixed[c] = append(mixed[c], images[i])
		}
	}
	got, err := SplitLabels(1, 0.3, 2, mixed)
	require.NoError(t, err)
	require.Equal(t, want, got)
	other, err := SplitLabels(2, 0.3, 2, classes)
	require.NoError(t, err)
	require.NotEqual(t, want, other)
	less, err := SplitLabels(1, 0.1, 2, classes)
	require.NoError(t, err)
	for c := range classes {
		require.Subset(t, want.Classes[c], less.Classes[c], "more labels keep those of fewer")
	}
}

// Every image of a class is as likely as any other to keep its label.
func TestSplitIsFair(t *testing.T) {
	kept := make([]int, 10)
	for seed := range uint64(2000) {
		s, err := SplitLabels(seed, 0.3, 2, sized(10))
		require.NoError(t, err)
		for _, image := range s.Classes[0] {
			kept[image]++
		}
	}
	for _, n := range kept {
		require.InDelta(t, 600, n, 100) // five standard deviations
	}
}

// What a seed means does not change.
func TestSplitRecorded(t *testing.T) {
	s, err := SplitLabels(42, 0.3, 2, sized(4, 7, 1))
	require.NoError(t, err)
	require.Equal(t, Split{Classes: [][]int{{0, 3}, {4, 10}, {11}}, Unlabelled: []int{1, 2, 5, 6, 7, 8, 9}}, s)
}

func TestSplitRefuses(t *testing.T) {
	for _, f := range []float64{0, -1, 1.1, math.NaN()} {
		_, err := SplitLabels(1, f, 2, sized(3))
		require.ErrorContains(t, err, "it must be above 0 and at most 1")
	}
	_, err := SplitLabels(1, 0.5, 0, sized(3))
	require.ErrorContains(t, err, "at least 0 labels per class asked for")
	_, err = SplitLabels(1, 0.5, 1, sized(3, 0))
	require.ErrorContains(t, err, "class 1 has no images")
}
