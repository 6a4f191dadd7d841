package allreduce

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

// faulty passes every frame it should send to meddle, and sends what that returns instead. It
// numbers data frames from 0; other frames have number -1.
type faulty struct {
	Transport
	mu     sync.Mutex
	count  int
	meddle func(number int, frame []byte) [][]byte
}

func (f *faulty) Send(ctx context.Context, to run.Rank, frame []byte) error {
	f.mu.Lock()
	number := -1
	if kind(frame[5]) == kindData {
		number = f.count
		f.count++
	}
	frames := f.meddle(number, frame)
	f.mu.Unlock()
	for _, g := range frames {
		if err := f.Transport.Send(ctx, to, g); err != nil {
			return err
		}
	}
	return nil
}

// between wraps open so that what rank 1 sends goes through meddle.
func between(open opener, meddle func(number int, frame []byte) [][]byte) opener {
	return func(t testing.TB, cfgs []Config) []Transport {
		all := open(t, cfgs)
		all[1] = &faulty{Transport: all[1], meddle: meddle}
		return all
	}
}

// forge returns a frame that differs from the given one in what change does to its header, with
// correct checksums.
func forge(frame []byte, change func(h *header)) []byte {
	h, payload, err := decode(frame)
	if err != nil {
		panic(err) // the test made the frame
	}
	change(&h)
	forged := slices.Clone(frame)
	h.Sum = checksum(payload)
	encode(forged, h)
	return forged
}

// badFrame is what rank 1 sends instead of its sixth chunk.
type badFrame struct {
	name   string
	frame  func(frame []byte) [][]byte
	reason string // in the error of rank 2
}

func one(frame []byte) [][]byte { return [][]byte{frame} }

func flip(frame []byte, at int) [][]byte {
	frame[at] ^= 4
	return one(frame)
}

func badFrames() []badFrame {
	forged := func(change func(h *header)) func([]byte) [][]byte {
		return func(frame []byte) [][]byte { return one(forge(frame, change)) }
	}
	return []badFrame{
		{"payload corrupt", func(f []byte) [][]byte { return flip(f, headerBytes+17) }, "payload of 256 bytes does not match its checksum"},
		{"header corrupt", func(f []byte) [][]byte { return flip(f, 41) }, "header does not match its checksum"},
		{"generation corrupt", func(f []byte) [][]byte { return flip(f, 16) }, "header does not match its checksum"},
		{"magic corrupt", func(f []byte) [][]byte { return flip(f, 0) }, "no ring frame"},
		{"other version", func(f []byte) [][]byte { return flip(f, 4) }, "this program speaks version"},
		{"payload truncated", func(f []byte) [][]byte { return one(f[:len(f)-4]) }, "truncated"},
		{"header truncated", func(f []byte) [][]byte { return one(f[:20]) }, "shorter than its header"},
		{"empty", func(f []byte) [][]byte { return one(nil) }, "shorter than its header"},
		{"other run", forged(func(h *header) { h.Run++ }), "another run than test-"},
		{"newer generation", forged(func(h *header) { h.Generation++ }), "of generation 8, this ring of generation 7"},
		{"other sender", forged(func(h *header) { h.Sender = 0 }), "says that rank 0 sent it"},
		{"earlier step", forged(func(h *header) { h.Step-- }), "in all-reduce of step 11"},
		{"later step", forged(func(h *header) { h.Step++ }), "in all-reduce of step 13"},
		{"other operation", forged(func(h *header) { h.Op = opAllGather }), "in all-gather of step 12"},
		{"other collective", forged(func(h *header) { h.Collective++ }), "another phase, root or lengths"},
		{"without checksum", forged(func(h *header) { h.Bare = true }), "no checksum of its payload, and does not lie in shared memory"},
		{"unknown kind", forged(func(h *header) { h.Kind = 9 }), "unknown kind 9"},
		{"wrong sequence", forged(func(h *header) { h.Sequence += 3 }), "frame 8 came where frame 5 was due"},
		{"lost", func([]byte) [][]byte { return nil }, "frame 6 came where frame 5 was due"},
		{"repeated", func(f []byte) [][]byte { return [][]byte{f, slices.Clone(f)} }, "frame 5 came where frame 6 was due"},
		{"shorter chunk", func(f []byte) [][]byte { return one(shorten(f)) }, "chunk of 252 bytes came where 256 were due"},
	}
}

