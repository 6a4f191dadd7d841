package dataset

import (
	"errors"
	"fmt"
	"image"

	random "github.com/metrixml/metrix/internal/draw"
)

// The decoders that a Delivery names. They give different pixels, so a recipe must say which one
// its run uses; that one is used wherever the run goes, or it is refused.
const (
	DecoderGo    = "go"    // Go's image/jpeg: on every machine
	DecoderTurbo = "turbo" // libjpeg-turbo: several times faster, the pixels of Pillow and torchvision
)

// Delivery says how pixels reach a transform. It is part of what decides a run: whether they come
// from files or from a pack is not.
type Delivery struct {
	// Store, if not 0, is the side to which the shorter side of each image is resized once, to 8
	// bits and never enlarged, before anything else is done with it.
	Store int
	// Decoder decodes JPEG files: DecoderGo (also "") or DecoderTurbo.
	Decoder string
}

// maxStore is the largest side of stored images.
const maxStore = 4096

// Validate says what is impossible about d.
func (d Delivery) Validate() error {
	if d.Store < 0 || d.Store > maxStore {
		return fmt.Errorf("dataset: store is %d; it must be a side of 1 to %d pixels, or 0 to leave images as "+
			"large as they are", d.Store, maxStore)
	}
	if d.Decoder != "" && d.Decoder != DecoderGo && d.Decoder != DecoderTurbo {
		return fmt.Errorf("dataset: unknown decoder %q; use %s or %s", d.Decoder, DecoderGo, DecoderTurbo)
	}
	return nil
}

func (d Delivery) orDefault() Delivery {
	if d.Decoder == "" {
		d.Decoder = DecoderGo
	}
	return d
}

// With returns the set with its images delivered as d says. A set opened from files can be delivered
// in any way that this machine has the decoder for; a packed one only in the way it was packed, and
// any other is an error that says how to get it. The zero Delivery is that of a set just opened
// from files. The returned set shares the memory of s.
func (s *Set) With(d Delivery) (*Set, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	d = d.orDefault()
	if made, packed := s.Packed(); packed {
		return s, made.agrees(s.Root, d)
	}
	var fast *turbo
	if d.Decoder == DecoderTurbo {
		var err error
		if fast, err = openTurbo(); err != nil {
			return nil, err
		}
	}
	out, train, test := *s, *s.Train, *s.Test
	out.Train, out.Test = &train, &test
	for _, split := range []*Split{&train, &test} {
		split.store, split.turbo = d.Store, fast
	}
	return &out, nil
}

// agrees says why a pack made as m cannot deliver as d.
func (m Delivery) agrees(root string, d Delivery) error {
	if m.Store != d.Store {
		return fmt.Errorf("dataset: %s is packed with side %d, but the recipe says data.store: %d; set data.store: %d, or "+
			"pack the files again with `metrix data pack --side %d`", root, m.Store, d.Store, m.Store, d.Store)
	}
	if m.Decoder != d.Decoder {
		return fmt.Errorf("dataset: %s was packed by decoder %s, but the recipe says data.decoder: %s; set data.decoder: %s, "+
			"or pack the files again with `metrix data pack --decoder %s`", root, m.Decoder, d.Decoder, m.Decoder, d.Decoder)
	}
	return nil
}

// Packed returns how the images of a packed set were made, and whether it is one.
func (s *Set) Packed() (Delivery, bool) {
	if s.Train == nil || s.Train.pack == nil {
		return Delivery{}, false
	}
	return s.Train.pack.config.delivery(), true
}

// Close releases the files of a packed set, whose images must not be in use any more. For a set of
// files it does nothing.
func (s *Set) Close() error {
	var errs []error
	for _, split := range []*Split{s.Train, s.Test} {
		if split != nil && split.pack != nil {
			errs = append(errs, split.pack.close())
		}
	}
	return errors.Join(errs...)
}

// Eval writes t.Eval of image i to dst. It is Decode and t.Eval in one, without a copy between them
// where the split is packed.
func (s *Split) Eval(dst []float32, i int, t *Transform, l Limits) error {
	if s.pack != nil {
		return s.pack.view(i, func(p pixels) { t.eval(dst, p) })
	}
	img, err := s.Decode(i, l)
	if err != nil {
		return err
	}
	t.Eval(dst, img)
	return nil
}

// Train writes t.Train of image i to dst. It is Image and t.Train in one, without a copy between
// them where the split is packed.
func (c *Cache) Train(dst []float32, i int, t *Transform, r *random.Rand) error {
	return c.use(i, func(p pixels) { t.train(dst, p, r) })
}

// use calls do with image i, which is valid until do returns.
func (c *Cache) use(i int, do func(pixels)) error {
	if p := c.split.pack; p != nil {
		return p.view(i, do)
	}
	img, err := c.Image(i)
	if err != nil {
		return err
	}
	do(pixelsOf(img))
	return nil
}

// fit returns img with its shorter side brought to side; img itself where that is 0 or would enlarge.
// Packs and files are both delivered through it.
func fit(img *image.RGBA, side int) *image.RGBA {
	src := pixelsOf(img)
	if side == 0 || min(src.w, src.h) <= side {
		return img
	}
	full := shorterSide(src.w, src.h, side)
	out := image.NewRGBA(image.Rectangle{Max: full})
	rs := resamplers.Get().(*resampler)
	defer rs.release()
	rs.start(src, image.Rect(0, 0, src.w, src.h), full, out.Rect)
	for y := range full.Y {
		row := out.Pix[y*out.Stride:][:4*full.X]
		for x, v := range rs.at(y) {
			p := row[4*x:][:4]
			p[0], p[1], p[2], p[3] = uint8(v), uint8(v>>laneBits), uint8(v>>(2*laneBits)), 255
		}
	}
	return out
}
