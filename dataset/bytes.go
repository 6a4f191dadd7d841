package dataset

import (
	"image"

	random "github.com/metrixml/metrix/internal/draw"
)

// Train in two parts, for devices that take images as bytes: TrainBytes cuts and resizes, to 8 bits as
// Train does in between, and Floats mirrors and brings samples to the scale of the network. Together
// they give the bits of Train.

// TakesBytes reports whether Train can be done in two parts: not where it changes colours, which is
// done with more than 8 bits.
func (t *Transform) TakesBytes() bool { return t.Color <= 0 }

// TrainBytes writes a randomly cropped version of image i to dst, which has 3*Size*Size bytes: R, G, B
// of one pixel after the other, row by row. It is still to be mirrored if so returned. All chance comes
// from r.
func (c *Cache) TrainBytes(dst []byte, i int, t *Transform, r *random.Rand) (mirrored bool, err error) {
	err = c.use(i, func(p pixels) { mirrored = t.trainBytes(dst, p, r) })
	return mirrored, err
}

// trainBytes draws what train draws, in the same order.
func (t *Transform) trainBytes(dst []byte, src pixels, r *random.Rand) (mirrored bool) {
	crop := t.crop(src.w, src.h, r)
	mirrored = r.Float64() < t.Flip
	size := image.Pt(t.Size, t.Size)
	rs := resamplers.Get().(*resampler)
	defer rs.release()
	rs.start(src, crop, size, image.Rectangle{Max: size})
	for y := range t.Size {
		row := dst[3*t.Size*y:][:3*t.Size]
		for x, v := range rs.at(y) {
			p := row[3*x:][:3]
			p[0], p[1], p[2] = uint8(v), uint8(v>>laneBits), uint8(v>>(2*laneBits))
		}
	}
	return mirrored
}

// Floats writes an image of TrainBytes to dst, as Train would have.
func (t *Transform) Floats(dst []float32, pixels []byte, mirrored bool) {
	l, plane := t.levels(plainTint), t.Size*t.Size
	r, g, b := dst[:plane], dst[plane:][:plane], dst[2*plane:][:plane]
	for y := range t.Size {
		row := pixels[3*t.Size*y:][:3*t.Size]
		at, step := t.Size*y, 1
		if mirrored {
			at, step = at+t.Size-1, -1
		}
		for ; len(row) >= 3; row = row[3:] {
			r[at], g[at], b[at] = l[0][row[0]], l[1][row[1]], l[2][row[2]]
			at += step
		}
	}
}
