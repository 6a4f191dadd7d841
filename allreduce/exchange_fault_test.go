package allreduce

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

// long is more than several windows of the tests from everybody to everybody.
func long(p, q int) int { return 64 * 4 * 9 }

// longBetweenOneAndTwo is long from rank 1 to rank 2, so that rank 2 never waits for credit: the
// goroutine that does would say what is wrong with a frame in its own words.
func longBetweenOneAndTwo(p, q int) int {
	if p == 1 && q == 2 {
		return long(p, q)
	}
	return short(p, q)
}

// short is one chunk each.
func short(p, q int) int { return 10 }

// exchangeWith runs an exchange and checks that a rank without an error has what was sent to it.
func exchangeWith(t *testing.T, all []*Ring, wire Wire, size func(p, q int) int) []error {
	tr := newTraffic(len(all), wire, size)
	errs := together(all, func(_ int, r *Ring) error { return tr.run(t, 12, r) })
	for rank, err := range errs {
		for p := range all {
			if err != nil {
				continue
			}
			want := input(p*len(all)+rank, size(p, rank))
			if wire == BFloat16 {
				RoundBFloat16(want)
			}
			requireSame(t, want, tr.recv[rank][p], "from rank %d to rank %d", p, rank)
		}
	}
	return errs
}

// met returns rings whose ranks have all met, so that what follows is about chunks.
func met(t *testing.T, world int, open opener, change ...func(*Config)) []*Ring {
	all := rings(t, world, open, change...)
	requireNone(t, exchangeWith(t, all, Float32, short))
	return all
}

// In an exchange too, a frame that is not exactly the one that is due is never stored, the rank
// that gets it says why, and the others learn of it.
func TestBadFrameInExchange(t *testing.T) {
	srv := startServer(t)
	other := map[string]string{"other collective": "another phase, wire or length than the 2304 floats that are due"}
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		for i, bad := range badFrames() {
			t.Run(name+"/"+bad.name, func(t *testing.T) {
				all := rings(t, 3, between(open, func(number int, frame []byte) [][]byte {
					if number == 5 {
						return bad.frame(frame)
					}
					return one(frame)
				}))
				errs := exchangeWith(t, all, Wire(i%2), longBetweenOneAndTwo)
				reason := strings.ReplaceAll(bad.reason, "all-reduce", "exchange")
				if o, ok := other[bad.name]; ok {
					reason = o
				}
				require.ErrorContains(t, errs[2], "ring: exchange step 12 features: receive from rank 1: ")
				require.ErrorContains(t, errs[2], reason)
				require.ErrorContains(t, errs[0], "rank 2 gave up: receive from rank 1: ")
				require.ErrorContains(t, errs[1], "rank 2 gave up: receive from rank 1: ")
				var ringErr *Error
				require.ErrorAs(t, errs[0], &ringErr)
			})
		}
	}
}

// A frame lost on the way to a rank that is no neighbour: rank 1 sends 36 chunks to rank 2 first. It
// never comes to send to rank 0; rank 2 may have everything.
func TestLostBetweenStrangers(t *testing.T) {
	all := rings(t, 4, between(openMemory, func(number int, frame []byte) [][]byte {
		if number == 36+3 {
			return nil
		}
		return one(frame)
	}))
	errs := exchangeWith(t, all, Float32, long)
	require.ErrorContains(t, errs[3], "receive from rank 1: frame 4 came where frame 3 was due")
	for _, rank := range []int{0, 1} {
		require.ErrorContains(t, errs[rank], "rank 3 gave up: receive from rank 1", "rank %d", rank)
	}
}

// Left-over frames of older generations, hellos among them, are dropped and change nothing.
func TestStaleFramesInExchange(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		t.Run(name, func(t *testing.T) {
			all := rings(t, 4, between(open, func(_ int, frame []byte) [][]byte {
				return [][]byte{forge(frame, func(h *header) { h.Generation-- }), frame}
			}))
			requireNone(t, exchangeWith(t, all, BFloat16, long))
			requireNone(t, reduceWith(t, all))
			for _, rank := range []int{0, 2, 3} {
				assert.GreaterOrEqual(t, all[rank].Stats().Stale, int64(18), "rank %d", rank)
			}
			assert.Zero(t, all[1].Stats().Stale)
		})
	}
}

