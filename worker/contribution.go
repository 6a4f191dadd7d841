package worker

import (
	"context"

	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/optim"
)

// contribution is what this worker adds to the sums over all workers of a range of t.sums. Its integers
// (package exact) need not lie anywhere: the ring asks for them where it sends them, and gives the sums
// of this worker's piece where it has received the others' (allreduce.Integers).
type contribution struct {
	acc    []int64   // sums of shards; nil if there are none
	latest []float32 // one more shard's summands, which are not in acc; nil if there are none
	sums   []float32 // where the sums go; may be latest

	shards    int     // summands of the global batch
	gradients int     // how many of sums, from the first on, are gradients, which are clipped
	clip      float64 // to this magnitude, if it is above 0
}

// Load implements allreduce.Integers.
func (c *contribution) Load(dst []int64, lo int) error {
	if c.acc == nil {
		return diverged(exact.Set(dst, c.latest[lo:lo+len(dst)], c.shards))
	}
	copy(dst, c.acc[lo:])
	if c.latest == nil {
		return nil
	}
	return diverged(exact.Add(dst, c.latest[lo:lo+len(dst)], c.shards))
}

// Add implements allreduce.Integers.
func (c *contribution) Add(dst []int64, lo int) error {
	if c.acc != nil {
		for i, v := range c.acc[lo:][:len(dst)] {
			dst[i] += v
		}
	}
	if c.latest == nil {
		return nil
	}
	return diverged(exact.Add(dst, c.latest[lo:lo+len(dst)], c.shards))
}

// blockInts is how many sums are finished at a time, so few that they stay in the first cache.
const blockInts = 1 << 11

// Finish implements allreduce.Integers.
func (c *contribution) Finish(others []int64, lo int) error {
	for from := 0; from < len(others); from += blockInts {
		block := others[from:min(len(others), from+blockInts)]
		if err := c.Add(block, lo+from); err != nil {
			return err
		}
		sums := c.sums[lo+from:][:len(block)]
		if largest := exact.Float32(sums, block); float64(largest) > c.clip {
			optim.ClipValue(sums[:min(len(sums), max(0, c.gradients-lo-from))], c.clip)
		}
	}
	return nil
}

// sumOverWorkers sums a contribution over all workers: whole integers travel to the rank that owns a
// piece, the piece's float32 values travel to everybody. Each value is clipped where it was summed.
func (t *trainer) sumOverWorkers(ctx context.Context, g *generation, c contribution) error {
	c.shards, c.clip = t.shards, t.cfg.Recipe.Optimizer.ClipValue
	pieces := g.evenParts(len(c.sums), 1)
	if err := g.ring.ReduceScatterIntegers(ctx, t.step, "gradients", &c, pieces); err != nil {
		return err
	}
	return g.ring.AllGather(ctx, t.step, "gradients", c.sums, pieces)
}
