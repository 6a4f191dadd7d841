package allreduce

import (
	"context"
	"fmt"
)

// outgoing is a frame on its way from the receiving to the sending goroutine. Its payload is in
// host order; its header is written when it is sent.
type outgoing struct {
	frame []byte
	sum   uint32 // checksum of the payload on the wire
	known bool   // sum is valid: the payload is as it came in
}

// pump runs a collective on two goroutines: this one receives chunks, adds and stores; the other
// sends this rank's own chunks and what comes through the queue between them. So a rank computes on
// one chunk while another is on its way out.
//
// Long segments travel in groups of depth chunks: first the chunks [0, depth) of every segment go
// all the way, then the next ones. With a queue of depth frames no circle of ranks can wait for
// itself, whatever the window and however uneven the segments: a rank that waits for credit at
// (group, hop, chunk) waits for a successor whose receiver is at an earlier position; that one may
// wait for its full queue, but the oldest frame in a full queue was received at least depth chunks
// before, hence in an earlier hop or group, and its sender is at that frame's position or before.
// Positions fall from rank to rank, so the waiting ends.
func (r *Ring) pump(ctx context.Context, c *call) error {
	queue := make(chan outgoing, r.depth)
	return both(ctx,
		func(ctx context.Context) error { return r.sendAll(ctx, c, queue) },
		func(ctx context.Context) error { return r.receiveAll(ctx, c, queue) })
}

// both runs send on a goroutine of its own and receive on this one, ends the other's context when
// one fails, and returns when both have.
func both(ctx context.Context, send, receive func(ctx context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan error, 1)
	go func() {
		err := send(inner)
		if err != nil {
			cancel(err)
		}
		sent <- err
	}()
	received := receive(inner)
	if received != nil {
		cancel(received)
	}
	sendErr := <-sent
	switch {
	case received == nil && sendErr == nil:
		return nil
	case ctx.Err() != nil && received != nil:
		return received // says what the rank was waiting for
	case ctx.Err() != nil:
		return sendErr
	default:
		return context.Cause(inner) // the first of the two; the other only followed
	}
}

