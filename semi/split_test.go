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

func counts(s Split) []int {
	out := make([]int, len(s.Classes))
	for c, list := range s.Classes {
		out[c] = len(list)
	}
	return out
}

func TestSplitKeepsTheFractionOfLargeClasses(t *testing.T) {
	classes := sized(20, 25, 100, 59, 30)
	for fraction, whole := range map[float64][]int{0.1: {2, 2, 10, 5, 3}, 0.3: {6, 7, 30, 17, 9}, 1: {20, 25, 100, 59, 30}} {
		s, err := SplitLabels(3, fraction, 2, classes)
		require.NoError(t, err)
		require.Equal(t, int(fraction*234+0.5), s.Labels())
		for c, n := range counts(s) {
			require.GreaterOrEqual(t, n, whole[c])
			require.LessOrEqual(t, n, whole[c]+1, "one more where the sum of the whole parts is short")
			require.Subset(t, classes[c], s.Classes[c])
			require.True(t, slices.IsSorted(s.Classes[c]))
		}
		all := append(slices.Concat(s.Classes...), s.Unlabelled...)
		slices.Sort(all)
		require.Equal(t, slices.Concat(classes...), all, "every image is labelled or unlabelled")
	}
}

// Our icons: 10 and 30 % of classes of 6 cannot be pairs in every class.
func TestSplitGivesPairsToSomeOfManySmallClasses(t *testing.T) {
	sizes := slices.Repeat([]int{6}, 200)
	for fraction, labelled := range map[float64]int{0.1: 60, 0.3: 180} {
		s, err := SplitLabels(3, fraction, 2, sized(sizes...))
		require.NoError(t, err)
		require.Equal(t, 2*labelled, s.Labels())
		pairs := 0
		for _, n := range counts(s) {
			require.Contains(t, []int{0, 2}, n)
			pairs += n / 2
		}
		require.Equal(t, labelled, pairs)
	}
	s, err := SplitLabels(3, 1, 2, sized(1, 1, 2, 2))
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 2, 2}, counts(s), "a class with fewer images than least is labelled whole")
}

func TestSplitKeepsTheFractionOfAnySet(t *testing.T) {
	for trial := range uint64(300) {
		r := draw.Of(trial, draw.Test)
		sizes := make([]int, 1+r.IntN(40))
		for c := range sizes {
			sizes[c] = 3 + r.IntN(1+r.IntN(60))
		}
		classes, fraction := sized(sizes...), r.Range(0.05, 1)
		images := len(slices.Concat(classes...))
		want := int(math.Floor(fraction*float64(images) + 0.5))
		if want < 4 {
			continue
		}
		s, err := SplitLabels(trial, fraction, 2, classes)
		require.NoError(t, err)
		require.InDelta(t, want, s.Labels(), 1)
		for _, n := range counts(s) {
			require.NotEqual(t, 1, n, "a single label makes no pair")
		}
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
	require.Equal(t, Split{Classes: [][]int{{0, 3}, {4, 10}, nil}, Unlabelled: []int{1, 2, 5, 6, 7, 8, 9, 11}}, s)
}

func TestSplitRefuses(t *testing.T) {
	for _, f := range []float64{0, -1, 1.1, math.NaN()} {
		_, err := SplitLabels(1, f, 2, sized(3))
		require.ErrorContains(t, err, "it must be above 0 and at most 1")
	}
	_, err := SplitLabels(1, 0.5, 0, sized(3))
	require.ErrorContains(t, err, "at least 0 labels per labelled class asked for")
	_, err = SplitLabels(1, 0.5, 1, sized(3, 0))
	require.ErrorContains(t, err, "class 1 has no images")
	_, err = SplitLabels(1, 0.1, 2, sized(3, 3))
	require.ErrorContains(t, err, "0.1 of 6 images is too few for a class with 2 labels")
}
