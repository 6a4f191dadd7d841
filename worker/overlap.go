package worker

import (
	"context"
	"errors"

	"github.com/metrixml/metrix/engine"
)

// bucketFloats is how many gradients are summed over the workers at a time while backward goes on:
// enough to keep the ring busy, few enough that little is left when the first layer is done.
const bucketFloats = 2 << 20

// overlap sums the trunk's gradients over all workers while the backward of this worker's last shard
// still goes on. They become complete from the last layer to the first, and so do buckets, equal
// ranges of the flat block counted from its end. All workers therefore run the same collectives in
// the same order, whenever each gets to its last shard.
type overlap struct {
	ready  chan part // ranges that have received all of the last shard
	cancel context.CancelCauseFunc
	done   chan error
}

var errBackwardFailed = errors.New("the backward of this worker failed")

// startOverlap begins to wait for ranges. Until finish it alone uses the ring, t.trunkAcc and the
// announced ranges of t.sums.
func (t *trainer) startOverlap(ctx context.Context, g *generation) *overlap {
	ctx, cancel := context.WithCancelCause(ctx)
	o := &overlap{ready: make(chan part, len(t.network.Params)), cancel: cancel, done: make(chan error, 1)}
	go func() { o.done <- t.sumBuckets(ctx, g, o.ready) }()
	return o
}

// options are those of the trunk's backward that o follows.
func (o *overlap) options() engine.Backward {
	if o == nil {
		return engine.Backward{}
	}
	return engine.Backward{Ready: func(lo, hi int) { o.ready <- part{lo, hi} }}
}

// finish waits until everything is summed. failed is what became of the backward.
func (o *overlap) finish(failed error) error {
	if o == nil {
		return failed
	}
	close(o.ready)
	if failed != nil {
		o.cancel(errBackwardFailed)
	}
	err := <-o.done
	o.cancel(nil)
	if failed != nil {
		return failed
	}
	return err
}

// sumBuckets sums every bucket of the trunk over the workers once all of it has been announced, the
// last bucket first.
func (t *trainer) sumBuckets(ctx context.Context, g *generation, ready <-chan part) error {
	buckets := bucketsOf(t.layout.trunk)
	missing := make([]int, len(buckets))
	for i, b := range buckets {
		missing[i] = b.hi - b.lo
	}
	for i, b := range buckets {
		for missing[i] > 0 {
			p, open := <-ready
			if !open {
				return errBackwardFailed
			}
			for j, other := range buckets {
				missing[j] -= max(0, min(p.hi, other.hi)-max(p.lo, other.lo))
			}
		}
		if err := t.sumOverWorkers(ctx, g, t.bucket(g, b)); err != nil {
			return err
		}
		if err := t.reduced(b); err != nil {
			return err
		}
	}
	return nil
}

// bucketsOf cuts a part into buckets, from its end.
func bucketsOf(p part) (buckets []part) {
	for hi := p.hi; hi > p.lo; hi -= bucketFloats {
		buckets = append(buckets, part{max(p.lo, hi-bucketFloats), hi})
	}
	return buckets
}
