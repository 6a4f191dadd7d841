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

// prefetch is the number of batches that wait decoded ahead of the step, beside the one in use.
const prefetch = 2

// HeldImages is the number of images that a worker holds which owns so many rows of the batch, in
// shards of shardRows: its rows of the batch in use and of those in preparation. With the gradient
// cache, which is there to save memory, it is one shard: its images are loaded, by the step that
// waits for them, when it is embedded and again for its backward.
func HeldImages(r *recipe.Recipe, own, shardRows int) int {
	if loadsByShard(r) {
		return shardRows
	}
	return (1 + prefetch) * own
}

func loadsByShard(r *recipe.Recipe) bool { return r.Batch.GradientCache == "on" }

// batch is what one step trains on: the plan of the whole global batch and this worker's images.
type batch struct {
	step   run.Step
	items  []sampler.Item // the global batch
	labels []int32        // its classes
	images []float32      // own rows, C x H x W each; or room for those of one shard
	// shard returns the images of own shard i. They may be overwritten by the next call.
	shard func(i int) ([]float32, error)
}

// source turns places in the plan into pixels. It is shared by the loaders of all generations.
type source struct {
	seed      uint64
	sampler   Plan
	images    *dataset.Cache
	transform *dataset.Transform
	threads   int
	shardRows int
	byShard   bool // images are loaded shard by shard, when they are asked for
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
		batches: make(chan *batch, prefetch),
		free:    make(chan []float32, prefetch+1),
		done:    make(chan struct{}),
		cancel:  cancel,
	}
	held, rows := prefetch+1, hi-lo
	if src.byShard {
		held, rows = 1, src.shardRows
	}
	for range held {
		l.free <- make([]float32, rows*src.rowSize())
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
		if err := src.supply(ctx, b, lo, hi); err != nil {
			if ctx.Err() == nil {
				l.err = err
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

// supply loads the images of rows [lo, hi) of b, or sees to it that b.shard does.
func (s *source) supply(ctx context.Context, b *batch, lo, hi int) error {
	load := func(from, to int) error {
		if err := s.fill(ctx, b.images, b.items[from:to]); err != nil {
			return fmt.Errorf("loading batch %d: %w", b.step, err)
		}
		return nil
	}
	n, size := s.shardRows, s.shardRows*s.rowSize()
	if s.byShard {
		loaded := -1
		b.shard = func(i int) ([]float32, error) {
			if i == loaded {
				return b.images, nil
			}
			loaded = -1
			if err := load(lo+i*n, lo+(i+1)*n); err != nil {
				return nil, err
			}
			loaded = i
			return b.images, nil
		}
		return nil
	}
	b.shard = func(i int) ([]float32, error) { return b.images[i*size:][:size], nil }
	return load(lo, hi)
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
