package worker

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
)

// deviceImages is the part of deviceNet that takes images.
type deviceImages struct {
	embedded *atomic.Int64 // images that have gone forward as bytes
	mu       sync.Mutex
	pinned   int
	taken    int
}

var _ engine.Cropper = (*deviceNet)(nil)

func (d *deviceNet) Pin(bytes int) ([]byte, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if bytes < 1 {
		return nil, nil, errors.New("nothing to pin")
	}
	d.pinned++
	return make([]byte, bytes), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pinned--
	}, nil
}

func (d *deviceNet) Take(img engine.Images) (engine.Taken, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken == engine.Places {
		return nil, errors.New("all places are taken")
	}
	d.taken++
	return &deviceTaken{net: d, images: img}, nil
}

// deviceTaken reads its pixels as late as it may.
type deviceTaken struct {
	net      *deviceNet
	images   engine.Images
	released bool
}

func (x *deviceTaken) Forward(mode engine.Mode, lo, hi int, maps bool) (trunk, head engine.Tape, err error) {
	if x.released {
		return nil, nil, errors.New("the images have been released")
	}
	x.net.embedded.Add(int64(hi - lo))
	tr := dataset.Transform{Size: x.images.Height, Mean: x.images.Mean, Std: x.images.Deviation}
	size := rowSize(&tr)
	floats := make([]float32, (hi-lo)*size)
	for i := lo; i < hi; i++ {
		tr.Floats(floats[(i-lo)*size:][:size], x.images.Pixels[i*size:][:size], x.images.Crops[i].Mirrored)
	}
	if !maps {
		return x.net.ForwardBoth(mode, floats, hi-lo)
	}
	if trunk, err = x.net.Forward(0, mode, floats, hi-lo); err != nil {
		return nil, nil, err
	}
	head, err = x.net.Forward(1, mode, trunk.Out(), hi-lo)
	return trunk, head, err
}

func (x *deviceTaken) Release() {
	x.net.mu.Lock()
	defer x.net.mu.Unlock()
	if !x.released {
		x.released = true
		x.net.taken--
	}
}

// Close checks that everything has been given back.
func (d *deviceNet) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pinned != 0 || d.taken != 0 {
		return errors.Join(errors.New("pinned memory or images are left on the device"), d.Net.Close())
	}
	return d.Net.Close()
}

// Images that a device mirrors and normalises give the run of images that come as floats; where colours
// change, floats come.
func TestSameRunWhicheverWayImagesCome(t *testing.T) {
	for name, k := range map[string]struct {
		set      []string
		embedded int64 // images of a step that go forward as bytes, in batches
	}{
		"embed":              {[]string{"mix.level=embed"}, 1},
		"images are mixed":   {[]string{"mix.level=input"}, 1},
		"images are fetched": {[]string{"mix.level=input", "mix.images=fetch"}, 1},
		"maps are mixed":     {[]string{"mix.level=feature", "mix.hardest=2"}, 1},
		"by shard":           {[]string{"mix.level=input", "batch.gradient_cache=on"}, 2},
		"by shard, fetched":  {[]string{"mix.level=input", "mix.images=fetch", "batch.gradient_cache=on"}, 2},
		"colours":            {[]string{"mix.level=embed", "data.augment.color=0.3"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, append([]string{"data.augment.color=0", "train.steps=4", "model.norm=batch"}, k.set...)...)
			want, wantResult := trainOn(t, gorgonia.New(), 1, r, 1)
			for _, workers := range []int{1, 2} {
				device := onDevice()
				got, gotResult := trainOn(t, device, 1, r, workers)
				requireSameRun(t, want, got, wantResult, gotResult)
				rows := int64(r.Batch.Classes * r.Batch.Images)
				require.Equal(t, k.embedded*int64(r.Train.Steps)*rows, device.embedded.Load())
			}
		})
	}
}
