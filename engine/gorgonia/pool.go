package gorgonia

import (
	"math"

	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
)

// unary adds an op of one input with its gradient. backward computes dx from dy, and may use what
// forward left in variables of its own.
func (p *program) unary(name string, x *gg.Node, out model.Shape, forward func(y, x []float32), backward func(dx, dy []float32)) (*gg.Node, error) {
	o := &op{name: name, out: p.rows(out), wrt: []bool{true}}
	o.run = func(y []float32, in [][]float32) error {
		forward(y, in[0])
		return nil
	}
	o.diff = func(in gg.Nodes, _, dy *gg.Node) (gg.Nodes, error) {
		d := &op{name: name + "'", out: in[0].Shape()}
		d.run = p.inputGrad(in[0], func(dx []float32, in [][]float32) error {
			backward(dx, in[0])
			return nil
		})
		dx, err := p.apply(d, dy)
		return gg.Nodes{dx}, err
	}
	return p.apply(o, x)
}

// maxPool adds a max pooling; the position of each maximum is kept for the backward.
func (p *program) maxPool(l *model.MaxPool, x *gg.Node, in model.Shape) (*gg.Node, error) {
	w := window{in: in, out: l.Output(in), kernel: l.Kernel, stride: l.Stride, pad: l.Pad}
	planeX, planeY := in.H*in.W, w.area()
	planes := p.n * in.C
	at := make([]int32, planes*planeY)
	forward := func(y, x []float32) {
		parallel(p.net.threads, planes, func(_, i int) {
			w.maxPlane(y[i*planeY:(i+1)*planeY], at[i*planeY:(i+1)*planeY], x[i*planeX:(i+1)*planeX])
		})
	}
	backward := func(dx, dy []float32) {
		parallel(p.net.threads, planes, func(_, i int) {
			d := dx[i*planeX : (i+1)*planeX]
			clear(d)
			for j, from := range at[i*planeY : (i+1)*planeY] {
				d[from] += dy[i*planeY+j]
			}
		})
	}
	return p.unary(l.Name, x, w.out, forward, backward)
}

// maxPlane pools one channel of one image and notes where each maximum was.
func (w window) maxPlane(y []float32, at []int32, x []float32) {
	if w.kernel == 2 && w.pad == 0 {
		w.maxPlane2(y, at, x)
		return
	}
	for oy := range w.out.H {
		y0, y1 := max(0, oy*w.stride-w.pad), min(w.in.H, oy*w.stride-w.pad+w.kernel)
		for ox := range w.out.W {
			x0, x1 := max(0, ox*w.stride-w.pad), min(w.in.W, ox*w.stride-w.pad+w.kernel)
			from := y0*w.in.W + x0
			for iy := y0; iy < y1; iy++ {
				for j := iy*w.in.W + x0; j < iy*w.in.W+x1; j++ {
					from = larger(x, from, j)
				}
			}
			y[oy*w.out.W+ox], at[oy*w.out.W+ox] = x[from], int32(from)
		}
	}
}

// maxPlane2 is maxPlane for windows of 2 x 2 without padding.
func (w window) maxPlane2(y []float32, at []int32, x []float32) {
	i := 0
	for oy := range w.out.H {
		for ox := range w.out.W {
			j := oy*w.stride*w.in.W + ox*w.stride
			k := j + w.in.W
			from := larger(x, larger(x, j, j+1), larger(x, k, k+1))
			y[i], at[i] = x[from], int32(from)
			i++
		}
	}
}

// larger returns j if x[j] > x[i], otherwise i. It selects an integer because the compiler does that
// without a branch, which would be mispredicted half of the time.
func larger(x []float32, i, j int) int {
	if x[j] > x[i] {
		i = j
	}
	return i
}

// avgMaxPool adds the sum of global average and global maximum pooling.
func (p *program) avgMaxPool(name string, x *gg.Node, in model.Shape) (*gg.Node, error) {
	area, planes := in.H*in.W, p.n*in.C
	at := make([]int32, planes)
	forward := func(y, x []float32) {
		parallel(p.net.threads, planes, func(_, i int) {
			plane := x[i*area : (i+1)*area]
			best, from := plane[0], 0
			var sum float64
			for j, v := range plane {
				sum += float64(v)
				if v > best {
					best, from = v, j
				}
			}
			y[i], at[i] = float32(sum/float64(area))+best, int32(from)
		})
	}
	backward := func(dx, dy []float32) {
		parallel(p.net.threads, planes, func(_, i int) {
			plane := dx[i*area : (i+1)*area]
			mean := dy[i] / float32(area)
			for j := range plane {
				plane[j] = mean
			}
			plane[at[i]] += dy[i]
		})
	}
	return p.unary(name, x, model.Shape{C: in.C, H: 1, W: 1}, forward, backward)
}

// l2Norm adds the division of rows by their length. With y = x/|x|, dx = (dy - y (y.dy)) / |x|.
func (p *program) l2Norm(name string, x *gg.Node, in model.Shape) (*gg.Node, error) {
	size := in.Size()
	unit := make([]float32, p.n*size)
	inverse := make([]float64, p.n)
	forward := func(y, x []float32) {
		for i := range p.n {
			var sum float64
			for _, v := range x[i*size : (i+1)*size] {
				sum += float64(v) * float64(v)
			}
			length := math.Sqrt(sum)
			inverse[i] = 1 / length
			if length < model.L2Eps {
				inverse[i] = 0
				length = model.L2Eps
			}
			for j, v := range x[i*size : (i+1)*size] {
				y[i*size+j] = float32(float64(v) / length)
			}
		}
		copy(unit, y)
	}
	backward := func(dx, dy []float32) {
		for i := range p.n {
			y, d := unit[i*size:(i+1)*size], dy[i*size:(i+1)*size]
			var dot float64
			for j, v := range d {
				dot += float64(v) * float64(y[j])
			}
			for j, v := range d {
				dx[i*size+j] = float32((float64(v) - float64(y[j])*dot) * inverse[i])
			}
		}
	}
	return p.unary(name, x, in, forward, backward)
}
