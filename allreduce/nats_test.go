package allreduce

import (
	"context"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

// watched closes said once the rank has said hello to every neighbour, and blocked once it waits
// for a chunk.
type watched struct {
	Transport
	mu    sync.Mutex
	to    map[run.Rank]bool
	said  chan struct{}
	after int // hellos to different ranks that close said
}

func (w *watched) Send(ctx context.Context, to run.Rank, frame []byte) error {
	err := w.Transport.Send(ctx, to, frame)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.to[to] {
		w.to[to] = true
		if len(w.to) == w.after {
			close(w.said)
		}
	}
	return err
}

// A rank that subscribes long after the others have said hello into the void is met all the same.
func TestLateSubscriber(t *testing.T) {
	srv := startServer(t)
	var all []*Ring
	var wait []chan struct{}
	var cfgs []Config
	for rank := range 3 {
		cfg := testConfig(rank, 3)
		cfgs = append(cfgs, cfg)
		if rank == 1 {
			all = append(all, nil)
			continue
		}
		tr, err := NATS(connect(t, srv, false), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
		w := &watched{Transport: tr, to: map[run.Rank]bool{}, said: make(chan struct{}), after: 2}
		ring, err := New(cfg, w)
		require.NoError(t, err)
		all, wait = append(all, ring), append(wait, w.said)
	}
	requireNone(t, together(all, func(rank int, r *Ring) error {
		if rank == 1 {
			for _, said := range wait {
				<-said
			}
			tr, err := NATS(connect(t, srv, false), cfgs[1])
			if err != nil {
				return err
			}
			t.Cleanup(func() { assert.NoError(t, tr.Close()) })
			if r, err = New(cfgs[1], tr); err != nil {
				return err
			}
		}
		return r.AllReduce(t.Context(), 1, "gradients", make([]float32, 100))
	}))
}

// A server that goes away ends the collective at once, on every rank.
func TestLostConnection(t *testing.T) {
	srv := startServer(t)
	var said []chan struct{}
	all := rings(t, 3, func(t testing.TB, cfgs []Config) []Transport {
		trs := openNATS(srv, false)(t, cfgs)
		for i := range trs {
			w := &watched{Transport: trs[i], to: map[run.Rank]bool{}, said: make(chan struct{}), after: 2}
			trs[i] = w
			said = append(said, w.said)
		}
		return trs
	})
	go func() {
		<-said[0]
		<-said[2]
		_ = srv.Close() // always nil
	}()
	errs := together(all, func(rank int, r *Ring) error {
		if rank == 1 {
			return nil
		}
		return r.AllReduce(t.Context(), 1, "gradients", make([]float32, 1000))
	})
	require.ErrorContains(t, errs[0], "the NATS connection was lost")
	require.ErrorContains(t, errs[2], "the NATS connection was lost")
}

// A peer that ignores flow control overflows its queue: an error of the transport for good.
func TestOverflow(t *testing.T) {
	srv := startServer(t)
	nc, err := nats.Connect(srv.URL(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	require.NoError(t, err)
	defer nc.Close()
	cfg := testConfig(0, 2)
	tr, err := NATS(nc, cfg)
	require.NoError(t, err)
	for range peerQueue + 1 {
		require.NoError(t, nc.Publish("metrix.test.ring.7.1.0", []byte("noise")))
	}
	require.NoError(t, nc.Flush())
	for err == nil {
		_, err = tr.Receive(t.Context(), 1)
	}
	require.ErrorContains(t, err, "rank 1 sent more than the 192 frames")
	require.Equal(t, err, tr.Send(t.Context(), 1, nil), "the transport has failed for good")
	require.NoError(t, tr.Close())
	_, again := tr.Receive(t.Context(), 1)
	require.Equal(t, err, again)
}

// Chunks shrink to what the server takes: a payload of 64 KiB here.
func TestChunksFitTheServer(t *testing.T) {
	srv, err := natsd.Start(natsd.Options{MaxPayload: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, srv.Close()) })
	all := rings(t, 2, openNATS(srv, true), func(c *Config) { c.ChunkBytes = DefaultConfig().ChunkBytes })
	checkAllReduce(t, all, 100_000)
	s := all[0].Stats()
	assert.Greater(t, s.FramesSent, int64(6))
	assert.LessOrEqual(t, s.BytesSent/s.FramesSent, int64(64<<10))
}

// Every implementation of Transport behaves as its contract says.
func TestTransportContract(t *testing.T) {
	srv := startServer(t)
	for name, open := range map[string]opener{"memory": openMemory, "nats": openNATS(srv, false)} {
		t.Run(name, func(t *testing.T) {
			trs := open(t, []Config{testConfig(0, 3), testConfig(1, 3), testConfig(2, 3)})
			for _, text := range []string{"a", "b", "c"} {
				require.NoError(t, trs[0].Send(t.Context(), 1, []byte(text)))
				require.NoError(t, trs[2].Send(t.Context(), 1, []byte(text+"2")))
			}
			for _, text := range []string{"a", "b", "c"} {
				got, err := trs[1].Receive(t.Context(), 0)
				require.NoError(t, err)
				require.Equal(t, text, string(got))
				got, err = trs[1].Receive(t.Context(), 2)
				require.NoError(t, err)
				require.Equal(t, text+"2", string(got))
			}
			ended, cancel := context.WithCancelCause(t.Context())
			cancel(ErrClosed)
			_, err := trs[1].Receive(ended, 0)
			require.Equal(t, ErrClosed, err, "the cause of the context")
			for _, peer := range []run.Rank{-1, 1, 3} {
				require.ErrorContains(t, trs[1].Send(t.Context(), peer, nil), "is no peer of rank 1")
				_, err := trs[1].Receive(t.Context(), peer)
				require.ErrorContains(t, err, "is no peer of rank 1")
			}
			done := make(chan error)
			go func() {
				_, err := trs[1].Receive(t.Context(), 0)
				done <- err
			}()
			require.NoError(t, trs[1].Close())
			require.ErrorIs(t, <-done, ErrClosed)
			require.NoError(t, trs[1].Close())
			require.ErrorIs(t, trs[1].Send(t.Context(), 0, nil), ErrClosed)
			require.NoError(t, trs[0].Send(t.Context(), 1, []byte("lost")), "to a rank that is gone")
		})
	}
}

func TestNATSNeedsAConnection(t *testing.T) {
	srv := startServer(t)
	nc, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	nc.Close()
	_, err = NATS(nc, testConfig(0, 2))
	require.ErrorContains(t, err, "ring: subscribe rank 0 to its peers")
	_, err = NATS(nc, Config{})
	require.ErrorContains(t, err, "run id")
}
