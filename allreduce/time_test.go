package allreduce

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests of this file run on the clock of synctest, which moves when everybody waits: a stall of
// a minute takes no time, and durations are exact.

func patient(c *Config) { c.Stall = DefaultConfig().Stall }

// patientOnly gives one rank the default patience and all others much more, so that it is the one
// that finds out.
func patientOnly(rank int) func(c *Config) {
	return func(c *Config) {
		c.Stall = time.Hour
		if int(c.Rank) == rank {
			c.Stall = DefaultConfig().Stall
		}
	}
}

// A peer that dies in the middle is named by its successor after Stall; the others hear of it.
func TestDeadPeerIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 4, openMemory, patientOnly(2))
		requireNone(t, together(all, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 4, "start") }))
		require.NoError(t, all[1].Close())
		start := time.Now()
		errs := together(all, func(rank int, r *Ring) error {
			if rank == 1 {
				return nil
			}
			return r.AllReduce(t.Context(), 5, "gradients", make([]float32, 1000))
		})
		assert.Equal(t, time.Minute, time.Since(start))
		require.ErrorContains(t, errs[2], "ring: all-reduce step 5 gradients: receive from rank 1: nothing arrived for 1m0s")
		require.ErrorContains(t, errs[3], "rank 2 gave up: receive from rank 1: nothing arrived for 1m0s")
		require.ErrorContains(t, errs[0], "rank 2 gave up: receive from rank 1: nothing arrived for 1m0s")
	})
}

// A peer that is never there is named by the handshake.
func TestAbsentPeerIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rings(t, 2, openMemory, patient)[0]
		err := r.AllReduce(t.Context(), 5, "gradients", make([]float32, 3))
		require.ErrorContains(t, err, "meet rank 1: nothing arrived for 1m0s")
	})
}

// A successor that takes nothing more is named by the rank that waits for credit.
func TestNoCreditIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 3, openMemory, patientOnly(0))
		requireNone(t, together(all, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 4, "start") }))
		err := all[0].Broadcast(t.Context(), 5, "parameters", 0, make([]float32, 1000))
		require.ErrorContains(t, err, "wait for credit of rank 1: nothing arrived for 1m0s")
		assert.Equal(t, time.Minute, all[0].Stats().Credit[1])
	})
}

// A lost last frame has no successor to give it away: the stall does.
func TestLostLastFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 2, between(openMemory, func(number int, frame []byte) [][]byte {
			if number == 1 {
				return nil
			}
			return one(frame)
		}), patientOnly(0))
		errs := together(all, func(rank int, r *Ring) error {
			return r.AllReduce(t.Context(), 12, "gradients", make([]float32, 2))
		})
		require.ErrorContains(t, errs[0], "receive from rank 1: nothing arrived for 1m0s")
		require.NoError(t, errs[1], "rank 1 has everything")
	})
}

// A rank that comes late costs everybody the same Wait, but only its successor sees it as Late.
func TestStragglerIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 4, openMemory, patient)
		requireNone(t, together(all, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 4, "start") }))
		const delay = 3 * time.Second
		requireNone(t, together(all, func(rank int, r *Ring) error {
			if rank == 1 {
				<-time.After(delay) // the clock of synctest
			}
			return r.AllReduce(t.Context(), 5, "gradients", make([]float32, 1000))
		}))
		assert.Equal(t, delay, all[2].Stats().Late[1], "rank 1 is late, says rank 2")
		for _, rank := range []int{0, 1, 3} {
			for peer, late := range all[rank].Stats().Late {
				assert.Zero(t, late, "rank %d says that rank %d is late", rank, peer)
			}
		}
		for _, rank := range []int{0, 3} {
			assert.Equal(t, delay, all[rank].Stats().Wait[mod(rank-1, 4)], "rank %d waits too", rank)
		}
	})
}

// An ended context ends a collective at once on every rank that has it, wherever it waits.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := errors.New("generation 7 is over")
		for name, wait := range map[string]func(ctx context.Context, rank int, r *Ring) error{
			"chunk": func(ctx context.Context, rank int, r *Ring) error {
				if rank == 1 {
					return nil
				}
				return r.AllReduce(ctx, 5, "gradients", make([]float32, 1000))
			},
			"credit": func(ctx context.Context, rank int, r *Ring) error {
				if rank == 1 {
					return nil
				}
				return r.Broadcast(ctx, 5, "parameters", 0, make([]float32, 1000))
			},
		} {
			all := rings(t, 3, openMemory, patient)
			requireNone(t, together(all, func(_ int, r *Ring) error { return r.Barrier(t.Context(), 4, "start") }))
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				synctest.Wait() // until all ranks are blocked
				cancel(over)
			}()
			start := time.Now()
			errs := together(all, func(rank int, r *Ring) error { return wait(ctx, rank, r) })
			require.ErrorIs(t, errs[0], over, name)
			require.ErrorIs(t, errs[2], over, name)
			require.ErrorContains(t, errs[2], "receive from rank 1: generation 7 is over")
			require.Zero(t, time.Since(start), name)
			require.Equal(t, errs[0], all[0].Barrier(t.Context(), 6, "end"), "the ring is dead")
		}
	})
}

// A context that has ended already, and a handshake that waits.
func TestCancelBeforeAndWhileMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := rings(t, 3, openMemory)[0]
		go func() {
			synctest.Wait()
			cancel()
		}()
		require.ErrorIs(t, r.Barrier(ctx, 0, "start"), context.Canceled)
		single, err := New(testConfig(0, 1), nil)
		require.NoError(t, err)
		require.ErrorIs(t, single.Barrier(ctx, 0, "start"), context.Canceled)
	})
}

// A second collective at the same time is refused and does not hurt the first.
func TestOneCollectiveAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := rings(t, 2, openMemory)
		done := make(chan error)
		go func() { done <- all[0].Barrier(t.Context(), 0, "start") }()
		synctest.Wait()
		require.ErrorContains(t, all[0].Barrier(t.Context(), 0, "other"), "one goroutine at a time")
		require.NoError(t, all[1].Barrier(t.Context(), 0, "start"))
		require.NoError(t, <-done)
	})
}
