package gorgonia

import "github.com/metrixml/metrix/model"

// window is the geometry of a convolution over rows of one shape.
type window struct {
	in, out             model.Shape
	kernel, stride, pad int
}

// depth is the number of input values under one output position.
func (w window) depth() int { return w.in.C * w.kernel * w.kernel }

// area is the number of output positions.
func (w window) area() int { return w.out.H * w.out.W }

// pointwise says that the columns of an image are the image itself.
func (w window) pointwise() bool { return w.kernel == 1 && w.stride == 1 && w.pad == 0 }

// inside returns the range [lo, hi) of output positions along one axis whose tap k falls into the
// n input positions.
func (w window) inside(k, n, out int) (lo, hi int) {
	if first := w.pad - k; first > 0 {
		lo = (first + w.stride - 1) / w.stride
	}
	hi = out
	if last := n - 1 + w.pad - k; last < 0 {
		hi = 0
	} else {
		hi = min(hi, last/w.stride+1)
	}
	return min(lo, hi), hi
}

// columns writes the patches of one image x into cols, a depth x area matrix: row (c, ky, kx) holds
// the value that tap (ky, kx) of channel c sees at each output position. A convolution is then one
// product of the weight and cols.
func (w window) columns(cols, x []float32) {
	row := 0
	for c := range w.in.C {
		plane := x[c*w.in.H*w.in.W : (c+1)*w.in.H*w.in.W]
		for ky := range w.kernel {
			for kx := range w.kernel {
				w.columnRow(cols[row*w.area():(row+1)*w.area()], plane, ky, kx)
				row++
			}
		}
	}
}

func (w window) columnRow(dst, plane []float32, ky, kx int) {
	y0, y1 := w.inside(ky, w.in.H, w.out.H)
	x0, x1 := w.inside(kx, w.in.W, w.out.W)
	if x0 == x1 { // the tap sees padding only
		clear(dst)
		return
	}
	clear(dst[:y0*w.out.W])
	clear(dst[y1*w.out.W:])
	for oy := y0; oy < y1; oy++ {
		line := dst[oy*w.out.W : (oy+1)*w.out.W]
		at := (oy*w.stride - w.pad + ky) * w.in.W
		at += x0*w.stride - w.pad + kx
		for i := range x0 {
			line[i] = 0
		}
		for i := x1; i < len(line); i++ {
			line[i] = 0
		}
		inner := line[x0:x1]
		if w.stride == 1 {
			copy(inner, plane[at:])
			continue
		}
		for i := range inner {
			inner[i] = plane[at]
			at += w.stride
		}
	}
}

// image is the transpose of columns: it adds every value of cols to the position of x that it came
// from. x is overwritten.
func (w window) image(x, cols []float32) {
	clear(x)
	row := 0
	for c := range w.in.C {
		plane := x[c*w.in.H*w.in.W : (c+1)*w.in.H*w.in.W]
		for ky := range w.kernel {
			for kx := range w.kernel {
				w.imageRow(plane, cols[row*w.area():(row+1)*w.area()], ky, kx)
				row++
			}
		}
	}
}

func (w window) imageRow(plane, src []float32, ky, kx int) {
	y0, y1 := w.inside(ky, w.in.H, w.out.H)
	x0, x1 := w.inside(kx, w.in.W, w.out.W)
	if x0 == x1 {
		return
	}
	for oy := y0; oy < y1; oy++ {
		line := src[oy*w.out.W+x0 : oy*w.out.W+x1]
		at := (oy*w.stride-w.pad+ky)*w.in.W + x0*w.stride - w.pad + kx
		if w.stride == 1 {
			dst := plane[at : at+len(line)]
			for i, v := range line {
				dst[i] += v
			}
			continue
		}
		for _, v := range line {
			plane[at] += v
			at += w.stride
		}
	}
}
