package allreduce

import (
	"context"
	"fmt"
	"sync"

	"github.com/metrixml/metrix/run"
)

// memoryTransport is one rank's end of a ring inside one process. Frames change hands without a
// copy.
type memoryTransport struct {
	rank  run.Rank
	pipes [][]chan []byte // [from][to]
	gone  []chan struct{} // closed with the transport of that rank
	once  *sync.Once
}

// Memory returns the transports of a ring of world ranks inside this process, one for each rank.
// Frames to a rank that has closed its transport are lost, as with NATS.
func Memory(world int) []Transport {
	pipes := make([][]chan []byte, world)
	gone := make([]chan struct{}, world)
	for from := range pipes {
		gone[from] = make(chan struct{})
		pipes[from] = make([]chan []byte, world)
		for to := range pipes[from] {
			pipes[from][to] = make(chan []byte, peerQueue)
		}
	}
	all := make([]Transport, world)
	for i := range all {
		all[i] = &memoryTransport{rank: run.Rank(i), pipes: pipes, gone: gone, once: new(sync.Once)}
	}
	return all
}

func (t *memoryTransport) MaxFrame() int { return 64 << 20 }

func (t *memoryTransport) Send(ctx context.Context, to run.Rank, frame []byte) error {
	if err := checkPeer(to, t.rank, len(t.pipes)); err != nil {
		return err
	}
	select {
	case <-t.gone[t.rank]:
		return ErrClosed
	case <-t.gone[to]:
		return nil // lost
	default:
	}
	select {
	case t.pipes[t.rank][to] <- frame:
		return nil
	case <-t.gone[t.rank]:
		return ErrClosed
	case <-t.gone[to]:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *memoryTransport) Receive(ctx context.Context, from run.Rank) ([]byte, error) {
	if err := checkPeer(from, t.rank, len(t.pipes)); err != nil {
		return nil, err
	}
	select {
	case <-t.gone[t.rank]: // before what is still in the pipe
		return nil, ErrClosed
	default:
	}
	select {
	case frame := <-t.pipes[from][t.rank]:
		return frame, nil
	case <-t.gone[t.rank]:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (t *memoryTransport) Close() error {
	t.once.Do(func() { close(t.gone[t.rank]) })
	return nil
}

// checkPeer rejects a rank that is not another rank of the world.
func checkPeer(peer, self run.Rank, world int) error {
	if peer < 0 || int(peer) >= world || peer == self {
		return fmt.Errorf("rank %d is no peer of rank %d in a world of %d", peer, self, world)
	}
	return nil
}
