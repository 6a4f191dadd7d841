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
	run        uint64 // hash of the run id
	chunk      int    // floats of a full chunk
	depth      int    // chunks of one segment that travel together
	grantEvery uint64 // consumed chunks for one credit frame

	prev, next *neighbour // the same one if World == 2; nil if World == 1
	busy       atomic.Bool
	connected  bool  // owned by whoever set busy
	dead       error // owned by whoever set busy

	sent, acked  uint64 // data frames sent to next, and consumed there; owned by the sender
	got, granted uint64 // data frames consumed from prev, and reported; owned by the receiver
	spare        chan []byte
	meter        meter
}

// New returns the ring of cfg over t, which must be the transport of the same rank and generation.
// It sends nothing: the first collective meets the neighbours, wherever they are in starting up.
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
	r.chunk = min(cfg.ChunkBytes, t.MaxFrame()-headerBytes) / 4
	if r.chunk < 2 {
		return nil, fmt.Errorf("ring: the transport takes frames of %d bytes, but a header and 8 bytes need %d: raise max_payload of the NATS server", t.MaxFrame(), headerBytes+8)
	}
	r.depth = max(1, cfg.Window/2)
	r.grantEvery = uint64(max(1, cfg.Window/4))
	r.spare = make(chan []byte, cfg.Window)
	r.next = newNeighbour(run.Rank((int(cfg.Rank) + 1) % cfg.World))
	r.prev = r.next
	if cfg.World > 2 {
		r.prev = newNeighbour(run.Rank((int(cfg.Rank) + cfg.World - 1) % cfg.World))
	}
	return r, nil
}

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
	if c.invalid != nil || r.cfg.World == 1 {
		return c.invalid
	}
	if !r.connected {
		if err := r.meet(ctx); err != nil {
			return err
		}
		r.connected = true
	}
	return r.pump(ctx, c)
}

// abortTime bounds how long a dying ring tries to tell its neighbours.
const abortTime = time.Second

// abort tells the neighbours that this ring is dead, so that they fail now and not after Stall. An
// ended ctx is no failure: whoever ended it is changing the generation. What came from a neighbour
// as an abort is passed on as it is, away from that neighbour.
func (r *Ring) abort(ctx context.Context, err error) {
	if ctx.Err() != nil || r.cfg.World == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	told := &abortError{origin: r.cfg.Rank, via: r.cfg.Rank, reason: err.Error()}
	errors.As(err, &told)
	for _, p := range r.neighbours() {
		if p.rank == told.via || p.rank == told.origin {
			continue
		}
		frame := append(make([]byte, headerBytes), told.reason[:min(len(told.reason), maxReason)]...)
		// The ring is dead already; a neighbour that cannot be told finds out by itself.
		_ = r.send(ctx, p, frame, header{Kind: kindAbort, Sequence: uint64(told.origin), Sum: checksum(frame[headerBytes:])})
	}
}

// neighbours returns the one or two other ranks this one speaks with.
func (r *Ring) neighbours() []*neighbour {
	if r.prev == r.next {
		return []*neighbour{r.next}
	}
	return []*neighbour{r.prev, r.next}
}

// send completes h, writes it into the first bytes of frame and sends that.
func (r *Ring) send(ctx context.Context, to *neighbour, frame []byte, h header) error {
	h.Run, h.Generation, h.Sender = r.run, r.cfg.Generation, r.cfg.Rank
	encode(frame, h)
	size := len(frame) // the frame is the transport's after Send
	if err := r.t.Send(ctx, to.rank, frame); err != nil {
		return fmt.Errorf("send to rank %d: %w", to.rank, err)
	}
	r.meter.sent(size)
	return nil
}
