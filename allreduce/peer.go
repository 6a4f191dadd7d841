package allreduce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metrixml/metrix/run"
)

// peer is another rank: what this one knows of it and has under way with it. The two goroutines of
// a collective may both wait for frames of the same peer, one for chunks and one for credits.
// Whoever holds the reading token reads the transport and puts what is meant for the other into its
// queue.
type peer struct {
	rank    run.Rank
	reading chan struct{} // full while someone reads
	queue   [numKinds]chan message

	meeting chan struct{} // full while someone meets the peer
	met     bool          // owned by whoever fills meeting

	sent, acked  uint64 // data frames sent to the peer, and consumed there; owned by the sender
	got, granted uint64 // data frames consumed from the peer, and reported; owned by the receiver
}

// message is a frame that belongs to this ring.
type message struct {
	header
	frame []byte // owned by whoever holds the message; the payload is frame[headerBytes:]
}

func newPeer(rank run.Rank) *peer {
	p := &peer{rank: rank, reading: make(chan struct{}, 1), meeting: make(chan struct{}, 1)}
	for k := range p.queue {
		p.queue[k] = make(chan message, peerQueue)
	}
	return p
}

// stallError is the cause of a wait that took longer than Config.Stall.
type stallError time.Duration

func (e stallError) Error() string {
	return fmt.Sprintf("nothing arrived for %v: the worker is gone, frozen or has not entered the collective", time.Duration(e))
}

// maxReason is the longest reason in bytes that an abort carries.
const maxReason = 1024

// abortError says that another rank's ring died first.
type abortError struct {
	origin run.Rank // where it began
	via    run.Rank // who told us
	reason string
}

func (e *abortError) Error() string { return fmt.Sprintf("rank %d gave up: %s", e.origin, e.reason) }

// take returns the next frame of a kind from p, and the time it was blocked for it.
func (r *Ring) take(ctx context.Context, p *peer, want kind) (message, time.Duration, error) {
	select {
	case m := <-p.queue[want]:
		return m, 0, nil
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.Stall, stallError(r.cfg.Stall))
	defer cancel()
	start := time.Now()
	select {
	case m := <-p.queue[want]:
		return m, time.Since(start), nil
	case <-ctx.Done():
		return message{}, time.Since(start), context.Cause(ctx)
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	}
	return r.read(ctx, p, want, time.Since(start))
}

// read is take for the holder of the reading token.
func (r *Ring) read(ctx context.Context, p *peer, want kind, blocked time.Duration) (message, time.Duration, error) {
	for {
		select {
		case m := <-p.queue[want]: // the holder before us has put it there
			return m, blocked, nil
		default:
		}
		start := time.Now()
		frame, err := r.t.Receive(ctx, p.rank)
		blocked += time.Since(start)
		if err != nil {
			return message{}, blocked, err
		}
		m, stale, err := r.admit(p, frame)
		if err != nil {
			return message{}, blocked, err
		}
		r.meter.received(len(frame), stale)
		if stale {
			r.recycle(p, frame)
			continue
		}
		if m.Kind == want {
			return m, blocked, nil
		}
		if err := p.put(m); err != nil {
			return message{}, blocked, err
		}
	}
}

// put keeps m for whoever waits for its kind. Hellos outside the handshake are repetitions.
func (p *peer) put(m message) error {
	if m.Kind == kindHello {
		return nil
	}
	select {
	case p.queue[m.Kind] <- m:
		return nil
	default:
		return fmt.Errorf("rank %d sent more frames than it had credit for", p.rank)
	}
}

// admit decides whether a frame belongs to this ring: it does, it is left over from an older
// generation (stale), or it has no business here, which is an error.
func (r *Ring) admit(p *peer, frame []byte) (m message, stale bool, err error) {
	if len(frame) > headerBytes && !aligned(frame) {
		frame = append(make([]byte, 0, len(frame)), frame...)
	}
	h, payload, err := decode(frame)
	switch {
	case err != nil:
		return message{}, false, err
	case h.Run != r.run:
		return message{}, false, fmt.Errorf("frame belongs to another run than %s", r.cfg.Run)
	case h.Generation < r.cfg.Generation:
		return message{}, true, nil
	case h.Generation > r.cfg.Generation:
		return message{}, false, fmt.Errorf("frame is of generation %d, this ring of generation %d is over", h.Generation, r.cfg.Generation)
	case h.Bare && !r.holds(p, frame):
		return message{}, false, errors.New("frame has no checksum of its payload, and does not lie in shared memory")
	case h.Sender != p.rank:
		return message{}, false, fmt.Errorf("frame says that rank %d sent it", h.Sender)
	case h.Kind == kindAbort:
		return message{}, false, &abortError{origin: run.Rank(h.Sequence), via: p.rank, reason: string(payload[:min(len(payload), maxReason)])}
	}
	return message{header: h, frame: frame}, false, nil
}
