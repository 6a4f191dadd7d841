//go:build gpu

package cuda

import (
	"fmt"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
)

var (
	_ engine.Cropper = (*network)(nil)
	_ engine.Taken   = (*taken)(nil)
)

// feed brings images to the card, on a stream of its own, into two places in turn:
//
//	copies  | images 1     | images 2     | wait, images 3 |
//	main    |              | step 1       | step 2         | step 3
//
// A place's event copied lets the main stream begin with it, read lets the next images in.
type feed struct {
	net    *network
	stream cu.Stream
	mu     sync.Mutex // of who has a place; a call of Take takes no part in the device's lock
	places [engine.Places]shelf
}

// shelf is a place for images.
type shelf struct {
	feed    *feed
	busy    bool
	card    piece // pixels, then crops
	crops   piece // pinned
	copied  cu.Event
	read    cu.Event
	wasRead bool // by the main stream since the last images
}

// taken are the images of a place.
type taken struct {
	place *shelf // nil once released
	kind  images
	rows  int
}

func newFeed(n *network) (_ *feed, err error) {
	f, d := &feed{net: n}, n.device
	if f.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return f, d.check(err, "making a stream")
	}
	for i := range f.places {
		p := &f.places[i]
		p.feed = f
		for _, e := range []*cu.Event{&p.copied, &p.read} {
			if *e, err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return f, d.check(err, "making an event")
			}
		}
	}
	return f, nil
}

func (f *feed) close() error {
	if f == nil || f.stream == cu.NoStream {
		return nil
	}
	var events []cu.Event
	for i := range f.places {
		events = append(events, f.places[i].copied, f.places[i].read)
	}
	first := f.net.device.destroy(events)
	if err := f.net.device.check(f.stream.Destroy(), "giving a stream back"); first == nil {
		first = err
	}
	return first
}

// Pin implements engine.Cropper.
func (n *network) Pin(bytes int) ([]byte, func(), error) {
	if n.closed || bytes < 1 {
		return nil, nil, fmt.Errorf("cuda: pinning %d bytes: the network is closed, or that is too few", bytes)
	}
	if err := n.device.enter(); err != nil {
		return nil, nil, err
	}
	defer n.device.leave()
	p, err := n.pinned.get(int64(bytes))
	if err != nil {
		return nil, nil, fmt.Errorf("cuda: %w", err)
	}
	unpin := func() {
		n.device.mu.Lock()
		defer n.device.mu.Unlock()
		n.pinned.put(p)
	}
	return unsafe.Slice((*byte)(pointer(p.address)), bytes), unpin, nil
}

// Take implements engine.Cropper.
func (n *network) Take(img engine.Images) (engine.Taken, error) {
	t := &taken{kind: images{img.Height, img.Width, img.Mean, img.Deviation}, rows: len(img.Crops)}
	crops, err := n.checkImages(img, t.kind)
	if err != nil {
		return nil, fmt.Errorf("cuda: taking images: %w", err)
	}
	if t.place = n.feed.claim(); t.place == nil {
		return nil, fmt.Errorf("cuda: taking images: all of %d places are taken: release one", engine.Places)
	}
	if err := t.place.fill(img.Pixels, crops); err != nil {
		t.Release()
		return nil, fmt.Errorf("cuda: taking images: %w", err)
	}
	return t, nil
}

// checkImages returns the crops as the kernel reads them.
func (n *network) checkImages(img engine.Images, kind images) ([]int32, error) {
	rows, in := len(img.Crops), n.model.Input
	switch {
	case n.closed:
		return nil, fmt.Errorf("the network is closed")
	case in.C != 3 || rows < 1 || img.Height < 1 || img.Width < 1 || int64(len(img.Pixels)) != kind.bytes(rows):
		return nil, fmt.Errorf("%d bytes do not make %d images of %d x %d pixels for an input of %v",
			len(img.Pixels), rows, img.Height, img.Width, in)
	}
	crops := make([]int32, 0, 4*rows)
	for i, c := range img.Crops {
		if c.Top < 0 || c.Left < 0 || c.Top+in.H > img.Height || c.Left+in.W > img.Width {
			return nil, fmt.Errorf("the crop of image %d, %d x %d from row %d and column %d, leaves its %d x %d pixels",
				i, in.H, in.W, c.Top, c.Left, img.Height, img.Width)
		}
		crops = append(crops, int32(c.Top), int32(c.Left), flag(c.Mirrored), 0)
	}
	for _, d := range img.Deviation {
		if !(d > 0) {
			return nil, fmt.Errorf("the deviation %v of the images must be above 0", d)
		}
	}
	return crops, nil
}

