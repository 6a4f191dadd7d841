package allreduce

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

var lengths = []int{0, 1, 2, 3, 7, 1000, 64*4*5*3 + 5}

// TestConformance runs every collective in every world on every transport.
func TestConformance(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{
		"memory":         openMemory,
		"nats tcp":       openNATS(srv, false),
		"nats inprocess": openNATS(srv, true),
		"shared memory":  local(openNATS(srv, false)),
	} {
		for world := 1; world <= 5; world++ {
			t.Run(fmt.Sprintf("%s/world %d", name, world), func(t *testing.T) {
				conform(t, rings(t, world, open), world)
			})
		}
	}
}

// conform checks all collectives on one set of rings, one after the other.
func conform(t *testing.T, all []*Ring, world int) {
	for _, n := range lengths {
		checkAllReduce(t, all, n)
		for _, parts := range [][]int{evenParts(n, world), unevenParts(n, world)} {
			checkReduceScatter(t, all, parts)
			checkAllGather(t, all, parts)
		}
		for root := range world {
			checkBroadcast(t, all, root, n)
		}
		checkBarrier(t, all)
	}
}

func checkAllReduce(t *testing.T, all []*Ring, n int) {
	x := inputs(len(all), n)
	want := ringSum(x, evenParts(n, len(all)))
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.AllReduce(t.Context(), 12, "gradients", x[rank])
	}))
	for rank := range x {
		requireSame(t, want, x[rank], "all-reduce of %d floats on rank %d", n, rank)
	}
}

func checkReduceScatter(t *testing.T, all []*Ring, parts []int) {
	n := total(parts)
	x, own := inputs(len(all), n), inputs(len(all), n)
	sum := ringSum(x, parts)
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.ReduceScatter(t.Context(), 12, "rows", x[rank], parts)
	}))
	for rank, lo := 0, 0; rank < len(all); lo, rank = lo+parts[rank], rank+1 {
		want := own[rank]
		copy(want[lo:lo+parts[rank]], sum[lo:])
		requireSame(t, want, x[rank], "reduce-scatter of parts %v on rank %d", parts, rank)
	}
}

func checkAllGather(t *testing.T, all []*Ring, parts []int) {
	want := input(99, total(parts))
	x := make([][]float32, len(all))
	for rank, lo := 0, 0; rank < len(all); lo, rank = lo+parts[rank], rank+1 {
		x[rank] = make([]float32, len(want))
		copy(x[rank][lo:lo+parts[rank]], want[lo:])
	}
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.AllGather(t.Context(), 12, "embeddings", x[rank], parts)
	}))
	for rank := range x {
		requireSame(t, want, x[rank], "all-gather of parts %v on rank %d", parts, rank)
	}
}

func checkBroadcast(t *testing.T, all []*Ring, root, n int) {
	x := inputs(len(all), n)
	want := slices.Clone(x[root])
	requireNone(t, together(all, func(rank int, r *Ring) error {
		return r.Broadcast(t.Context(), 12, "parameters", run.Rank(root), x[rank])
	}))
	for rank := range x {
		requireSame(t, want, x[rank], "broadcast of %d floats from rank %d on rank %d", n, root, rank)
	}
}

// checkBarrier checks that nobody leaves before everybody has entered.
func checkBarrier(t *testing.T, all []*Ring) {
	entered := make([]chan struct{}, len(all))
	for i := range entered {
		entered[i] = make(chan struct{})
	}
	requireNone(t, together(all, func(rank int, r *Ring) error {
		close(entered[rank])
		if err := r.Barrier(t.Context(), 12, "end"); err != nil {
			return err
		}
		for other, ch := range entered {
			select {
			case <-ch:
			default:
				return fmt.Errorf("rank %d left the barrier before rank %d entered", rank, other)
			}
		}
		return nil
	}))
}

// The window bounds what is under way, not what can be sent: 1 is enough for everything.
func TestWindowOfOne(t *testing.T) {
	for _, world := range []int{2, 3, 4} {
		conform(t, rings(t, world, openMemory, func(c *Config) { c.Window = 1 }), world)
	}
}

// A vector of several MiB in the chunks of the default configuration, over NATS.
func TestDefaultChunks(t *testing.T) {
	srv := startServer(t)
	all := rings(t, 3, openNATS(srv, false), func(c *Config) {
		c.ChunkBytes, c.Window = DefaultConfig().ChunkBytes, DefaultConfig().Window
	})
	checkAllReduce(t, all, 5<<18+1)
	checkBroadcast(t, all, 1, 3<<18)
	for rank, r := range all {
		s := r.Stats()
		require.Less(t, s.BytesReceived, int64(16<<20), "rank %d", rank)
		require.Greater(t, s.BytesSent, int64(5<<20), "rank %d", rank)
	}
}
