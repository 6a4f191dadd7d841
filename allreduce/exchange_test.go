package allreduce

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

// traffic is what one exchange moves: send[p][q] goes from rank p to recv[q][p].
type traffic struct {
	send, recv [][][]float32
	wire       Wire
}

// newTraffic fills what is sent, size(p, q) floats from p to q, and leaves rubbish where it goes.
func newTraffic(world int, wire Wire, size func(p, q int) int) *traffic {
	tr := &traffic{send: make([][][]float32, world), recv: make([][][]float32, world), wire: wire}
	for p := range world {
		tr.send[p], tr.recv[p] = make([][]float32, world), make([][]float32, world)
		for q := range world {
			tr.send[p][q] = input(p*world+q, size(p, q))
			tr.recv[p][q] = input(1000, size(q, p))
		}
	}
	return tr
}

func (tr *traffic) run(t testing.TB, step run.Step, r *Ring) error {
	own := r.Config().Rank
	return r.Exchange(t.Context(), step, "features", tr.send[own], tr.recv[own], tr.wire)
}

// check compares what has come with what was sent, and what was sent with what it was.
func (tr *traffic) check(t testing.TB) {
	t.Helper()
	world := len(tr.send)
	for p := range world {
		for q := range world {
			want := input(p*world+q, len(tr.send[p][q]))
			requireSame(t, want, tr.send[p][q], "sent from %d to %d", p, q)
			if tr.wire == BFloat16 {
				RoundBFloat16(want)
			}
			requireSame(t, want, tr.recv[q][p], "%v from %d to %d", tr.wire, p, q)
		}
	}
}

func checkExchange(t *testing.T, all []*Ring, wire Wire, size func(p, q int) int) {
	t.Helper()
	tr := newTraffic(len(all), wire, size)
	requireNone(t, together(all, func(_ int, r *Ring) error { return tr.run(t, 12, r) }))
	tr.check(t)
}

// sizesOf are lengths of many kinds, from zero to several windows of both wires, drawn by seed.
func sizesOf(seed int) func(p, q int) int {
	return func(p, q int) int {
		r := draw.Of(2, draw.Test, uint64(seed), uint64(p), uint64(q))
		around := []int{0, 0, 1, 2, 63, 64, 65, 128, 129, 64 * 4, 64 * 4 * 5, 64*4*9 + 7}
		return around[r.Uint64()%uint64(len(around))]
	}
}

// one rank has everything, for one other rank.
func lopsided(p, q int) int {
	if p == 0 && q == 1 {
		return 64 * 4 * 9
	}
	return 0
}

func conformExchange(t *testing.T, all []*Ring) {
	for _, wire := range []Wire{Float32, BFloat16} {
		for seed := range 4 {
			checkExchange(t, all, wire, sizesOf(seed))
		}
		checkExchange(t, all, wire, func(p, q int) int { return 64*4*2 + p - q })
		checkExchange(t, all, wire, func(p, q int) int { return 0 })
		checkExchange(t, all, wire, lopsided)
	}
}

// TestExchange exchanges in every world on every transport, first of all and after the ring.
func TestExchange(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{
		"memory":         openMemory,
		"nats tcp":       openNATS(srv, false),
		"nats inprocess": openNATS(srv, true),
	} {
		for world := 1; world <= 5; world++ {
			t.Run(fmt.Sprintf("%s/world %d", name, world), func(t *testing.T) {
				conformExchange(t, rings(t, world, open))
			})
		}
	}
}

// The window of a pair shrinks in large worlds, down to one chunk, and is enough for everything,
// also with what collectives of the ring have left unreported.
func TestExchangeWindows(t *testing.T) {
	for _, tc := range []struct{ world, window, share int }{
		{2, 1, 1}, {3, 1, 1}, {4, 2, 2}, {5, 8, 8}, {7, 1, 1}, {9, 8, 4}, {10, 2, 1}, {9, 16, 8}, {18, 8, 1},
	} {
		t.Run(fmt.Sprintf("world %d window %d", tc.world, tc.window), func(t *testing.T) {
			all := rings(t, tc.world, openMemory, func(c *Config) { c.Window = tc.window })
			assert.Equal(t, tc.share, all[0].share)
			for seed := range 3 {
				checkAllReduce(t, all, 64*tc.world*(2+seed))
				checkExchange(t, all, Wire(seed%2), sizesOf(seed))
			}
		})
	}
}