func TestExchangeCreditMustBePlausible(t *testing.T) {
	errs := exchangeWith(t, rings(t, 3, between(openMemory, func(_ int, frame []byte) [][]byte {
		if kind(frame[5]) == kindCredit {
			return one(forge(frame, func(h *header) { h.Sequence += 100 }))
		}
		return one(frame)
	})), Float32, long)
	require.ErrorContains(t, errs[0], "rank 1 says it has consumed")
}

// A transport may hand over frames at any address.
func TestUnalignedFramesInExchange(t *testing.T) {
	for _, wire := range []Wire{Float32, BFloat16} {
		requireNone(t, exchangeWith(t, rings(t, 3, between(openMemory, func(_ int, frame []byte) [][]byte {
			shifted := append(make([]byte, 1, len(frame)+1), frame...)
			return one(shifted[1:])
		})), wire, long))
	}
}

// Ranks that do not exchange the same find out, neighbours or not, instead of hanging.
func TestRanksThatExchangeOtherwise(t *testing.T) {
	vectors := func(n ...int) [][]float32 {
		x := make([][]float32, len(n))
		for i := range x {
			x[i] = make([]float32, n[i])
		}
		return x
	}
	same := func() [][]float32 { return vectors(10, 10, 10, 10) }
	exchange := func(step run.Step, phase string, recv [][]float32, wire Wire) func(r *Ring) error {
		return func(r *Ring) error { return r.Exchange(t.Context(), step, phase, same(), recv, wire) }
	}
	for name, tc := range map[string]struct {
		odd    func(r *Ring) error // what rank 2 does
		reason string              // its error
	}{
		"shorter":          {exchange(3, "a", vectors(10, 9, 10, 10), Float32), "from rank 1: it exchanges with another phase, wire or length than the 9 floats"},
		"nothing":          {exchange(3, "a", vectors(10, 0, 10, 10), Float32), "from rank 1: it exchanges with another phase, wire or length than the 0 floats"},
		"much longer":      {exchange(3, "a", vectors(10, 5000, 10, 10), Float32), "from rank 1: it exchanges with another phase, wire or length than the 5000 floats"},
		"from a stranger":  {exchange(3, "a", vectors(5000, 10, 10, 10), Float32), "from rank 0: it exchanges with another phase, wire or length than the 5000 floats"},
		"phase":            {exchange(3, "b", same(), Float32), "another phase, wire or length"},
		"wire":             {exchange(3, "a", same(), BFloat16), "another phase, wire or length"},
		"step":             {exchange(4, "a", same(), Float32), "do not run the same collectives"},
		"other collective": {func(r *Ring) error { return r.Barrier(t.Context(), 3, "a") }, "the workers do not run the same collectives"},
		"arguments":        {exchange(3, "a", vectors(10, 10, 9, 10), Float32), "rank 2 sends itself 10 floats and receives 9"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rings := range [][]*Ring{rings(t, 4, openMemory), met(t, 4, openMemory)} {
				errs := together(rings, func(rank int, r *Ring) error {
					if rank == 2 {
						return tc.odd(r)
					}
					return exchange(3, "a", same(), Float32)(r)
				})
				require.ErrorContains(t, errs[2], tc.reason)
			}
		})
	}
}

func TestExchangeArguments(t *testing.T) {
	x := [][]float32{{1}}
	for reason, f := range map[string]func(r *Ring) error{
		"wire 9 is unknown":                  func(r *Ring) error { return r.Exchange(t.Context(), 0, "", x, x, 9) },
		"2 vectors to send and 1 to receive": func(r *Ring) error { return r.Exchange(t.Context(), 0, "", [][]float32{{1}, {}}, x, Float32) },
		"1 vectors to send and 0 to receive": func(r *Ring) error { return r.Exchange(t.Context(), 0, "", x, nil, Float32) },
		"rank 0 sends itself 1 floats":       func(r *Ring) error { return r.Exchange(t.Context(), 0, "", x, [][]float32{nil}, Float32) },
	} {
		ring, err := New(testConfig(0, 1), nil)
		require.NoError(t, err)
		require.ErrorContains(t, f(ring), reason)
	}
}

