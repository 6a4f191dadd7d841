package worker

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
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
	images *pictures      // own rows; or room for those of one shard
	taken  engine.Taken   // the same on a device; nil where the network takes floats
	// shard returns the images of own shard i. They may be overwritten by the next call.
	shard func(i int) (rows, error)
}

// source turns places in the plan into pixels. It is shared by the loaders of all generations.
type source struct {
	seed      uint64
	sampler   Plan
	images    *dataset.Cache
	transform *dataset.Transform
	threads   int
	shardRows int
	byShard   bool           // images are loaded shard by shard, when they are asked for
	device    engine.Cropper // takes images as bytes; nil where the network takes floats
}

// rowSize is the number of floats of one image.
func (s *source) rowSize() int { return rowSize(s.transform) }

// fill decodes and augments items into dst, one row each. An image's augmentation is a function of
// (seed, epoch, image, use): who loads it, and when, changes nothing.
func (s *source) fill(ctx context.Context, dst *pictures, items []sampler.Item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.threads)
	for i, it := range items {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := draw.Of(s.seed, draw.Augment, uint64(it.Epoch), uint64(it.Image), uint64(it.Use))
			return dst.load(i, s.images, it.Image, r)
		})
	}
	return g.Wait()
}

// loader prepares the batches of one generation ahead of the step, in order. Where a device takes images,
// those of the next batch are on their way to it while the step computes with those of this one.
type loader struct {
	src     *source
	batches chan *batch
	free    chan *pictures
	all     []*pictures
	places  chan struct{} // of the device that are taken
	current *batch        // of the step
	done    chan struct{}
	err     error
	cancel  context.CancelFunc
}

// startLoader begins to load rows [lo, hi) of batches first, first+1, … end-1. close must be called.
func startLoader(ctx context.Context, src *source, lo, hi int, first, end run.Step) (*loader, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &loader{
		src:     src,
		batches: make(chan *batch, prefetch),
		free:    make(chan *pictures, prefetch+1),
		places:  make(chan struct{}, engine.Places),
		done:    make(chan struct{}),
		cancel:  cancel,
	}
	held, rows := prefetch+1, hi-lo
	if src.byShard {
		held, rows = 1, src.shardRows
	}
	for range held {
		p, err := src.newPictures(rows)
		if err != nil {
			cancel()
			l.giveBack()
			return nil, fmt.Errorf("making room for images: %w", err)
		}
		l.all = append(l.all, p)
		l.free <- p
	}
	go l.work(ctx, lo, hi, first, end)
	return l, nil
}

func (l *loader) work(ctx context.Context, lo, hi int, first, end run.Step) {
	defer close(l.done)
	defer close(l.batches)
	for step := first; step < end; step++ {
		var images *pictures
		select {
		case images = <-l.free:
		case <-ctx.Done():
			return
		}
		b := &batch{step: step, items: l.src.sampler.Batch(step), images: images}
		b.labels = make([]int32, len(b.items))
		for i, it := range b.items {
			b.labels[i] = int32(it.Class)
		}
		if err := l.supply(ctx, b, lo, hi); err != nil {
			if ctx.Err() == nil {
				l.err = err
			}
			return
		}
		select {
		case l.batches <- b:
		case <-ctx.Done():
			l.release(b)
			return
		}
	}
}

// supply loads the images of rows [lo, hi) of b, or sees to it that b.shard does.
func (l *loader) supply(ctx context.Context, b *batch, lo, hi int) error {
	n := l.src.shardRows
	if l.src.byShard {
		loaded := -1
		b.shard = func(i int) (rows, error) {
			if i != loaded {
				loaded = -1
				l.release(b)
				if err := l.load(ctx, b, lo+i*n, lo+(i+1)*n); err != nil {
					return rows{}, err
				}
				loaded = i
			}
			return rows{b.images, b.taken, 0, n}, nil
		}
		return nil
	}
	b.shard = func(i int) (rows, error) { return rows{b.images, b.taken, i * n, (i + 1) * n}, nil }
	return l.load(ctx, b, lo, hi)
}

// load loads the images of rows [from, to) of the global batch, and hands them to the device, if one takes
// them, as soon as it has a place.
func (l *loader) load(ctx context.Context, b *batch, from, to int) error {
	err := l.src.fill(ctx, b.images, b.items[from:to])
	if err == nil && l.src.device != nil && to > from {
		select {
		case l.places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.taken, err = l.src.device.Take(b.images.images(to - from)); err != nil {
			b.taken = nil
			<-l.places
		}
	}
	if err != nil {
		return fmt.Errorf("loading batch %d: %w", b.step, err)
	}
	return nil
}

// release gives a place on the device back.
func (l *loader) release(b *batch) {
	if b.taken != nil {
		b.taken.Release()
		b.taken = nil
		<-l.places
	}
}

// next returns the next batch; it belongs to the caller until recycle or close.
func (l *loader) next(ctx context.Context) (*batch, error) {
	select {
	case b, ok := <-l.batches:
		if ok {
			l.current = b
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
func (l *loader) recycle(b *batch) {
	l.current = nil
	l.release(b)
	l.free <- b.images
}

// close stops loading and waits until nothing of it is left.
func (l *loader) close() {
	l.cancel()
	<-l.done
	for b := range l.batches {
		l.release(b)
	}
	if l.current != nil {
		l.release(l.current)
	}
	l.giveBack()
}

func (l *loader) giveBack() {
	for _, p := range l.all {
		p.free()
	}
}