// sendAll sends everything this rank sends in c, in order.
func (r *Ring) sendAll(ctx context.Context, c *call, queue <-chan outgoing) error {
	for g := range c.groups() {
		if c.first >= 0 {
			lo, hi := c.group(c.first, g)
			for k := lo; k < hi; k++ {
				if err := r.sendOwn(ctx, c, c.part(c.first, k)); err != nil {
					return err
				}
			}
		}
		for range c.forwards(g) {
			select {
			case out := <-queue:
				if err := r.sendChunk(ctx, r.next, c, out); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// forwards is the number of chunks of group g that a rank passes on.
func (c *call) forwards(g int) int {
	n := 0
	for _, h := range c.hops {
		if h.forward {
			lo, hi := c.group(h.segment, g)
			n += hi - lo
		}
	}
	return n
}

// receiveAll takes in every segment of c.hops and does to it what its hop says.
func (r *Ring) receiveAll(ctx context.Context, c *call, queue chan<- outgoing) error {
	first := c.first >= 0 // the predecessor sends one as soon as it enters
	for g := range c.groups() {
		for _, h := range c.hops {
			lo, hi := c.group(h.segment, g)
			for k := lo; k < hi; k++ {
				x := c.part(h.segment, k)
				m, err := r.receiveChunk(ctx, r.prev, c, x.len(), first)
				if err != nil {
					return fmt.Errorf("receive from rank %d: %w", r.prev.rank, err)
				}
				first = false
				if err := r.apply(ctx, c, h, x.lo, m, queue); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// apply does what h says with the chunk at lo that has come in.
func (r *Ring) apply(ctx context.Context, c *call, h hop, lo int, m message, queue chan<- outgoing) error {
	payload := m.frame[headerBytes:]
	c.hostOrder(payload)
	if err := c.combine(h, floats(payload), lo); err != nil {
		return err
	}
	if !h.forward {
		r.recycle(r.prev, m.frame)
		return r.grant(ctx, r.prev)
	}
	frame := r.passOn(m.frame)
	if err := r.grant(ctx, r.prev); err != nil {
		return err
	}
	select {
	case queue <- outgoing{frame: frame, sum: m.Sum, known: !h.add && !m.Bare}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// combine does what h says with the floats at lo that have come in, and leaves in them what is sent on.
func (c *call) combine(h hop, in []float32, lo int) error {
	switch {
	case h.add && h.store:
		if err := c.x.finish(in, lo); err != nil || !h.forward {
			return err
		}
		return c.x.load(in, lo)
	case h.add:
		return c.x.add(in, lo)
	case h.store:
		c.x.store(in, lo)
	}
	return nil
}

// passOn returns a frame that has come in where the successor can have it: in memory shared with that,
// or where it is unless that is memory shared with the predecessor, whose room is given back.
func (r *Ring) passOn(frame []byte) []byte {
	out := r.lend(r.next, len(frame))
	if out == nil && !r.holds(r.prev, frame) {
		return frame
	}
	if out == nil {
		out = make([]byte, len(frame))
	}
	copy(out, frame)
	r.recycle(r.prev, frame)
	return out
}

// receiveChunk waits for the next chunk from p, which must be the one that c expects now, of n
// floats: a frame that is not exactly that never reaches x. With first, p sends it as soon as it
// enters.
func (r *Ring) receiveChunk(ctx context.Context, p *peer, c *call, n int, first bool) (message, error) {
	m, blocked, err := r.take(ctx, p, kindData)
	r.meter.waited(p.rank, blocked, first)
	switch {
	case err != nil:
		return message{}, err
	case m.Sequence != p.got:
		return message{}, fmt.Errorf("frame %d came where frame %d was due: frames were lost, repeated or reordered", m.Sequence, p.got)
	case m.Step != c.step || m.Op != c.op:
		return message{}, fmt.Errorf("it is in %v of step %d: the workers do not run the same collectives", m.Op, m.Step)
	case m.Collective != c.id && c.op == opExchange:
		return message{}, fmt.Errorf("it exchanges with another phase, wire or length than the %d floats that are due", c.segments[0].len())
	case m.Collective != c.id:
		return message{}, fmt.Errorf("it runs this collective with another phase, root or lengths")
	case c.packs && !m.Bare:
		if m, err = r.unpack(m, n); err != nil {
			return message{}, err
		}
	case len(m.frame) != headerBytes+c.wire.size()*n:
		return message{}, fmt.Errorf("chunk of %d bytes came where %d were due", len(m.frame)-headerBytes, c.wire.size()*n)
	}
	p.got++
	return m, nil
}

// unpack replaces the packed integers of m, which are n floats, by those themselves.
func (r *Ring) unpack(m message, n int) (message, error) {
	frame := r.room(headerBytes + 4*n)
	err := unpackIntegers(integers(floats(frame[headerBytes:])), m.frame[headerBytes:])
	m.frame = frame
	return m, err
}

// grant tells p how many of its chunks have been consumed, every few chunks. What stays unreported
// is less than any window, so p always has credit in the end.
func (r *Ring) grant(ctx context.Context, p *peer) error {
	if p.got-p.granted < r.grantEvery {
		return nil
	}
	if err := r.send(ctx, p, make([]byte, headerBytes), header{Kind: kindCredit, Sequence: p.got}); err != nil {
		return fmt.Errorf("grant credit: %w", err)
	}
	p.granted = p.got
	return nil
}

// sendOwn sends the own part of a chunk to the successor.
func (r *Ring) sendOwn(ctx context.Context, c *call, x span) error {
	if err := r.awaitCredit(ctx, r.next, c); err != nil { // then there is room in shared memory
		return err
	}
	frame := r.buffer(r.next, 4*x.len())
	if err := c.x.load(floats(frame[headerBytes:]), x.lo); err != nil {
		return err
	}
	return r.sendChunk(ctx, r.next, c, outgoing{frame: frame})
}

// awaitCredit waits until one more chunk may be under way to p.
func (r *Ring) awaitCredit(ctx context.Context, p *peer, c *call) error {
	for p.sent-p.acked >= uint64(c.window) {
		m, blocked, err := r.take(ctx, p, kindCredit)
		r.meter.credited(p.rank, blocked)
		if err != nil {
			return fmt.Errorf("wait for credit of rank %d: %w", p.rank, err)
		}
		if m.Sequence <= p.acked || m.Sequence > p.sent {
			return fmt.Errorf("rank %d says it has consumed %d chunks after it said %d, of %d sent", p.rank, m.Sequence, p.acked, p.sent)
		}
		p.acked = m.Sequence
	}
	return nil
}

// sendChunk waits for credit, completes the frame and sends it to p.
func (r *Ring) sendChunk(ctx context.Context, p *peer, c *call, out outgoing) error {
	if err := r.awaitCredit(ctx, p, c); err != nil {
		return err
	}
	payload, inPlace := out.frame[headerBytes:], r.holds(p, out.frame)
	if c.packs && !inPlace {
		payload = packIntegers(payload)
		out.frame = out.frame[:headerBytes+len(payload)]
	}
	c.hostOrder(payload)
	h := header{Kind: kindData, Op: c.op, Step: c.step, Collective: c.id, Sequence: p.sent}
	switch {
	case inPlace:
		h.Bare = true
	case out.known:
		h.Sum = out.sum
	default:
		h.Sum = checksum(payload)
	}
	if err := r.send(ctx, p, out.frame, h); err != nil {
		return err
	}
	p.sent++
	return nil
}

// buffer returns a frame to p for a payload of the given bytes, with anything in it.
func (r *Ring) buffer(p *peer, payload int) []byte {
	n := headerBytes + payload
	if b := r.lend(p, n); b != nil {
		return b
	}
	return r.room(n)
}

// room returns n bytes of this process, with anything in them.
func (r *Ring) room(n int) []byte {
	var b []byte
	select {
	case b = <-r.spare:
	default:
	}
	if cap(b) < n {
		b = make([]byte, n)
	}
	return b[:n]
}

// lend returns n bytes of memory shared with p, or nil.
func (r *Ring) lend(p *peer, n int) []byte {
	if r.shared == nil {
		return nil
	}
	return r.shared.lend(p.rank, n)
}

// holds reports whether a frame lies in memory shared with p.
func (r *Ring) holds(p *peer, frame []byte) bool {
	return r.shared != nil && r.shared.holds(p.rank, frame)
}

// recycle gives the room of a frame of p back, or keeps the buffer of a full chunk for one of the next.
func (r *Ring) recycle(p *peer, b []byte) {
	if r.holds(p, b) {
		r.shared.giveBack(p.rank, b)
		return
	}
	if len(b) < headerBytes+4*r.chunk {
		return
	}
	select {
	case r.spare <- b:
	default:
	}
}