// shorten returns a correct frame with one float less.
func shorten(frame []byte) []byte {
	h, _, err := decode(frame)
	if err != nil {
		panic(err) // the test made the frame
	}
	short := slices.Clone(frame[:len(frame)-4])
	h.Sum = checksum(short[headerBytes:])
	encode(short, h)
	return short
}

// A frame that is not exactly the one that is due never enters a sum: the rank that gets it fails
// and says why, its neighbours learn of it at once, and whoever is done has the right sum.
func TestBadFrameIsAnError(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		for _, bad := range badFrames() {
			t.Run(name+"/"+bad.name, func(t *testing.T) {
				errs := reduceWith(t, rings(t, 3, between(open, func(number int, frame []byte) [][]byte {
					if number == 5 {
						return bad.frame(frame)
					}
					return one(frame)
				})))
				require.ErrorContains(t, errs[2], "ring: all-reduce step 12 gradients: receive from rank 1: ")
				require.ErrorContains(t, errs[2], bad.reason)
				require.ErrorContains(t, errs[0], "rank 2 gave up: receive from rank 1: ")
				require.ErrorContains(t, errs[1], "rank 2 gave up: receive from rank 1: ")
			})
		}
	}
}

// reduceWith runs an all-reduce of many chunks and checks that a rank without an error has the sum.
func reduceWith(t *testing.T, all []*Ring) []error {
	const n = 64 * 4 * 9
	x := inputs(len(all), n)
	want := ringSum(x, evenParts(n, len(all)))
	errs := together(all, func(rank int, r *Ring) error {
		return r.AllReduce(t.Context(), 12, "gradients", x[rank])
	})
	for rank, err := range errs {
		if err == nil {
			assert.Equal(t, want, x[rank], "rank %d", rank)
		}
	}
	return errs
}

func TestReorderedFramesAreAnError(t *testing.T) {
	var held []byte
	errs := reduceWith(t, rings(t, 3, between(openMemory, func(number int, frame []byte) [][]byte {
		switch number {
		case 5:
			held = frame
			return nil
		case 6:
			return [][]byte{frame, held}
		}
		return one(frame)
	})))
	require.ErrorContains(t, errs[2], "frame 6 came where frame 5 was due: frames were lost, repeated or reordered")
}

// Frames that are left over from older generations are dropped, counted, and change nothing.
func TestStaleFramesAreDropped(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		t.Run(name, func(t *testing.T) {
			all := rings(t, 3, between(open, func(number int, frame []byte) [][]byte {
				if number < 0 {
					return one(frame)
				}
				stale := forge(frame, func(h *header) { h.Generation-- })
				return [][]byte{stale, frame}
			}))
			requireNone(t, reduceWith(t, all))
			assert.EqualValues(t, 4*12, all[2].Stats().Stale, "one for each of rank 1's 48 chunks")
			assert.Zero(t, all[0].Stats().Stale)
		})
	}
}

// A credit for chunks that were never sent, or fewer than before, is an error, not a larger window.
func TestCreditMustBePlausible(t *testing.T) {
	for name, change := range map[string]func(h *header){
		"too much": func(h *header) { h.Sequence += 100 },
		"nothing":  func(h *header) { h.Sequence = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			errs := reduceWith(t, rings(t, 3, between(openMemory, func(_ int, frame []byte) [][]byte {
				if kind(frame[5]) == kindCredit {
					return one(forge(frame, change))
				}
				return one(frame)
			})))
			require.ErrorContains(t, errs[0], "rank 1 says it has consumed")
		})
	}
}

// A transport may hand over frames at any address.
func TestUnalignedFrames(t *testing.T) {
	all := rings(t, 3, between(openMemory, func(_ int, frame []byte) [][]byte {
		shifted := append(make([]byte, 1, len(frame)+1), frame...)
		return one(shifted[1:])
	}))
	requireNone(t, reduceWith(t, all))
}

