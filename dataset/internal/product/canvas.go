package product

import (
	"image"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

const oversample = 2

// canvas is a float picture at oversample times the final side, with a rasteriser to fill it.
type canvas struct {
	side   int // pixels, oversampled
	pix    []rgb
	raster vector.Rasterizer
	mask   []uint8
}

func newCanvas(side int) *canvas {
	n := side * oversample
	return &canvas{side: n, pix: make([]rgb, n*n), mask: make([]uint8, n*n)}
}

// fill paints the area of the paths, given in pixels, with the colour that shade returns for each
// pixel; alpha scales the cover.
func (c *canvas) fill(paths []path, alpha float32, shade func(x, y float64) rgb) {
	r := c.bounds(paths)
	if r.Empty() {
		return
	}
	c.raster.Reset(r.Dx(), r.Dy())
	c.raster.DrawOp = draw.Src
	for _, p := range paths {
		for i, q := range p {
			x, y := float32(q.x-float64(r.Min.X)), float32(q.y-float64(r.Min.Y))
			if i == 0 {
				c.raster.MoveTo(x, y)
			} else {
				c.raster.LineTo(x, y)
			}
		}
		c.raster.ClosePath()
	}
	mask := &image.Alpha{Pix: c.mask[:r.Dx()*r.Dy()], Stride: r.Dx(), Rect: image.Rect(0, 0, r.Dx(), r.Dy())}
	c.raster.Draw(mask, mask.Rect, image.Opaque, image.Point{})
	for y := r.Min.Y; y < r.Max.Y; y++ {
		cover := mask.Pix[(y-r.Min.Y)*mask.Stride:]
		row := c.pix[y*c.side:]
		for x := r.Min.X; x < r.Max.X; x++ {
			if a := cover[x-r.Min.X]; a > 0 {
				row[x] = row[x].mix(shade(float64(x)+0.5, float64(y)+0.5), alpha*float32(a)/255)
			}
		}
	}
}

// bounds is the part of the canvas that the paths may touch.
func (c *canvas) bounds(paths []path) image.Rectangle {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range paths {
		for _, q := range p {
			x0, x1 = min(x0, q.x), max(x1, q.x)
			y0, y1 = min(y0, q.y), max(y1, q.y)
		}
	}
	if !(x0 <= x1 && y0 <= y1) {
		return image.Rectangle{}
	}
	limit := func(v float64) int { return int(min(max(v, 0), float64(c.side))) }
	return image.Rect(limit(math.Floor(x0)), limit(math.Floor(y0)), limit(math.Ceil(x1)), limit(math.Ceil(y1)))
}

// shrink returns the picture at its final side, each pixel the mean of its oversampled ones.
func (c *canvas) shrink() []rgb {
	n := c.side / oversample
	out := make([]rgb, n*n)
	const share = 1.0 / (oversample * oversample)
	for i := range out {
		x, y := i%n*oversample, i/n*oversample
		for k := range oversample * oversample {
			p := c.pix[(y+k/oversample)*c.side+x+k%oversample]
			for j := range p {
				out[i][j] += p[j] * share
			}
		}
	}
	return out
}

// toImage rounds the n x n pixels to 8 bits.
func toImage(pix []rgb, n int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, n, n))
	for i, p := range pix {
		q := img.Pix[4*i : 4*i+4]
		for k, v := range p {
			q[k] = uint8(255*min(max(v, 0), 1) + 0.5)
		}
		q[3] = 255
	}
	return img
}
