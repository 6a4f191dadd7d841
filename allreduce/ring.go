package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/metrixml/metrix/run"
)

// Ring is one rank's place in the ring of one generation. One goroutine at a time runs a
// collective; all ranks run the same collectives in the same order. After the first error the ring
// is dead: every later call returns that error, and the worker needs a new generation.
type Ring struct {
	cfg        Config
	t          Transport
	shared     sharer // t, if it shares memory with peers; or nil
	run        uint64 // hash of the run id
	chunk      int    // floats of a full chunk
	depth      int    // chunks of one segment that travel together
	share      int    // chunks that may be under way from one rank to another in an exchange
	grantEvery uint64 // consumed chunks for one credit frame, at most share

	peers      []*peer // by rank; the own one is nil
	prev, next *peer   // the same one if World == 2; nil if World == 1
	busy       atomic.Bool
	connected  bool  // both neighbours have been met; owned by whoever set busy
	dead       error // owned by whoever set busy

	spare chan []byte
	meter meter
}

// New returns the ring of cfg over t, which must be the transport of the same rank and generation.
// It sends nothing: the first collective that needs a peer meets it, wherever it is in starting up.
// With World 1 the transport may be nil.
func New(cfg Config, t Transport) (*Ring, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Ring{cfg: cfg, t: t, run: hashRun(cfg.Run), chunk: cfg.ChunkBytes / 4}
	r.meter.init(cfg.World)
	if cfg.World == 1 {
		return r, nil
	}
	if t == nil {
		return nil, fmt.Errorf("ring: a world of %d ranks needs a transport", cfg.World)
	}
	r.shared, _ = t.(sharer)
	r.chunk = min(cfg.ChunkBytes, t.MaxFrame()-headerBytes) / 4
	if r.chunk < 2 {
		return nil, fmt.Errorf("ring: the transport takes frames of %d bytes, but a header and 8 bytes need %d: raise max_payload of the NATS server", t.MaxFrame(), headerBytes+8)
	}
	r.depth = max(1, cfg.Window/2)
	r.share = max(1, min(cfg.Window, exchangeWindows*cfg.Window/(cfg.World-1)))
	r.grantEvery = uint64(max(1, min(cfg.Window/4, r.share/2)))
	r.spare = make(chan []byte, cfg.Window)
	r.peers = make([]*peer, cfg.World)
	for rank := range r.peers {
		if run.Rank(rank) != cfg.Rank {
			r.peers[rank] = newPeer(run.Rank(rank))
		}
	}
	r.prev, r.next = r.at(-1), r.at(1)
	return r, nil
}

// at returns the peer offset ranks after this one, around the ring.
func (r *Ring) at(offset int) *peer { return r.peers[mod(int(r.cfg.Rank)+offset, r.cfg.World)] }

// Config returns what the ring was made with.
func (r *Ring) Config() Config { return r.cfg }

// Stats returns what the ring has done so far. It may be called during a collective.
func (r *Ring) Stats() Stats { return r.meter.snapshot() }

// Close closes the transport, which ends a collective in progress with an error.
func (r *Ring) Close() error {
	if r.t == nil {
		return nil
	}
	return r.t.Close()
}

// do runs one collective, alone, and makes its error the ring's.
func (r *Ring) do(ctx context.Context, c *call) error {
	if !r.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("ring: %v: another collective is running: one goroutine at a time uses a ring", c)
	}
	defer r.busy.Store(false)
	if r.dead != nil {
		return r.dead
	}
	if err := r.attempt(ctx, c); err != nil {
		r.dead = &Error{Call: c.String(), Err: err}
		r.abort(ctx, err)
	}
	return r.dead
}

func (r *Ring) attempt(ctx context.Context, c *call) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.invalid != nil {
		return c.invalid
	}
	if r.shared != nil {
		if err := r.shared.enter(); err != nil {
			return err
		}
		defer r.shared.leave()
	}
	return c.work(ctx)
}

// around runs a collective along the ring.
func (r *Ring) around(ctx context.Context, c *call) error {
	if r.cfg.World == 1 {
		return nil
	}
	if !r.connected {
		if err := r.meetNeighbours(ctx); err != nil {
			return err
		}
		r.connected = true
	}
	return r.pump(ctx, c)
}

// abortTime bounds how long a dying ring tries to tell its peers.
const abortTime = time.Second

// abort tells all ranks that this ring is dead, so that whoever waits for it fails now and not
// after Stall, and passes it on to those who wait for him. An ended ctx is no failure: whoever ended
// it is changing the generation. What came as an abort is passed on as it is, away from where it
// came from.
func (r *Ring) abort(ctx context.Context, err error) {
	if ctx.Err() != nil || r.cfg.World == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	told := &abortError{origin: r.cfg.Rank, via: r.cfg.Rank, reason: err.Error()}
	errors.As(err, &told)
	for _, p := range r.peers {
		if p == nil || p.rank == told.via || p.rank == told.origin {
			continue
		}
		frame := append(make([]byte, headerBytes), told.reason[:min(len(told.reason), maxReason)]...)
		// The ring is dead already; a peer that cannot be told finds out by itself.
		_ = r.send(ctx, p, frame, header{Kind: kindAbort, Sequence: uint64(told.origin), Sum: checksum(frame[headerBytes:])})
	}
}

// send completes h, writes it into the first bytes of frame and sends that.
func (r *Ring) send(ctx context.Context, to *peer, frame []byte, h header) error {
	h.Run, h.Generation, h.Sender = r.run, r.cfg.Generation, r.cfg.Rank
	encode(frame, h)
	size := len(frame) // the frame is the transport's after Send
	if err := r.t.Send(ctx, to.rank, frame); err != nil {
		return fmt.Errorf("send to rank %d: %w", to.rank, err)
	}
	r.meter.sent(size)
	return nil
}
