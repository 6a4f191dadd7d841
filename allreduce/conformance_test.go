package allreduce_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testChunk is the chunk of the tests in bytes: 64 floats, so that 1000 floats are many chunks.
const testChunk = 256

func testConfig(rank, world int) allreduce.Config {
	c := allreduce.DefaultConfig()
	c.Run, c.Generation, c.Rank, c.World = "test", 7, run.Rank(rank), world
	c.ChunkBytes, c.Window, c.Stall = testChunk, 4, 20*time.Second
	return c
}

// opener makes the transports of a world and closes them with the test.
type opener func(t testing.TB, cfgs []allreduce.Config) []allreduce.Transport

func openMemory(t testing.TB, cfgs []allreduce.Config) []allreduce.Transport {
	all := allreduce.Memory(len(cfgs))
	for _, tr := range all {
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
	}
	return all
}

// openNATS gives every rank a connection of its own to srv.
func openNATS(srv *natsd.Server, inProcess bool) opener {
	return func(t testing.TB, cfgs []allreduce.Config) []allreduce.Transport {
		all := make([]allreduce.Transport, len(cfgs))
		for i, cfg := range cfgs {
			nc := connect(t, srv, inProcess)
			tr, err := allreduce.NATS(nc, cfg)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, tr.Close()) })
			all[i] = tr
		}
		return all
	}
}

func connect(t testing.TB, srv *natsd.Server, inProcess bool) *nats.Conn {
	options := allreduce.ConnectOptions()
	if inProcess {
		options = append(options, srv.InProcess())
	}
	nc, err := nats.Connect(srv.URL(), options...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func startServer(t testing.TB) *natsd.Server {
	srv, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, srv.Close()) })
	return srv
}

// rings makes a ring of every rank over open's transports.
func rings(t testing.TB, world int, open opener, change ...func(*allreduce.Config)) []*allreduce.Ring {
	cfgs := make([]allreduce.Config, world)
	for i := range cfgs {
		cfgs[i] = testConfig(i, world)
		for _, f := range change {
			f(&cfgs[i])
		}
	}
	all := make([]*allreduce.Ring, world)
	for i, tr := range open(t, cfgs) {
		ring, err := allreduce.New(cfgs[i], tr)
		require.NoError(t, err)
		all[i] = ring
	}
	return all
}