// Exchanges and collectives of the ring take turns on one ring, in any order.
func TestExchangeBetweenCollectives(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		for world := 2; world <= 5; world++ {
			t.Run(fmt.Sprintf("%s/world %d", name, world), func(t *testing.T) {
				all := rings(t, world, open, func(c *Config) { c.Window = 1 + world%3 })
				order := draw.Of(3, draw.Test, uint64(world))
				for i := range 30 {
					switch order.Uint64() % 6 {
					case 0:
						checkAllReduce(t, all, 1000+i)
					case 1:
						checkAllGather(t, all, unevenParts(500+i, world))
					case 2:
						checkBarrier(t, all)
					case 3:
						checkReduceScatterInt64(t, all, unevenParts(300+i, world))
					default:
						checkExchange(t, all, Wire(i%2), sizesOf(i))
					}
				}
			})
		}
	}
}

// Several steps without a pause between them: fast ranks are one or two exchanges ahead of slow ones.
func TestExchangeAhead(t *testing.T) {
	const steps = 20
	all := rings(t, 4, openMemory)
	var trs []*traffic
	for i := range steps {
		trs = append(trs, newTraffic(4, Wire(i%2), sizesOf(i)))
	}
	sums := inputs(4, 100)
	requireNone(t, together(all, func(rank int, r *Ring) error {
		for i, tr := range trs {
			if err := tr.run(t, run.Step(i), r); err != nil {
				return err
			}
			if err := r.AllReduce(t.Context(), run.Step(i), "gradients", sums[rank]); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, tr := range trs {
		tr.check(t)
	}
	for rank := range sums {
		requireSame(t, sums[0], sums[rank], "rank %d", rank)
	}
}

// With one server that takes 64 KiB, and rows of 392 KB as bfloat16, frames fit.
func TestExchangeFitsTheServer(t *testing.T) {
	srv, err := natsd.Start(natsd.Options{MaxPayload: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, srv.Close()) })
	all := rings(t, 3, openNATS(srv, true), func(c *Config) { c.ChunkBytes = DefaultConfig().ChunkBytes })
	const row = 2048 * 7 * 7
	checkExchange(t, all, BFloat16, func(p, q int) int { return (p + 1) * (q % 2) * row })
	s := all[0].Stats()
	assert.LessOrEqual(t, s.BytesSent/s.FramesSent, int64(64<<10))
}

// bfloat16 halves what is sent, and all of it is counted: besides headers there are only floats.
func TestExchangeStats(t *testing.T) {
	for wire, size := range map[Wire]int64{Float32: 4, BFloat16: 2} {
		all := rings(t, 3, openMemory)
		lengths := func(p, q int) int { return 64 * 10 * (1 + q) }
		checkExchange(t, all, wire, lengths) // meets
		before := []Stats{all[0].Stats(), all[1].Stats(), all[2].Stats()}
		checkExchange(t, all, wire, lengths)
		for rank, r := range all {
			s := r.Stats()
			frames := s.FramesSent - before[rank].FramesSent
			want := size * 64 * 10 * int64(6-1-rank)
			assert.Equal(t, want, s.BytesSent-before[rank].BytesSent-headerBytes*frames, "%v rank %d", wire, rank)
			assert.GreaterOrEqual(t, frames, want/testChunk, "%v rank %d", wire, rank)
			assert.Greater(t, s.BytesReceived-before[rank].BytesReceived, 2*size*64*10*int64(1+rank), "%v rank %d", wire, rank)
		}
	}
}

func TestExchangeWithItself(t *testing.T) {
	ring, err := New(testConfig(0, 1), nil)
	require.NoError(t, err)
	x := input(1, 70)
	want := slices.Clone(x)
	RoundBFloat16(want)
	require.NoError(t, ring.Exchange(t.Context(), 1, "features", [][]float32{x}, [][]float32{x}, BFloat16))
	require.Equal(t, want, x, "in place")
	y := make([]float32, 70)
	require.NoError(t, ring.Exchange(t.Context(), 1, "features", [][]float32{x}, [][]float32{y}, Float32))
	require.Equal(t, want, y)
}
