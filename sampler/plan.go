package sampler

import (
	"slices"

	"github.com/metrixml/metrix/internal/draw"
)

// plan holds the rows of all steps of one epoch, step by step in the order of a batch.
type plan struct {
	epoch int
	picks []pick
}

// pick is a row of a plan: the index-th image of a class.
type pick struct{ class, index, use int32 }

// newPlan deals the classes and walks every shard through the passes of the epoch. A class belongs
// to one shard for the whole epoch, so its visits come in the order of the steps although shards
// are walked one after the other.
func (s *Sampler) newPlan(epoch int) *plan {
	p := &plan{epoch: epoch, picks: make([]pick, s.StepsPerEpoch()*s.Rows())}
	sizes := make([]int, len(s.classes))
	cursors := make([]cursor, len(s.classes))
	for c, images := range s.classes {
		sizes[c] = len(images)
		cursors[c] = cursor{seed: s.cfg.Seed, epoch: epoch, class: c, size: len(images)}
	}
	hands := deal(s.cfg.Seed, epoch, sizes, s.cfg.Shards)
	for pass := range s.cfg.Passes {
		for shard, hand := range hands {
			s.walk(p, pass, shard, hand, cursors)
		}
	}
	return p
}

// walk fills the rows of one shard in one pass. The order of the shard's classes is read on from
// its start when it ends before the last step does; as a shard has at least P/S classes, no step
// can hold a class twice.
func (s *Sampler) walk(p *plan, pass, shard int, hand []int, cursors []cursor) {
	order := draw.Of(s.cfg.Seed, draw.ClassOrder, uint64(p.epoch), uint64(pass), uint64(shard)).Perm(len(hand))
	perStep := s.cfg.Classes / s.cfg.Shards
	for i := range s.steps * perStep {
		class := hand[order[i%len(order)]]
		step := pass*s.steps + i/perStep
		slot := shard*perStep + i%perStep
		row := step*s.Rows() + slot*s.cfg.Images
		cursors[class].visit(p.picks[row : row+s.cfg.Images])
	}
}

// cursor walks through the images of one class during an epoch, round by round. A round uses every
// image once.
type cursor struct {
	seed         uint64
	epoch, class int
	size         int

	order []int // permutation of the current round
	next  int   // position in order
	round int   // rounds begun
}

// visit fills dst with the next len(dst) images.
func (c *cursor) visit(dst []pick) {
	for i := range dst {
		if c.next == len(c.order) {
			c.shuffle(dst[:i])
		}
		dst[i] = pick{class: int32(c.class), index: int32(c.order[c.next]), use: int32(c.round - 1)}
		c.next++
	}
}

// shuffle begins a round. In the middle of a visit the images that the visit holds least often come
// first: so none is repeated before the visit holds all of the class, and those put back are used
// later in the same round.
func (c *cursor) shuffle(visit []pick) {
	c.order = draw.Of(c.seed, draw.ImageOrder, uint64(c.epoch), uint64(c.class), uint64(c.round)).Perm(c.size)
	c.next = 0
	c.round++
	if len(visit)%c.size == 0 { // the visit holds all images equally often
		return
	}
	held := make([]int, c.size)
	for _, p := range visit {
		held[p.index]++
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return held[a] - held[b] })
}
