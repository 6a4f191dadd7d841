package allreduce

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

// integerInputs are vectors that use all 64 bits, so that carries between the words of a sum show.
func integerInputs(world, n int) [][]int64 {
	out := make([][]int64, world)
	for rank := range out {
		r := draw.Of(1, draw.Test, uint64(rank), uint64(n))
		out[rank] = make([]int64, n)
		for i := range out[rank] {
			out[rank][i] = int64(r.Uint64()) >> 3
		}
	}
	return out
}

func TestReduceScatterInt64(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		for world := 1; world <= 5; world++ {
			t.Run(fmt.Sprintf("%s/world %d", name, world), func(t *testing.T) {
				all := rings(t, world, open)
				for _, n := range []int{0, 1, 3, 1000, 4001} {
					for _, parts := range [][]int{evenParts(n, world), unevenParts(n, world)} {
						checkReduceScatterInt64(t, all, parts)
					}
				}
			})
		}
	}
}

func checkReduceScatterInt64(t *testing.T, all []*Ring, parts []int) {
	n := total(parts)
	x := integerInputs(len(all), n)
	sum := make([]int64, n)
	for _, v := range x {
		for i := range v {
			sum[i] += v[i]
		}
	}
	before := slices.Clone(x)
	for i := range before {
		before[i] = slices.Clone(before[i])
	}
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.ReduceScatterInt64(t.Context(), 12, "rows", x[rank], parts)
	}))
	for rank, lo := 0, 0; rank < len(all); lo, rank = lo+parts[rank], rank+1 {
		want := before[rank]
		copy(want[lo:lo+parts[rank]], sum[lo:])
		require.Equal(t, want, x[rank], "parts %v on rank %d", parts, rank)
	}
}

func TestIntegersSurviveTheOtherByteOrder(t *testing.T) {
	x := []int64{1, -1, math.MaxInt64, math.MinInt64, 1 << 40}
	require.Equal(t, x, integers(pairs(x)))
	sum := slices.Clone(x)
	addInt64(pairs(sum), pairs(x))
	require.Equal(t, []int64{2, -2, -2, 0, 1 << 41}, sum)
}
