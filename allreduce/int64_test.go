package allreduce

import (
	"errors"
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
	for name, open := range map[string]opener{
		"memory": openMemory, "nats": openNATS(srv, false), "shared memory": local(openNATS(srv, false)),
	} {
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
	words := make([]float32, 10)
	x := integers(words)
	copy(x, []int64{1, -1, math.MaxInt64, math.MinInt64, 1 << 40})
	require.Len(t, x, 5)
	sum := slices.Clone(x)
	addInt64(sum, x)
	require.Equal(t, []int64{2, -2, -2, 0, 1 << 41}, sum)
}

// made are integers i*rank that exist only where they are asked for; sums is where their sums go.
type made struct {
	rank int64
	sums []int64
	bad  int // an element that cannot be made, -1 for none
}

var errMade = errors.New("an element cannot be made")

func (m *made) at(lo, n int, do func(i int, v int64)) error {
	for i := range n {
		if lo+i == m.bad {
			return errMade
		}
		do(i, int64(lo+i)*m.rank)
	}
	return nil
}

func (m *made) Load(dst []int64, lo int) error {
	return m.at(lo, len(dst), func(i int, v int64) { dst[i] = v })
}

func (m *made) Add(dst []int64, lo int) error {
	return m.at(lo, len(dst), func(i int, v int64) { dst[i] += v })
}

func (m *made) Finish(others []int64, lo int) error {
	return m.at(lo, len(others), func(i int, v int64) { m.sums[lo+i] = others[i] + v })
}

// Every rank gets the sums of its own part, of integers that nobody holds.
func TestReduceScatterIntegers(t *testing.T) {
	srv := startServer(t)
	for world := 1; world <= 4; world++ {
		all := rings(t, world, local(openNATS(srv, false)))
		for _, parts := range [][]int{evenParts(4001, world), unevenParts(4001, world)} {
			x := make([]*made, world)
			for rank := range x {
				x[rank] = &made{int64(rank + 1), make([]int64, 4001), -1}
			}
			requireNone(t, together(all, func(rank int, r *Ring) error {
				return r.ReduceScatterIntegers(t.Context(), 12, "rows", x[rank], parts)
			}))
			for rank, lo := 0, 0; rank < world; lo, rank = lo+parts[rank], rank+1 {
				want := make([]int64, 4001)
				for i := lo; i < lo+parts[rank]; i++ {
					want[i] = int64(i) * int64(world*(world+1)/2)
				}
				require.Equal(t, want, x[rank].sums, "parts %v on rank %d of %d", parts, rank, world)
			}
		}
	}
}

// An integer that cannot be made ends the collective on all ranks, whoever should have made it.
func TestReduceScatterIntegersThatCannotBeMade(t *testing.T) {
	for _, bad := range []int{0, 500, 999} {
		all := rings(t, 2, openMemory)
		errs := together(all, func(rank int, r *Ring) error {
			m := &made{1, make([]int64, 1000), -1}
			if rank == 0 {
				m.bad = bad
			}
			return r.ReduceScatterIntegers(t.Context(), 12, "rows", m, []int{500, 500})
		})
		require.ErrorIs(t, errs[0], errMade)
		if bad >= 500 { // else rank 1 may have all it needs
			require.ErrorContains(t, errs[1], "rank 0 gave up: an element cannot be made")
		}
	}
	all := rings(t, 1, openMemory)
	require.ErrorIs(t, all[0].ReduceScatterIntegers(t.Context(), 12, "rows", &made{1, make([]int64, 9), 8}, []int{9}), errMade)
}
