package allreduce

import (
	"context"
	"fmt"

	"github.com/metrixml/metrix/run"
)

// op is the operation of a collective, as headers carry it.
type op uint8

const (
	opAllReduce op = 1 + iota
	opReduceScatter
	opAllGather
	opBroadcast
	opBarrier
	opReduceScatterInt64
	opExchange
)

func (o op) String() string {
	switch o {
	case opAllReduce:
		return "all-reduce"
	case opReduceScatter:
		return "reduce-scatter"
	case opAllGather:
		return "all-gather"
	case opBroadcast:
		return "broadcast"
	case opBarrier:
		return "barrier"
	case opReduceScatterInt64:
		return "reduce-scatter of integers"
	case opExchange:
		return "exchange"
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// call is one collective as one rank sees it. Around the ring: which segment of x the rank sends
// first, and what it does with every segment that comes in. In an exchange each way from one rank to
// another is a call of one segment.
type call struct {
	op      op
	step    run.Step
	phase   string
	id      uint64 // names the collective in headers
	invalid error  // why the arguments cannot be used
	work    func(ctx context.Context) error

	x        operand
	segments []span // of x, by number
	first    int    // segment this rank sends before it receives anything, -1 for none
	hops     []hop  // one for each segment that comes in, in this order

	wire   Wire // how a payload holds floats
	packs  bool // they are integers, which are packed on their way
	chunk  int  // floats of a full chunk
	window int  // chunks that may be under way to a peer
	depth  int  // chunks of one segment that travel together

	hostOrder func(payload []byte) // converts between wire order and host order, both ways
}

// operand is what a collective sums or moves, as the chunks that travel see it: each method is about
// the floats from lo on that a payload holds, or is to hold.
type operand interface {
	load(payload []float32, lo int) error   // payload = own
	add(payload []float32, lo int) error    // payload += own
	finish(payload []float32, lo int) error // own += payload, which may change
	store(payload []float32, lo int)        // own = payload
}

// vector is the operand that lies in memory.
type vector []float32

func (x vector) of(payload []float32, lo int) []float32 { return x[lo : lo+len(payload)] }

func (x vector) load(payload []float32, lo int) error {
	copy(payload, x.of(payload, lo))
	return nil
}

func (x vector) add(payload []float32, lo int) error {
	add(payload, x.of(payload, lo))
	return nil
}

func (x vector) finish(payload []float32, lo int) error {
	add(x.of(payload, lo), payload)
	return nil
}

func (x vector) store(payload []float32, lo int) { copy(x.of(payload, lo), payload) }

// span is the range x[lo:hi].
type span struct{ lo, hi int }

func (s span) len() int { return s.hi - s.lo }

// hop is what happens to a segment that comes in from the predecessor.
type hop struct {
	segment int
	add     bool // add own x to it
	store   bool // put the result into x
	forward bool // send the result to the successor
}

func (c *call) String() string { return fmt.Sprintf("%v step %d %s", c.op, c.step, c.phase) }

// chunksOf is the number of chunks of a segment. An empty segment travels as one empty chunk, so
// that every collective synchronises the ranks and compares what they are doing.
func (c *call) chunksOf(segment int) int {
	s := c.segments[segment]
	return max(1, (s.hi-s.lo+c.chunk-1)/c.chunk)
}

// groups is the number of groups of depth chunks that the longest segment has.
func (c *call) groups() int {
	n := 0
	for s := range c.segments {
		n = max(n, (c.chunksOf(s)+c.depth-1)/c.depth)
	}
	return n
}

// group returns the chunks [lo, hi) of a segment that travel in a group, none if it is shorter.
func (c *call) group(segment, group int) (lo, hi int) {
	n := c.chunksOf(segment)
	return min(n, group*c.depth), min(n, (group+1)*c.depth)
}

// part returns the range of x that is chunk k of a segment.
func (c *call) part(segment, k int) span {
	s := c.segments[segment]
	lo := s.lo + k*c.chunk
	return span{lo, min(s.hi, lo+c.chunk)}
}

// reduce appends the hops of a reduce-scatter: world-1 of them, after which the segment with this
// rank's number is complete here. Segment i starts at rank i+1 and ends at rank i, so its sum is
// ((x[i+1] + x[i+2]) + ...) + x[i] on every run with this world.
func (c *call) reduce(rank, world int) {
	c.first = mod(rank-1, world)
	for h := range world - 1 {
		last := h == world-2
		c.hops = append(c.hops, hop{segment: mod(rank-2-h, world), add: true, store: last, forward: !last})
	}
}

// gather appends the hops of an all-gather of the segments that every rank has of its own.
func (c *call) gather(rank, world int) {
	for h := range world - 1 {
		c.hops = append(c.hops, hop{segment: mod(rank-1-h, world), store: true, forward: h < world-2})
	}
}

// mod is a modulo n, in [0, n).
func mod(a, n int) int { return ((a % n) + n) % n }

// even cuts n floats into world segments whose lengths differ by at most one.
func even(n, world int) []int {
	parts := make([]int, world)
	for i := range parts {
		parts[i] = n / world
		if i < n%world {
			parts[i]++
		}
	}
	return parts
}

// spans turns the lengths of consecutive segments into their ranges, or says why they do not cut x.
func spans(parts []int, world, n int) ([]span, error) {
	if len(parts) != world {
		return nil, fmt.Errorf("%d part lengths were given for %d ranks", len(parts), world)
	}
	out, at := make([]span, world), 0
	for i, p := range parts {
		if p < 0 || p > n-at {
			return nil, fmt.Errorf("part %d of %d floats does not fit into the %d floats given, of which %d are taken", i, p, n, at)
		}
		out[i] = span{at, at + p}
		at += p
	}
	if at != n {
		return nil, fmt.Errorf("the parts cover %d of the %d floats given", at, n)
	}
	return out, nil
}
