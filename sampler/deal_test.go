package sampler

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// TestDealIsBalanced checks on random sets that class counts differ by at most 1 and image counts
// by at most the size of one class, and that every class is dealt once.
func TestDealIsBalanced(t *testing.T) {
	widest := 0.0
	for trial := range uint64(400) {
		r := draw.Of(trial, draw.Test)
		shards := 1 + r.IntN(12)
		sizes := make([]int, shards+r.IntN(80))
		largest := 0
		for c := range sizes {
			sizes[c] = 1 + r.IntN(1+r.IntN(60))
			if r.IntN(20) == 0 {
				sizes[c] *= 10
			}
			largest = max(largest, sizes[c])
		}
		hands := deal(trial, int(trial%3), sizes, shards)
		require.Len(t, hands, shards)

		dealt := make([]bool, len(sizes))
		lowClasses, highClasses := len(sizes), 0
		lowImages, highImages := 1<<30, 0
		for _, hand := range hands {
			images := 0
			for _, class := range hand {
				require.False(t, dealt[class])
				dealt[class] = true
				images += sizes[class]
			}
			lowClasses, highClasses = min(lowClasses, len(hand)), max(highClasses, len(hand))
			lowImages, highImages = min(lowImages, images), max(highImages, images)
		}
		require.NotContains(t, dealt, false)
		require.LessOrEqual(t, highClasses-lowClasses, 1)
		require.LessOrEqual(t, highImages-lowImages, largest)
		widest = max(widest, float64(highImages-lowImages)/float64(largest))
	}
	t.Logf("widest spread of images: %.2f of the largest class", widest)
}

// Two classes that always shared a shard could not meet in a batch of one class per shard.
func TestDealSeparatesAnyTwoClassesInSomeEpoch(t *testing.T) {
	sizes := make([]int, 12)
	for c := range sizes {
		sizes[c] = 100 * (c + 1) // no ties to shuffle
	}
	var met [12][12]bool
	for epoch := range 60 {
		for i, hand := range deal(3, epoch, sizes, 4) {
			for j, other := range deal(3, epoch, sizes, 4) {
				for _, a := range hand {
					for _, b := range other {
						met[a][b] = met[a][b] || i != j
					}
				}
			}
		}
	}
	for a := range met {
		for b := range met[a] {
			require.True(t, a == b || met[a][b], "classes %d and %d always share a shard", a, b)
		}
	}
}