// A rank that is dead or was never there is named by all others, neighbours or not.
func TestDeadPeerInExchange(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, world int, open opener, change ...func(*Config)) []*Ring{
		"never there": func(t *testing.T, world int, open opener, change ...func(*Config)) []*Ring {
			return rings(t, world, open, change...)
		},
		"gone": met,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := start(t, 5, openMemory, patient)
				require.NoError(t, all[2].Close())
				began := time.Now()
				errs := together(all, func(rank int, r *Ring) error {
					if rank == 2 {
						return nil
					}
					return newTraffic(5, Float32, long).run(t, 12, r)
				})
				assert.Equal(t, time.Minute, time.Since(began))
				for _, rank := range []int{0, 1, 3, 4} {
					require.ErrorContains(t, errs[rank], "rank 2: nothing arrived for 1m0s", "rank %d", rank)
				}
			})
		})
	}
}

// A rank that gives up tells those who wait for it, although they are no neighbours and have not met.
func TestAbortReachesStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 5, openMemory, patient)
		began := time.Now()
		errs := together(all, func(rank int, r *Ring) error {
			if rank == 2 {
				return r.Exchange(t.Context(), 12, "features", nil, nil, Float32)
			}
			return newTraffic(5, Float32, long).run(t, 12, r)
		})
		assert.Zero(t, time.Since(began))
		for _, rank := range []int{0, 1, 3, 4} {
			require.ErrorContains(t, errs[rank], "rank 2 gave up: 0 vectors to send", "rank %d", rank)
		}
	})
}

// A rank that comes late costs everybody Wait, under its name, but only its successor sees Late.
func TestStragglerInExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := met(t, 4, openMemory, patient)
		const delay = 3 * time.Second
		requireNone(t, together(all, func(rank int, r *Ring) error {
			if rank == 1 {
				<-time.After(delay) // the clock of synctest
			}
			return newTraffic(4, BFloat16, short).run(t, 12, r)
		}))
		for _, rank := range []int{0, 2, 3} {
			s := all[rank].Stats()
			assert.Equal(t, delay, s.Wait[1], "rank %d", rank)
			want := make([]time.Duration, 4)
			if rank == 2 {
				want[1] = delay
			}
			assert.Equal(t, want, s.Late, "rank %d", rank)
		}
	})
}

// An ended context ends an exchange at once, wherever it waits, and leaves no goroutine.
func TestCancelExchange(t *testing.T) {
	over := errors.New("generation 7 is over")
	for name, tc := range map[string]struct {
		start func(t *testing.T, world int, open opener, change ...func(*Config)) []*Ring
		size  func(p, q int) int
	}{
		"meeting": {func(t *testing.T, world int, open opener, change ...func(*Config)) []*Ring {
			return rings(t, world, open, change...)
		}, short},
		"chunk":  {met, short},
		"credit": {met, func(p, q int) int { return 64 * 4 * 9 * (q % 3 / 2) }}, // rank 2 gets all
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := tc.start(t, 4, openMemory, patient)
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() {
					synctest.Wait() // until all ranks are blocked
					cancel(over)
				}()
				began := time.Now()
				errs := together(all, func(rank int, r *Ring) error {
					if rank == 2 {
						return nil
					}
					tr := newTraffic(4, Float32, tc.size)
					return r.Exchange(ctx, 12, "features", tr.send[rank], tr.recv[rank], Float32)
				})
				for _, rank := range []int{0, 1, 3} {
					require.ErrorIs(t, errs[rank], over)
					require.ErrorContains(t, errs[rank], "rank 2: generation 7 is over")
				}
				require.Zero(t, time.Since(began))
				require.Equal(t, errs[0], all[0].Barrier(t.Context(), 13, "end"), "the ring is dead")
			})
		})
	}
}

// A server that goes away in the middle ends an exchange on every rank.
func TestLostConnectionInExchange(t *testing.T) {
	srv := startServer(t)
	sent := make(chan struct{})
	all := rings(t, 3, between(openNATS(srv, false), func(number int, frame []byte) [][]byte {
		if number == 5 {
			close(sent)
			return nil // rank 2 can not be done
		}
		return one(frame)
	}))
	go func() {
		<-sent
		_ = srv.Close() // always nil
	}()
	for rank, err := range exchangeWith(t, all, Float32, long) {
		require.Error(t, err, "rank %d", rank)
	}
}
