package worker

import (
	"errors"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/recipe"
)

// pictures are images in the memory of a loader: floats as the network takes them, or bytes that a device
// is still to mirror and normalise. Both are the same images to the bit.
type pictures struct {
	transform *dataset.Transform
	floats    []float32
	pixels    []byte
	mirrored  []bool
	free      func() // gives the memory back
}

// newPictures makes room for images, for bytes if a device takes them.
func (s *source) newPictures(rows int) (*pictures, error) {
	p := &pictures{transform: s.transform, free: func() {}}
	if s.device == nil {
		p.floats = make([]float32, rows*s.rowSize())
		return p, nil
	}
	p.mirrored = make([]bool, rows)
	var err error
	p.pixels, p.free, err = s.device.Pin(max(rows*s.rowSize(), 1)) // a worker may own no rows
	return p, err
}

// load decodes and augments an image into row i.
func (p *pictures) load(i int, from *dataset.Cache, image int, r *draw.Rand) (err error) {
	size := rowSize(p.transform)
	if p.pixels == nil {
		return from.Train(p.floats[i*size:][:size], image, p.transform, r)
	}
	p.mirrored[i], err = from.TrainBytes(p.pixels[i*size:][:size], image, p.transform, r)
	return err
}

// get writes the rows from number at on to dst as the network takes them.
func (p *pictures) get(dst []float32, at int) error {
	size := rowSize(p.transform)
	if p.pixels == nil {
		copy(dst, p.floats[at*size:][:len(dst)])
		return nil
	}
	for ; len(dst) > 0; dst, at = dst[size:], at+1 {
		p.transform.Floats(dst[:size], p.pixels[at*size:][:size], p.mirrored[at])
	}
	return nil
}

// images is the first n rows as a device takes them. They are cut already: by the resampling, which reads
// no more than the crop.
func (p *pictures) images(n int) engine.Images {
	side := p.transform.Size
	img := engine.Images{
		Pixels: p.pixels[:n*rowSize(p.transform)], Height: side, Width: side,
		Crops: make([]engine.Crop, n), Mean: p.transform.Mean, Deviation: p.transform.Std,
	}
	for i := range img.Crops {
		img.Crops[i].Mirrored = p.mirrored[i]
	}
	return img
}

// rowSize is the number of floats of an image, and of bytes.
func rowSize(t *dataset.Transform) int { return 3 * t.Size * t.Size }

// rows are pictures [lo, hi) as a forward takes them.
type rows struct {
	of     *pictures
	taken  engine.Taken // all of them, if a device has them
	lo, hi int
}

// floats are the rows as a network takes them that has them not yet.
func (r rows) floats() []float32 {
	size := rowSize(r.of.transform)
	if r.of.pixels == nil {
		return r.of.floats[r.lo*size : r.hi*size]
	}
	x := make([]float32, (r.hi-r.lo)*size)
	_ = r.of.get(x, r.lo) // pictures are in memory
	return x
}

// plain are rows of floats.
func (s *source) plain(floats []float32) *pictures {
	return &pictures{transform: s.transform, floats: floats}
}

var errColours = errors.New("data.augment.color is above 0: colours are changed on the host, in floats")

// placeImages decides, for the whole run, whether images go to a device as bytes or as floats.
func (t *trainer) placeImages(*recipe.Recipe) error {
	device, ok := t.net.(engine.Cropper)
	switch {
	case !ok:
	case !t.source.transform.TakesBytes():
		t.log.Info("images are mirrored and normalised on the host", "reason", errColours)
	default:
		t.source.device = device
		t.log.Info("images are mirrored and normalised where the network computes")
	}
	return nil
}
