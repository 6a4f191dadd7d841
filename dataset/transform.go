package dataset

import (
	"fmt"
	"image"
	"math"
	"slices"

	random "github.com/metrixml/metrix/internal/draw"
)

// Transform turns a decoded image into the network's input: 3 x Size x Size float32, channel by
// channel (R, G, B), row by row, each (v/255 - Mean) / Std. It is read only while in use and safe
// for concurrent use.
//
// Sizes, crops and fall-backs follow torchvision's RandomResizedCrop, Resize and CenterCrop, with
// the antialiased bilinear (tent) filter of Pillow, so that published recipes mean the same here;
// results are within one step of 8 bits of theirs. Nothing is allocated.
type Transform struct {
	Size   int        // side of the result, pixels
	Resize int        // Eval: the shorter side is brought to this before the centre crop; 0 means Size
	Scale  [2]float64 // Train: range of the crop's share of the area, in (0, 1]
	Ratio  [2]float64 // Train: range of the crop's width/height, drawn uniformly in its logarithm
	Flip   float64    // Train: probability of a horizontal flip
	Color  float64    // Train: brightness, contrast and saturation each scaled by [1-Color, 1+Color]
	Mean   [3]float32 // of R, G, B in 0..1
	Std    [3]float32 // of R, G, B in 0..1
}

// DefaultTransform returns the published setting of the field: 224-pixel crops of 256-pixel images,
// no change of colour, mean and deviation of ImageNet.
func DefaultTransform() Transform {
	return Transform{
		Size: 224, Resize: 256,
		Scale: [2]float64{0.08, 1}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}, Flip: 0.5,
		Mean: [3]float32{0.485, 0.456, 0.406}, Std: [3]float32{0.229, 0.224, 0.225},
	}
}

// Validate says what is impossible about t.
func (t *Transform) Validate() error {
	ordered := func(r [2]float64) bool { return r[0] > 0 && r[0] <= r[1] && !math.IsInf(r[1], 1) }
	switch {
	case t.Size < 1 || t.Size > 4096:
		return fmt.Errorf("transform: size is %d; it must be 1 to 4096 pixels", t.Size)
	case t.Resize != 0 && (t.Resize < t.Size || t.Resize > 4*4096):
		return fmt.Errorf("transform: resize is %d; it must be at least the size %d, since the crop is "+
			"cut from it", t.Resize, t.Size)
	case !ordered(t.Scale) || t.Scale[1] > 1:
		return fmt.Errorf("transform: scale is %v; it must be [low, high] with 0 < low <= high <= 1", t.Scale)
	case !ordered(t.Ratio):
		return fmt.Errorf("transform: ratio is %v; it must be [low, high] with 0 < low <= high", t.Ratio)
	case !(t.Flip >= 0 && t.Flip <= 1):
		return fmt.Errorf("transform: flip is %v; it is a probability, 0 to 1", t.Flip)
	case !(t.Color >= 0 && t.Color <= 1):
		return fmt.Errorf("transform: color is %v; it must be 0 to 1", t.Color)
	}
	for c := range t.Std {
		if !(t.Std[c] > 0) || math.IsNaN(float64(t.Mean[c])) {
			return fmt.Errorf("transform: mean %v and std %v must be numbers, std above 0", t.Mean, t.Std)
		}
	}
	return nil
}

// Train writes a randomly cropped, flipped and coloured version of img to dst, which has
// 3*Size*Size floats. All chance comes from r.
func (t *Transform) Train(dst []float32, img *image.RGBA, r *random.Rand) {
	t.train(dst, pixelsOf(img), r)
}

// Eval writes the centre crop of img to dst, which has 3*Size*Size floats.
func (t *Transform) Eval(dst []float32, img *image.RGBA) { t.eval(dst, pixelsOf(img)) }

func (t *Transform) train(dst []float32, src pixels, r *random.Rand) {
	crop := t.crop(src.w, src.h, r)
	flip := r.Float64() < t.Flip
	colours := t.tint(r)
	size := image.Pt(t.Size, t.Size)
	levels := t.levels(colours)
	t.resize(dst, src, view{area: crop, full: size, window: image.Rectangle{Max: size}, flip: flip}, &levels)
	if colours != plainTint {
		t.recolour(dst, colours)
	}
}

func (t *Transform) eval(dst []float32, src pixels) {
	v := view{area: trimLongSide(image.Rect(0, 0, src.w, src.h))}
	v.full, v.window = t.centre(v.area.Dx(), v.area.Dy())
	levels := t.levels(plainTint)
	t.resize(dst, src, v, &levels)
}

