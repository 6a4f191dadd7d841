package allreduce

import (
	"context"
	"fmt"

	"github.com/metrixml/metrix/run"
)

// exchangeWindows bounds what all ranks together have under way to one rank in an exchange, in
// windows. With the default Config it is 32 MiB, half of what a NATS server holds for a client.
const exchangeWindows = 4

// Exchange gives every rank a vector of every rank: recv[p] on this rank becomes send[own] of rank
// p, where own is the number of this rank. send and recv have one entry for each rank; the length
// of send[q] on rank p must be that of recv[p] on rank q, zero allowed, and all ranks give the same
// wire. Lengths are compared, not transmitted: ranks that disagree get an error. send is only read
// and must not overlap recv, except that send[own] may be recv[own].
//
// With BFloat16 every number is rounded as by RoundBFloat16, also from send[own] to recv[own], so
// that the result does not depend on which rank owns what. A rank sends 4 or 2 bytes for each number
// straight to the rank it is for. It may have to wait while others send to others: Config.Stall must
// be longer than the whole exchange takes.
//
// # Rounds
//
// In round o = 1..World-1 rank r sends to r+o and receives from r-o, so that no two ranks send to
// the same one as long as they keep pace. Sending and receiving go through the rounds independently:
//
//	round   rank 0     rank 1     rank 2     rank 3
//	  1     0>1 3>0    1>2 0>1    2>3 1>2    3>0 2>3
//	  2     0>2 2>0    1>3 3>1    2>0 0>2    3>1 1>3
//	  3     0>3 1>0    1>0 2>1    2>1 3>2    3>2 0>3
//
// No circle of ranks can wait for itself, whatever the lengths and the window. Call (round, chunk)
// the position of a sender or a receiver, ordered by round first. A receiver that waits for a chunk
// waits for a sender at its own position or before: it has not sent that chunk. A sender that waits
// for credit waits for a receiver strictly before it: once that has consumed all that was sent, what
// it has not reported is less than a window, and the sender has credit. A sender and a receiver that
// meet do so at the same position, so that whoever waits there waits for one that is before it. And
// nothing else is waited for: what is received is stored at once, not passed on. So along a chain of
// waits, in which senders and receivers take turns, positions fall, and the chain ends at a rank
// that is at work.
func (r *Ring) Exchange(ctx context.Context, step run.Step, phase string, send, recv [][]float32, wire Wire) error {
	c := &call{op: opExchange, step: step, phase: phase, wire: wire, window: r.share}
	c.chunk = 4 * r.chunk / wire.size()
	c.hostOrder = func([]byte) {} // pack and unpack see to it
	c.invalid = invalidExchange(send, recv, int(r.cfg.Rank), r.cfg.World, wire)
	c.work = func(ctx context.Context) error {
		keep(recv[r.cfg.Rank], send[r.cfg.Rank], wire)
		if r.cfg.World == 1 {
			return nil
		}
		return both(ctx,
			func(ctx context.Context) error { return r.sendLegs(ctx, c, send) },
			func(ctx context.Context) error { return r.receiveLegs(ctx, c, recv) })
	}
	return r.do(ctx, c)
}

// invalidExchange says why the arguments of an exchange cannot be used.
func invalidExchange(send, recv [][]float32, own, world int, wire Wire) error {
	switch {
	case wire > BFloat16:
		return fmt.Errorf("%v is unknown: use Float32 or BFloat16", wire)
	case len(send) != world || len(recv) != world:
		return fmt.Errorf("%d vectors to send and %d to receive were given for %d ranks", len(send), len(recv), world)
	case len(send[own]) != len(recv[own]):
		return fmt.Errorf("rank %d sends itself %d floats and receives %d", own, len(send[own]), len(recv[own]))
	}
	return nil
}

// keep is what a rank sends to itself.
func keep(dst, src []float32, wire Wire) {
	copy(dst, src)
	if wire == BFloat16 {
		RoundBFloat16(dst)
	}
}

// leg is the way from one rank to another in exchange c: x whole, sent there or received here.
func leg(c *call, x []float32) *call {
	l := *c
	l.x, l.segments = vector(x), []span{{0, len(x)}}
	l.id = hashCollective(opExchange, c.phase, run.Rank(c.wire), []int{len(x)})
	return &l
}

// sendLegs sends every other rank its vector, nearest successor first.
func (r *Ring) sendLegs(ctx context.Context, c *call, send [][]float32) error {
	for o := 1; o < r.cfg.World; o++ {
		p := r.at(o)
		if err := r.meet(ctx, p); err != nil {
			return err
		}
		l := leg(c, send[p.rank])
		for k := range l.chunksOf(0) {
			at := l.part(0, k)
			if err := r.awaitCredit(ctx, p, l); err != nil {
				return err
			}
			x := send[p.rank][at.lo:at.hi]
			frame := r.buffer(p, l.wire.size()*len(x))
			l.wire.pack(frame[headerBytes:], x)
			if err := r.sendChunk(ctx, p, l, outgoing{frame: frame}); err != nil {
				return err
			}
		}
	}
	return nil
}

// receiveLegs receives the vector of every other rank, nearest predecessor first.
func (r *Ring) receiveLegs(ctx context.Context, c *call, recv [][]float32) error {
	for o := 1; o < r.cfg.World; o++ {
		p := r.at(-o)
		if err := r.meet(ctx, p); err != nil {
			return err
		}
		if err := r.receiveLeg(ctx, p, leg(c, recv[p.rank]), recv[p.rank], o == 1); err != nil {
			return fmt.Errorf("receive from rank %d: %w", p.rank, err)
		}
	}
	return nil
}

// receiveLeg receives the chunks of l into dst. With first, p sends the first one as soon as it enters.
func (r *Ring) receiveLeg(ctx context.Context, p *peer, l *call, dst []float32, first bool) error {
	for k := range l.chunksOf(0) {
		at := l.part(0, k)
		x := dst[at.lo:at.hi]
		m, err := r.receiveChunk(ctx, p, l, len(x), first && k == 0)
		if err != nil {
			return err
		}
		l.wire.unpack(x, m.frame[headerBytes:])
		r.recycle(p, m.frame)
		if err := r.grant(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