// After an error the ring stays dead, with the same error.
func TestDeadRingStaysDead(t *testing.T) {
	all := rings(t, 2, between(openMemory, func(number int, frame []byte) [][]byte {
		if number == 0 {
			return flip(frame, 20)
		}
		return one(frame)
	}))
	first := reduceWith(t, all)
	for rank, r := range all {
		require.Error(t, first[rank])
		assert.Equal(t, first[rank], r.Barrier(t.Context(), 13, "end"))
		assert.Equal(t, first[rank], r.Broadcast(t.Context(), 13, "parameters", 0, nil))
	}
}

// Ranks that do not run the same collective find out, instead of hanging or adding.
func TestRanksThatDisagree(t *testing.T) {
	x := func() []float32 { return make([]float32, 10) }
	for name, tc := range map[string]struct {
		odd    func(r *Ring) error // what rank 1 does
		reason string
	}{
		"length":    {func(r *Ring) error { return r.AllReduce(t.Context(), 3, "a", x()[:9]) }, "another phase, root or lengths"},
		"phase":     {func(r *Ring) error { return r.AllReduce(t.Context(), 3, "b", x()) }, "another phase, root or lengths"},
		"step":      {func(r *Ring) error { return r.AllReduce(t.Context(), 4, "a", x()) }, "do not run the same collectives"},
		"operation": {func(r *Ring) error { return r.Barrier(t.Context(), 3, "a") }, "do not run the same collectives"},
		"arguments": {func(r *Ring) error { return r.AllGather(t.Context(), 3, "a", x(), []int{5, 6}) }, "rank 1 gave up: part 1 of 6 floats"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := together(rings(t, 2, openMemory), func(rank int, r *Ring) error {
				if rank == 1 {
					return tc.odd(r)
				}
				return r.AllReduce(t.Context(), 3, "a", x())
			})
			require.Error(t, errs[1])
			require.ErrorContains(t, errs[0], tc.reason)
		})
	}
}

func TestHandshakeComparesConfigs(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"window":      func(c *Config) { c.Window += int(c.Rank) },
		"chunks of":   func(c *Config) { c.ChunkBytes += 4 * int(c.Rank) },
		"another run": func(c *Config) { c.Run += run.ID(fmt.Sprint(c.Rank)) },
	} {
		errs := reduceWith(t, rings(t, 2, openMemory, change))
		require.ErrorContains(t, errs[0], "meet rank 1: ")
		require.ErrorContains(t, errs[0], name)
		require.Error(t, errs[1])
	}
	// Worlds of two sizes: rank 1 of 3 meets rank 0 of 2.
	transports := Memory(3)
	small, err := New(testConfig(0, 2), transports[0])
	require.NoError(t, err)
	large, err := New(testConfig(1, 3), transports[1])
	require.NoError(t, err)
	errs := together([]*Ring{small, large}, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 0, "start") })
	require.ErrorContains(t, errs[0], "in a world of 3 ranks, this rank in one of 2")
	require.Error(t, errs[1])
}

func TestArguments(t *testing.T) {
	for reason, f := range map[string]func(r *Ring, x []float32) error{
		"2 part lengths were given for 1 ranks": func(r *Ring, x []float32) error { return r.AllGather(t.Context(), 0, "", x, []int{1, 2}) },
		"part 0 of -1 floats does not fit":      func(r *Ring, x []float32) error { return r.ReduceScatter(t.Context(), 0, "", x, []int{-1}) },
		"the parts cover 2 of the 3 floats":     func(r *Ring, x []float32) error { return r.ReduceScatter(t.Context(), 0, "", x, []int{2}) },
		"root 1 is outside the world of 1":      func(r *Ring, x []float32) error { return r.Broadcast(t.Context(), 0, "", 1, x) },
	} {
		ring, err := New(testConfig(0, 1), nil)
		require.NoError(t, err)
		require.ErrorContains(t, f(ring, make([]float32, 3)), reason)
	}
	_, err := New(testConfig(0, 2), nil)
	require.ErrorContains(t, err, "needs a transport")
	_, err = New(Config{World: 2, Rank: 2}, nil)
	for _, reason := range []string{"run id", "generation is 0", "rank 2 is outside", "chunk of 0 bytes", "window of 0", "stall time-out"} {
		require.ErrorContains(t, err, reason)
	}
}