// claim returns a place that is free, or nil.
func (f *feed) claim() *shelf {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.places {
		if p := &f.places[i]; !p.busy {
			p.busy = true
			return p
		}
	}
	return nil
}

// cropsAt is where crops lie behind the pixels.
func cropsAt(pixels int) int64 { return aligned(int64(pixels)) }

// fill starts the copies into a place.
func (p *shelf) fill(pixels []byte, crops []int32) error {
	n := p.feed.net
	if err := p.grow(cropsAt(len(pixels))+4*int64(len(crops)), 4*int64(len(crops))); err != nil {
		return err
	}
	home := unsafe.Slice((*int32)(pointer(p.crops.address)), len(crops))
	copy(home, crops)
	to, s := cu.DevicePtr(p.card.address), p.feed.stream
	return n.device.visit(func() error {
		if p.wasRead {
			if err := n.device.check(s.Wait(p.read, 0), "waiting for the images before"); err != nil {
				return err
			}
		}
		p.wasRead = false
		for _, do := range []func() error{
			func() error { return cu.MemcpyHtoDAsync(to, unsafe.Pointer(&pixels[0]), int64(len(pixels)), s) },
			func() error {
				return cu.MemcpyHtoDAsync(to+cu.DevicePtr(cropsAt(len(pixels))), unsafe.Pointer(&home[0]), 4*int64(len(home)), s)
			},
			func() error { return p.copied.Record(s) },
		} {
			if err := n.device.check(do(), "sending images"); err != nil {
				return err
			}
		}
		return nil
	})
}

// grow makes a place large enough, and the other one along with it if it is free. It alone waits for who
// has entered, and that only where images are more than any before.
func (p *shelf) grow(card, pinned int64) error {
	if p.card.bytes >= card && p.crops.bytes >= pinned {
		return nil
	}
	n := p.feed.net
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	if err := n.device.check(n.device.main.Synchronize(), "waiting for the memory of images"); err != nil {
		return err
	}
	for i := range p.feed.places {
		other := &p.feed.places[i]
		if other != p && other.busy {
			continue
		}
		other.wasRead = false
		if err := n.memory.fit(&other.card, card); err != nil {
			return err
		}
		if err := n.pinned.fit(&other.crops, pinned); err != nil {
			return err
		}
	}
	return nil
}

// Forward implements engine.Taken.
func (t *taken) Forward(mode engine.Mode, lo, hi int, maps bool) (trunk, head engine.Tape, err error) {
	if t.place == nil || lo < 0 || lo >= hi || hi > t.rows {
		return nil, nil, fmt.Errorf("cuda: forward: there are no images [%d, %d) of %d, or they have been released", lo, hi, t.rows)
	}
	return t.place.feed.net.forwardBoth(mode, hi-lo, t.kind, input{taken: t, lo: lo, hi: hi}, maps)
}

// lend lets the main stream bring images of x to where a program reads them.
func (p *shelf) lend(x input, pixels, crops uintptr) error {
	d, t := p.feed.net.device, x.taken
	rows := x.hi - x.lo
	from := cu.DevicePtr(p.card.address)
	list := from + cu.DevicePtr(cropsAt(int(t.kind.bytes(t.rows)))) + cu.DevicePtr(cropBytes*x.lo)
	p.wasRead = true
	for _, do := range []func() error{
		func() error { return d.main.Wait(p.copied, 0) },
		func() error {
			return cu.MemcpyDtoDAsync(cu.DevicePtr(pixels), from+cu.DevicePtr(t.kind.bytes(x.lo)), t.kind.bytes(rows), d.main)
		},
		func() error { return cu.MemcpyDtoDAsync(cu.DevicePtr(crops), list, cropBytes*int64(rows), d.main) },
		func() error { return p.read.Record(d.main) },
	} {
		if err := d.check(do(), "handing images on"); err != nil {
			return err
		}
	}
	return nil
}

// Release implements engine.Taken. The copies are waited for: the caller's pixels may change afterwards.
func (t *taken) Release() {
	p := t.place
	if p == nil {
		return
	}
	t.place = nil
	f := p.feed
	if !f.net.closed {
		_ = f.net.device.visit(func() error { return p.copied.Synchronize() }) // a lost card reads nothing any more
	}
	f.mu.Lock()
	p.busy = false
	f.mu.Unlock()
}
