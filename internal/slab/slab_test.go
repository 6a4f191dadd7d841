package slab

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func TestTheLowestGapIsTaken(t *testing.T) {
	at, size := Plan([]Span{{10, 0, 1}, {20, 0, 5}, {10, 2, 5}, {15, 4, 6}, {5, 6, 6}}, 8)
	assert.Equal(t, []int64{0, 16, 0, 40, 0}, at, "the third fits where the first was, the fourth not")
	assert.Equal(t, int64(56), size)
	at, size = Plan(nil, 8)
	assert.Empty(t, at)
	assert.Zero(t, size)
}

// Spans in any order, of any size, never meet, and the slab is as large as it must be for the largest
// moment at least.
func TestSpansInUseDoNotOverlap(t *testing.T) {
	for seed := range uint64(50) {
		r := draw.Of(seed, draw.Test)
		const alignment, steps = 16, 30
		spans, busiest := make([]Span, 1+r.IntN(40)), int64(0)
		for i := range spans {
			first := r.IntN(steps)
			spans[i] = Span{int64(r.IntN(100)), first, first + r.IntN(6)}
		}
		kept := slices.Clone(spans)
		at, size := Plan(spans, alignment)
		require.Equal(t, kept, spans)
		for step := range steps {
			sum := int64(0)
			for i, a := range spans {
				require.Zero(t, at[i]%alignment)
				require.LessOrEqual(t, at[i]+a.Bytes, size)
				if a.First > step || a.Last < step {
					continue
				}
				sum += a.Bytes
				for j, b := range spans[:i] {
					if b.First <= step && b.Last >= step {
						require.True(t, at[i] >= at[j]+b.Bytes || at[j] >= at[i]+a.Bytes, "spans %d and %d", i, j)
					}
				}
			}
			busiest = max(busiest, sum)
		}
		require.GreaterOrEqual(t, size, busiest)
		again, _ := Plan(spans, alignment)
		require.Equal(t, at, again)
	}
}