// together calls f for every rank at once and returns the errors by rank.
func together(all []*allreduce.Ring, f func(rank int, r *allreduce.Ring) error) []error {
	errs := make([]error, len(all))
	var g errgroup.Group
	for i, r := range all {
		g.Go(func() error {
			errs[i] = f(i, r)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return errs
}

func requireNone(t testing.TB, errs []error) {
	t.Helper()
	for rank, err := range errs {
		require.NoError(t, err, "rank %d", rank)
	}
}

// input is the vector of one rank: values whose sum depends on the order of summation.
func input(rank, n int) []float32 {
	r := draw.Of(1, draw.Test, uint64(rank), uint64(n))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Range(-1, 1) * float64(int(1)<<r.IntN(20)))
	}
	return x
}

func inputs(world, n int) [][]float32 {
	x := make([][]float32, world)
	for rank := range x {
		x[rank] = input(rank, n)
	}
	return x
}

// ringSum is the plain reference: segment i is summed from rank i+1 around to rank i.
func ringSum(x [][]float32, parts []int) []float32 {
	world := len(x)
	sum := make([]float32, 0, len(x[0]))
	for i, p := range parts {
		lo := len(sum)
		sum = append(sum, x[(i+1)%world][lo:lo+p]...)
		for h := 2; h <= world; h++ {
			for j, v := range x[(i+h)%world][lo : lo+p] {
				sum[lo+j] += v
			}
		}
	}
	return sum
}

func evenParts(n, world int) []int {
	parts := make([]int, world)
	for i := range n {
		parts[i%world]++
	}
	return parts
}

// unevenParts cuts n so that some parts are empty, some short and one long.
func unevenParts(n, world int) []int {
	parts := make([]int, world)
	parts[world-1] = n
	for i := range world - 1 {
		p := min(parts[world-1], i%3)
		parts[i] = p
		parts[world-1] -= p
	}
	return parts
}

var lengths = []int{0, 1, 2, 3, 7, 1000, 64*4*5*3 + 5}

// TestConformance runs every collective in every world on every transport.
func TestConformance(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{
		"memory":         openMemory,
		"nats tcp":       openNATS(srv, false),
		"nats inprocess": openNATS(srv, true),
	} {
		for world := 1; world <= 5; world++ {
			t.Run(fmt.Sprintf("%s/world %d", name, world), func(t *testing.T) {
				conform(t, rings(t, world, open), world)
			})
		}
	}
}

// conform checks all collectives on one set of rings, one after the other.
func conform(t *testing.T, all []*allreduce.Ring, world int) {
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

func checkAllReduce(t *testing.T, all []*allreduce.Ring, n int) {
	x := inputs(len(all), n)
	want := ringSum(x, evenParts(n, len(all)))
	requireNone(t, together(all, func(rank int, r *allreduce.Ring) error {
		return r.AllReduce(t.Context(), 12, "gradients", x[rank])
	}))
	for rank := range x {
		require.Equal(t, want, x[rank], "all-reduce of %d floats on rank %d", n, rank)
	}
}

func checkReduceScatter(t *testing.T, all []*allreduce.Ring, parts []int) {
	n := total(parts)
	x, own := inputs(len(all), n), inputs(len(all), n)
	sum := ringSum(x, parts)
	requireNone(t, together(all, func(rank int, r *allreduce.Ring) error {
		return r.ReduceScatter(t.Context(), 12, "rows", x[rank], parts)
	}))
	for rank, lo := 0, 0; rank < len(all); lo, rank = lo+parts[rank], rank+1 {
		want := own[rank]
		copy(want[lo:lo+parts[rank]], sum[lo:])
		require.Equal(t, want, x[rank], "reduce-scatter of parts %v on rank %d", parts, rank)
	}
}

func checkAllGather(t *testing.T, all []*allreduce.Ring, parts []int) {
	want := input(99, total(parts))
	x := make([][]float32, len(all))
	for rank, lo := 0, 0; rank < len(all); lo, rank = lo+parts[rank], rank+1 {
		x[rank] = make([]float32, len(want))
		copy(x[rank][lo:lo+parts[rank]], want[lo:])
	}
	requireNone(t, together(all, func(rank int, r *allreduce.Ring) error {
		return r.AllGather(t.Context(), 12, "embeddings", x[rank], parts)
	}))
	for rank := range x {
		require.Equal(t, want, x[rank], "all-gather of parts %v on rank %d", parts, rank)
	}
}

func checkBroadcast(t *testing.T, all []*allreduce.Ring, root, n int) {
	x := inputs(len(all), n)
	want := slices.Clone(x[root])
	requireNone(t, together(all, func(rank int, r *allreduce.Ring) error {
		return r.Broadcast(t.Context(), 12, "parameters", run.Rank(root), x[rank])
	}))
	for rank := range x {
		require.Equal(t, want, x[rank], "broadcast of %d floats from rank %d on rank %d", n, root, rank)
	}
}

// checkBarrier checks that nobody leaves before everybody has entered.
func checkBarrier(t *testing.T, all []*allreduce.Ring) {
	entered := make([]chan struct{}, len(all))
	for i := range entered {
		entered[i] = make(chan struct{})
	}
	requireNone(t, together(all, func(rank int, r *allreduce.Ring) error {
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

func total(parts []int) int {
	n := 0
	for _, p := range parts {
		n += p
	}
	return n
}

// The window bounds what is under way, not what can be sent: 1 is enough for everything.
func TestWindowOfOne(t *testing.T) {
	for _, world := range []int{2, 3, 4} {
		conform(t, rings(t, world, openMemory, func(c *allreduce.Config) { c.Window = 1 }), world)
	}
}

// A vector of several MiB in the chunks of the default configuration, over NATS.
func TestDefaultChunks(t *testing.T) {
	srv := startServer(t)
	all := rings(t, 3, openNATS(srv, false), func(c *allreduce.Config) {
		c.ChunkBytes, c.Window = allreduce.DefaultConfig().ChunkBytes, allreduce.DefaultConfig().Window
	})
	checkAllReduce(t, all, 5<<20+1)
	checkBroadcast(t, all, 1, 3<<20)
	for rank, r := range all {
		s := r.Stats()
		require.Less(t, s.BytesReceived, int64(64<<20), "rank %d", rank)
		require.Greater(t, s.BytesSent, int64(20<<20), "rank %d", rank)
	}
}

