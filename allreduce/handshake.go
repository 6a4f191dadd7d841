package allreduce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// meet waits until p is there and agrees with this rank's Config. Peers are met when a collective
// first needs them: the neighbours by the first one around the ring, the others by the first
// exchange. Both goroutines of an exchange may come to meet the same peer.
func (r *Ring) meet(ctx context.Context, p *peer) error {
	select {
	case p.meeting <- struct{}{}:
		defer func() { <-p.meeting }()
	case <-ctx.Done():
		return fmt.Errorf("meet rank %d: %w", p.rank, context.Cause(ctx))
	}
	if p.met {
		return nil
	}
	if err := r.greet(ctx, p); err != nil {
		return fmt.Errorf("meet rank %d: %w", p.rank, err)
	}
	p.met = true
	return nil
}

// meetNeighbours meets the ranks before and after this one.
func (r *Ring) meetNeighbours(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.meet(ctx, r.prev) })
	g.Go(func() error { return r.meet(ctx, r.next) })
	return g.Wait()
}

// errRetry is the cause of a wait that ends because the hello has to be repeated.
var errRetry = errors.New("repeat the hello")

// greet does the handshake with p.
//
// Core NATS drops what is published to nobody, so a rank may not send chunks before it knows that
// its successor has subscribed. Each side says hello, and repeats it at growing intervals while
// there is no answer, with a bit for "I have heard you". A side that has heard the other and knows
// that it has been heard is done, and says so once more on a way that is now known to work:
//
//	A                      B
//	hello ---->  (lost: B has not subscribed yet)
//	      <----  hello
//	hello+heard ---->      B is done
//	      <----  hello+heard     A is done
//
// Hellos that arrive later are repetitions and ignored.
func (r *Ring) greet(ctx context.Context, p *peer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.Stall, stallError(r.cfg.Stall))
	defer cancel()
	mine := hello{World: uint32(r.cfg.World), ChunkFloats: uint32(r.chunk), Window: uint32(r.cfg.Window)}
	wait, longest := 10*time.Millisecond, max(time.Second, r.cfg.Stall/64)
	for known := false; !known; {
		if err := r.sendHello(ctx, p, mine); err != nil {
			return err
		}
		tick, stop := context.WithTimeoutCause(ctx, wait, errRetry)
		m, _, err := r.take(tick, p, kindHello)
		stop()
		if errors.Is(err, errRetry) {
			wait = min(2*wait, longest)
			continue
		}
		if err != nil {
			return err
		}
		theirs, err := decodeHello(m.frame[headerBytes:])
		if err != nil {
			return err
		}
		if err := agree(mine, theirs); err != nil {
			return err
		}
		mine.Heard, known = true, theirs.Heard
	}
	return r.sendHello(ctx, p, mine)
}

func (r *Ring) sendHello(ctx context.Context, p *peer, h hello) error {
	frame := h.append(make([]byte, headerBytes, headerBytes+helloBytes))
	return r.send(ctx, p, frame, header{Kind: kindHello, Sum: checksum(frame[headerBytes:])})
}

// agree compares what both sides of a pair must have in common.
func agree(mine, theirs hello) error {
	switch {
	case mine.World != theirs.World:
		return fmt.Errorf("it is in a world of %d ranks, this rank in one of %d", theirs.World, mine.World)
	case mine.ChunkFloats != theirs.ChunkFloats:
		return fmt.Errorf("it sends chunks of %d floats, this rank %d: give all workers the same ChunkBytes and all NATS servers the same max_payload", theirs.ChunkFloats, mine.ChunkFloats)
	case mine.Window != theirs.Window:
		return fmt.Errorf("it has a window of %d chunks, this rank of %d", theirs.Window, mine.Window)
	}
	return nil
}
