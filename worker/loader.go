package worker

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
)

// BatchesAhead is the number of batches whose images wait, decoded, beside the one in use. With the
// gradient cache, which is there to save memory, none does: a step then waits for its images.
func BatchesAhead(r *recipe.Recipe) int {
	if r.Batch.GradientCache == "on" {
		return 0
	}
	return 2
}

// batch is what one step trains on: the plan of the whole global batch and this worker's images.
type batch struct {
	step   run.Step
	items  []sampler.Item // the global batch
	labels []int32        // its classes
	images []float32      // own rows, C x H x W each
}

// source turns places in the plan into pixels. It is shared by the loaders of all generations.
type source struct {
	seed      uint64
	sampler   Plan
	images    *dataset.Cache
	transform *dataset.Transform
	threads   int
	ahead     int // batches that are loaded before they are asked for
}

// rowSize is the number of floats of one image.
func (s *source) rowSize() int { return 3 * s.transform.Size * s.transform.Size }

// fill decodes and augments items into dst, one row each. An image's augmentation is a function of
// (seed, epoch, image, use): who loads it, and when, changes nothing.
func (s *source) fill(ctx context.Context, dst []float32, items []sampler.Item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.threads)
	for i, it := range items {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := draw.Of(s.seed, draw.Augment, uint64(it.Epoch), uint64(it.Image), uint64(it.Use))
			return s.images.Train(dst[i*s.rowSize():(i+1)*s.rowSize()], it.Image, s.transform, r)
		})
	}
	return g.Wait()
}

// loader prepares the batches of one generation ahead of the step, in order.
type loader struct {
	batches chan *batch
	free    chan []float32
	done    chan struct{}
	err     error
	cancel  context.CancelFunc
}

// startLoader begins to load rows [lo, hi) of batches first, first+1, … end-1. close must be called.
func startLoader(ctx context.Context, src *source, lo, hi int, first, end run.Step) *loader {
	ctx, cancel := context.WithCancel(ctx)
	l := &loader{
		batches: make(chan *batch, src.ahead),
		free:    make(chan []float32, src.ahead+1),
		done:    make(chan struct{}),
		cancel:  cancel,
	}
	for range src.ahead + 1 {
		l.free <- make([]float32, (hi-lo)*src.rowSize())
	}
	go l.work(ctx, src, lo, hi, first, end)
	return l
}

func (l *loader) work(ctx context.Context, src *source, lo, hi int, first, end run.Step) {
	defer close(l.done)
	defer close(l.batches)
	for step := first; step < end; step++ {
		var images []float32
		select {
		case images = <-l.free:
		case <-ctx.Done():
			return
		}
		b := &batch{step: step, items: src.sampler.Batch(step), images: images}
		b.labels = make([]int32, len(b.items))
		for i, it := range b.items {
			b.labels[i] = int32(it.Class)
		}
		if err := src.fill(ctx, images, b.items[lo:hi]); err != nil {
			if ctx.Err() == nil {
				l.err = fmt.Errorf("loading batch %d: %w", step, err)
			}
			return
		}
		select {
		case l.batches <- b:
		case <-ctx.Done():
			return
		}
	}
}

// next returns the next batch; it belongs to the caller until recycle.
func (l *loader) next(ctx context.Context) (*batch, error) {
	select {
	case b, ok := <-l.batches:
		if ok {
			return b, nil
		}
		if l.err != nil {
			return nil, l.err
		}
		return nil, context.Canceled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// recycle gives a batch's pixels back to be filled again.
func (l *loader) recycle(b *batch) { l.free <- b.images }

// close stops loading and waits until nothing of it is left.
func (l *loader) close() {
	l.cancel()
	<-l.done
}
