package allreduce

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

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testChunk is the chunk of the tests in bytes: 64 floats, so that 1000 floats are many chunks.
const testChunk = 256

func testConfig(rank, world int) Config {
	c := DefaultConfig()
	c.Run, c.Generation, c.Rank, c.World = "test", 7, run.Rank(rank), world
	c.ChunkBytes, c.Window, c.Stall = testChunk, 4, 20*time.Second
	return c
}

// opener makes the transports of a world and closes them with the test.
type opener func(t testing.TB, cfgs []Config) []Transport

func openMemory(t testing.TB, cfgs []Config) []Transport {
	all := Memory(len(cfgs))
	for _, tr := range all {
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
	}
	return all
}

// openNATS gives every rank a connection of its own to srv.
func openNATS(srv *natsd.Server, inProcess bool) opener {
	return func(t testing.TB, cfgs []Config) []Transport {
		all := make([]Transport, len(cfgs))
		for i, cfg := range cfgs {
			nc := connect(t, srv, inProcess)
			tr, err := NATS(nc, cfg)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, tr.Close()) })
			all[i] = tr
		}
		return all
	}
}

func connect(t testing.TB, srv *natsd.Server, inProcess bool) *nats.Conn {
	options := ConnectOptions()
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

// rings makes a ring of every rank over open's transports, in a run of this test alone: the tests
// share a server, on which a message of one may arrive in the next.
func rings(t testing.TB, world int, open opener, change ...func(*Config)) []*Ring {
	cfgs := make([]Config, world)
	for i := range cfgs {
		cfgs[i] = testConfig(i, world)
		cfgs[i].Run = run.ID(fmt.Sprintf("test-%x", hashRun(run.ID(t.Name()))))
		for _, f := range change {
			f(&cfgs[i])
		}
	}
	all := make([]*Ring, world)
	for i, tr := range open(t, cfgs) {
		ring, err := New(cfgs[i], tr)
		require.NoError(t, err)
		all[i] = ring
	}
	return all
}

// together calls f for every rank at once and returns the errors by rank.
func together(all []*Ring, f func(rank int, r *Ring) error) []error {
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

// requireSame is require.Equal, quick on long vectors that are the same.
func requireSame(t testing.TB, want, got []float32, format string, args ...any) {
	t.Helper()
	if !slices.Equal(want, got) {
		require.Equal(t, want, got, append([]any{format}, args...)...)
	}
}

// input is the vector of one rank: values whose sum depends on the order of summation.
func input(rank, n int) []float32 {
	r := draw.Of(1, draw.Test, uint64(rank), uint64(n))
	x := make([]float32, n)
	for i := range x {
		v := r.Uint64()
		x[i] = float32(int32(v)) / float32(int(1)<<(v>>59))
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

func total(parts []int) int {
	n := 0
	for _, p := range parts {
		n += p
	}
	return n
}