// view is the Size x Size window of an area of an image that is resized to full.
type view struct {
	area   image.Rectangle
	full   image.Point
	window image.Rectangle
	flip   bool // mirrored
}

// levels are the values that the 256 steps of each channel become in the planes.
type levels [3][256]float32

// levels bring samples to the scale of the network, or, if their colours are still to be changed, to
// the brightness of the tint.
func (t *Transform) levels(colours tint) (l levels) {
	for c := range l {
		mean, scale := t.Mean[c], 1/t.Std[c]
		for v := range l[c] {
			level := float32(float32(v) * (1.0 / 255))
			if colours == plainTint {
				level = (level - mean) * scale
			} else {
				level = clamp(level * colours.brightness)
			}
			l[c][v] = level
		}
	}
	return l
}

// resize writes a view of src to the planes of dst.
func (t *Transform) resize(dst []float32, src pixels, v view, l *levels) {
	n := t.Size
	plane := n * n
	rs := resamplers.Get().(*resampler)
	defer rs.release()
	rs.start(src, v.area, v.full, v.window)
	for y := range n {
		line := rs.at(y)
		if v.flip {
			slices.Reverse(line)
		}
		r, g, b := dst[y*n:][:len(line)], dst[plane+y*n:][:len(line)], dst[2*plane+y*n:][:len(line)]
		for x, p := range line {
			r[x] = l[0][uint8(p)]
			g[x] = l[1][uint8(p>>laneBits)]
			b[x] = l[2][uint8(p>>(2*laneBits))]
		}
	}
}

// crop draws the part of a w x h image to keep: an area share and a shape, tried ten times, then the
// largest centred crop of an allowed shape.
func (t *Transform) crop(w, h int, r *random.Rand) image.Rectangle {
	area := float64(w) * float64(h)
	lo, hi := math.Log(t.Ratio[0]), math.Log(t.Ratio[1])
	for range 10 {
		target := area * r.Range(t.Scale[0], t.Scale[1])
		ratio := math.Exp(r.Range(lo, hi))
		cw := int(math.RoundToEven(math.Sqrt(target * ratio)))
		ch := int(math.RoundToEven(math.Sqrt(target / ratio)))
		if cw > 0 && ch > 0 && cw <= w && ch <= h {
			y := r.IntN(h - ch + 1)
			x := r.IntN(w - cw + 1)
			return image.Rect(x, y, x+cw, y+ch)
		}
	}
	cw, ch := w, h
	switch ratio := float64(w) / float64(h); {
	case ratio < t.Ratio[0]:
		ch = max(1, int(math.RoundToEven(float64(w)/t.Ratio[0])))
	case ratio > t.Ratio[1]:
		cw = max(1, int(math.RoundToEven(float64(h)*t.Ratio[1])))
	}
	x, y := (w-cw)/2, (h-ch)/2
	return image.Rect(x, y, x+cw, y+ch)
}

// maxAspect is how many times its short side the long side of an image may count in Eval.
const maxAspect = 8

// trimLongSide cuts the ends, which the centre crop never shows, off an extremely long image: a
// 1 x 1000000 image resized by its short side would otherwise need gigabytes.
func trimLongSide(r image.Rectangle) image.Rectangle {
	w, h := r.Dx(), r.Dy()
	if cut := w - maxAspect*h; cut > 0 {
		r.Min.X += cut / 2
		r.Max.X = r.Min.X + maxAspect*h
	}
	if cut := h - maxAspect*w; cut > 0 {
		r.Min.Y += cut / 2
		r.Max.Y = r.Min.Y + maxAspect*w
	}
	return r
}

// centre returns the size of a w x h image after the resize, and the Size x Size window in its middle.
func (t *Transform) centre(w, h int) (full image.Point, window image.Rectangle) {
	side := t.Resize
	if side == 0 {
		side = t.Size
	}
	full = shorterSide(w, h, side)
	x := int(math.RoundToEven(float64(full.X-t.Size) / 2))
	y := int(math.RoundToEven(float64(full.Y-t.Size) / 2))
	return full, image.Rect(x, y, x+t.Size, y+t.Size)
}

// shorterSide returns the size of a w x h image whose shorter side is brought to side; the longer
// one is rounded down, as torchvision does.
func shorterSide(w, h, side int) image.Point {
	if w < h {
		return image.Pt(side, int(float64(side)*float64(h)/float64(w)))
	}
	return image.Pt(int(float64(side)*float64(w)/float64(h)), side)
}
