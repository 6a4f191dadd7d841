package allreduce

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

// local puts shared memory over the transports of open, for all chunks.
func local(open opener) opener {
	return func(t testing.TB, cfgs []Config) []Transport {
		all := open(t, cfgs)
		for i, tr := range all {
			l := Local(tr, cfgs[i]).(*localTransport)
			l.least = headerBytes + 1
			t.Cleanup(func() { assert.NoError(t, l.Close()) })
			all[i] = l
		}
		return all
	}
}

// counted counts the bytes that go below.
type counted struct {
	Transport
	bytes atomic.Int64
}

func (c *counted) Send(ctx context.Context, to run.Rank, frame []byte) error {
	c.bytes.Add(int64(len(frame)))
	return c.Transport.Send(ctx, to, frame)
}

func needLanes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is shared on Linux only")
	}
}

// Chunks of ranks that have met lie in memory; what goes below are notes of them.
func TestLocalChunksStayInMemory(t *testing.T) {
	needLanes(t)
	below := make([]*counted, 3)
	all := rings(t, 3, local(func(t testing.TB, cfgs []Config) []Transport {
		trs := openMemory(t, cfgs)
		for i, tr := range trs {
			below[i] = &counted{Transport: tr}
			trs[i] = below[i]
		}
		return trs
	}), defaultChunks)
	checkAllReduce(t, all, 3<<20)
	for _, c := range below {
		c.bytes.Store(0)
	}
	checkAllReduce(t, all, 3<<20)
	for rank, c := range below {
		require.Less(t, c.bytes.Load(), int64(1<<20), "rank %d sent its chunks below", rank)
		require.Positive(t, c.bytes.Load(), "rank %d", rank)
	}
}

// A peer that cannot open what is offered to it gets everything through the transport below.
func TestLocalGoesBelowWhereMemoryIsNotShared(t *testing.T) {
	needLanes(t)
	all := rings(t, 2, func(t testing.TB, cfgs []Config) []Transport {
		trs := openMemory(t, cfgs)
		trs[0] = Local(&elsewhere{trs[0]}, cfgs[0])
		trs[1] = Local(&elsewhere{trs[1]}, cfgs[1])
		for _, tr := range trs {
			t.Cleanup(func() { assert.NoError(t, tr.Close()) })
		}
		return trs
	}, defaultChunks)
	checkAllReduce(t, all, 3<<20)
}

// elsewhere makes offers those of another machine: no process here has them.
type elsewhere struct{ Transport }

func (e *elsewhere) Send(ctx context.Context, to run.Rank, frame []byte) error {
	if n, ok := decodeNote(frame); ok {
		if n.kind != noteOffer {
			panic("an offer of another machine was answered")
		}
		n.token[0]++
		frame = n.encode()
	}
	return e.Transport.Send(ctx, to, frame)
}

func TestLaneThatIsNotWhatWasOffered(t *testing.T) {
	needLanes(t)
	l, err := newLane(4, 128)
	require.NoError(t, err)
	defer l.close()
	opened, err := openLane(l.place, l.token, 4, 128)
	require.NoError(t, err)
	opened.close()
	nobody := place{l.place.pid, 1 << 20}
	wrong := l.token
	wrong[3]++
	plain, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer plain.Close()
	require.NoError(t, plain.Truncate(int64(laneBytes(4, 128))))
	for name, open := range map[string]func() (*lane, error){
		"another token":  func() (*lane, error) { return openLane(l.place, wrong, 4, 128) },
		"another size":   func() (*lane, error) { return openLane(l.place, l.token, 4, 192) },
		"no slots":       func() (*lane, error) { return openLane(l.place, l.token, 0, 128) },
		"too many slots": func() (*lane, error) { return openLane(l.place, l.token, maxWindow+1, 128) },
		"too large":      func() (*lane, error) { return openLane(l.place, l.token, 4, 1<<40) },
		"nobody's":       func() (*lane, error) { return openLane(nobody, l.token, 4, 128) },
		"another file":   func() (*lane, error) { return openLane(place{l.place.pid, uint32(plain.Fd())}, l.token, 4, 128) },
	} {
		_, err := open()
		require.ErrorIs(t, err, errElsewhere, name)
	}
}

// A note of a chunk that cannot be there ends the ring with a sentence, never with a fault.
func TestLocalRefusesImpossibleNotes(t *testing.T) {
	needLanes(t)
	cfgs := []Config{testConfig(0, 2), testConfig(1, 2)}
	for name, n := range map[string]note{
		"slot":   {kind: noteChunk, a: 1 << 40, b: 10},
		"length": {kind: noteChunk, a: 0, b: 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			trs := Memory(2)
			l := Local(trs[1], cfgs[1])
			defer l.Close()
			peer := Local(trs[0], cfgs[0])
			defer peer.Close()
			require.NoError(t, peer.Send(t.Context(), 1, append(make([]byte, 5), byte(kindHello), 0)))
			require.NoError(t, trs[0].Send(t.Context(), 1, n.encode()))
			_, err := l.Receive(t.Context(), 0) // takes the offer on its way
			require.NoError(t, err)
			_, err = l.Receive(t.Context(), 0)
			require.ErrorContains(t, err, "rank 0: it left a chunk")
		})
	}
}

// A ring that is closed in the middle of a collective ends it, and gives all memory back.
func TestLocalCloseDuringACollective(t *testing.T) {
	needLanes(t)
	srv := startServer(t)
	all := rings(t, 2, local(openNATS(srv, false)), defaultChunks)
	checkAllReduce(t, all, 1<<20)
	started := make(chan struct{})
	errs := together(all, func(rank int, r *Ring) error {
		if rank == 1 {
			<-started
			return r.Close()
		}
		close(started)
		return r.AllReduce(t.Context(), 13, "gradients", make([]float32, 64<<20))
	})
	require.ErrorContains(t, errs[0], "all-reduce")
	require.NoError(t, errs[1])
	require.NoError(t, all[0].Close())
	require.Equal(t, 0, memfds(t), "shared memory is still open")
}

// Whatever travels, every slot is free again afterwards.
func TestLocalGivesSlotsBack(t *testing.T) {
	needLanes(t)
	for _, world := range []int{2, 3} {
		var locals []*localTransport
		all := rings(t, world, func(t testing.TB, cfgs []Config) []Transport {
			trs := local(openMemory)(t, cfgs)
			for _, tr := range trs {
				locals = append(locals, tr.(*localTransport))
			}
			return trs
		})
		for range 3 {
			conform(t, all, world)
		}
		for rank, l := range locals {
			for peer := range l.peers {
				out := l.peers[peer].out
				if out == nil { // no neighbour
					continue
				}
				for slot := range out.slots {
					require.Zero(t, out.taken(slot).Load(), "slot %d from rank %d to %d", slot, rank, peer)
				}
			}
		}
	}
}

// memfds counts this process's open lanes.
func memfds(t *testing.T) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "/memfd:metrix-ring (deleted)" {
			n++
		}
	}
	return n
}
