package enginetest

import (
	"fmt"
	"math"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// rows is n rows of one shape.
type rows struct {
	n     int
	shape model.Shape
	v     []float64
}

func newRows(n int, s model.Shape) rows { return rows{n, s, make([]float64, n*s.Size())} }

// at returns the index of a value.
func (r rows) at(n, c, y, x int) int {
	return ((n*r.shape.C+c)*r.shape.H+y)*r.shape.W + x
}

// evaluation is one forward of a stage together with the way back.
type evaluation struct {
	model           *model.Network
	stage           model.Stage
	mode            engine.Mode
	params, buffers []float64
	sums            []float64 // what the forward adds to BufferSums
	grads           []float64 // what the backward adds to Grads
	y               rows
	back            back
}

// back takes the gradient by a layer's output, adds parameter gradients and returns the gradient by
// the layer's input.
type back func(dy rows) rows

// evaluate runs one stage forward.
func evaluate(m *model.Network, stage model.Stage, mode engine.Mode, params, buffers, x []float64, n int) (*evaluation, error) {
	e := &evaluation{
		model: m, stage: stage, mode: mode, params: params, buffers: buffers,
		sums: make([]float64, len(buffers)), grads: make([]float64, len(params)),
	}
	var err error
	e.y, e.back, err = e.layers(m.Layers(stage), rows{n, m.StageInput(stage), x})
	return e, err
}

// backward returns the gradients by the input and by all parameters.
func (e *evaluation) backward(dOut []float64) (dx, grads []float64) {
	d := e.back(rows{e.y.n, e.y.shape, dOut})
	return d.v, e.grads
}

func (e *evaluation) param(r model.Ref) []float64 { return view(e.model.Params[r], e.params) }

func (e *evaluation) grad(r model.Ref) []float64 { return view(e.model.Params[r], e.grads) }

func view(p model.Param, block []float64) []float64 { return block[p.Offset : p.Offset+p.Size] }

func (e *evaluation) layers(layers []model.Layer, x rows) (rows, back, error) {
	var backs []back
	for _, l := range layers {
		y, b, err := e.layer(l, x)
		if err != nil {
			return x, nil, err
		}
		backs, x = append(backs, b), y
	}
	return x, func(dy rows) rows {
		for i := len(backs) - 1; i >= 0; i-- {
			dy = backs[i](dy)
		}
		return dy
	}, nil
}

func (e *evaluation) layer(l model.Layer, x rows) (y rows, b back, err error) {
	switch l := l.(type) {
	case *model.Conv:
		y, b = e.conv(l, x)
	case *model.BatchNorm:
		return e.batchNorm(l, x)
	case *model.GroupNorm:
		y, b = e.groupNorm(l, x)
	case *model.ReLU:
		y, b = relu(x)
	case *model.MaxPool:
		y, b = maxPool(l, x)
	case *model.Residual:
		return e.residual(l, x)
	case *model.AvgMaxPool:
		y, b = avgMaxPool(x)
	case *model.Linear:
		y, b = e.linear(l, x)
	case *model.L2Norm:
		y, b = l2Norm(x)
	default:
		err = fmt.Errorf("a layer of kind %T is unknown to this engine", l)
	}
	return y, b, err
}

// taps calls do for every pair of an output and an input position that a window connects.
func taps(in, out model.Shape, kernel, stride, pad int, do func(oy, ox, iy, ix, ky, kx int)) {
	for oy := range out.H {
		for ox := range out.W {
			for ky := range kernel {
				for kx := range kernel {
					iy, ix := oy*stride-pad+ky, ox*stride-pad+kx
					if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
						do(oy, ox, iy, ix, ky, kx)
					}
				}
			}
		}
	}
}

func (e *evaluation) conv(l *model.Conv, x rows) (rows, back) {
	y := newRows(x.n, l.Output(x.shape))
	w := e.param(l.W)
	areaX, areaY, areaW := x.shape.H*x.shape.W, y.shape.H*y.shape.W, l.Kernel*l.Kernel
	// each calls do for every pair of positions, with the first indices of row n's channels.
	each := func(do func(yi, xi, wi int)) {
		for n := range x.n {
			taps(x.shape, y.shape, l.Kernel, l.Stride, l.Pad, func(oy, ox, iy, ix, ky, kx int) {
				do(y.at(n, 0, oy, ox), x.at(n, 0, iy, ix), ky*l.Kernel+kx)
			})
		}
	}
	each(func(yi, xi, wi int) {
		for o := range l.Out {
			for c := range l.In {
				y.v[yi+o*areaY] += w[wi+(o*l.In+c)*areaW] * x.v[xi+c*areaX]
			}
		}
	})
	if l.B != model.None {
		for i := range y.v {
			y.v[i] += e.param(l.B)[i/areaY%l.Out]
		}
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		dw := e.grad(l.W)
		each(func(yi, xi, wi int) {
			for o := range l.Out {
				d := dy.v[yi+o*areaY]
				for c := range l.In {
					dx.v[xi+c*areaX] += w[wi+(o*l.In+c)*areaW] * d
					dw[wi+(o*l.In+c)*areaW] += x.v[xi+c*areaX] * d
				}
			}
		})
		if l.B != model.None {
			for i, d := range dy.v {
				e.grad(l.B)[i/areaY%l.Out] += d
			}
		}
		return dx
	}
}

func (e *evaluation) linear(l *model.Linear, x rows) (rows, back) {
	y := newRows(x.n, l.Output(x.shape))
	w := e.param(l.W)
	for n := range x.n {
		for o := range l.Out {
			var sum float64
			if l.B != model.None {
				sum = e.param(l.B)[o]
			}
			for i := range l.In {
				sum += w[o*l.In+i] * x.v[n*l.In+i]
			}
			y.v[n*l.Out+o] = sum
		}
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		for n := range x.n {
			for o := range l.Out {
				d := dy.v[n*l.Out+o]
				if l.B != model.None {
					e.grad(l.B)[o] += d
				}
				for i := range l.In {
					dx.v[n*l.In+i] += d * w[o*l.In+i]
					e.grad(l.W)[o*l.In+i] += d * x.v[n*l.In+i]
				}
			}
		}
		return dx
	}
}

func (e *evaluation) residual(l *model.Residual, x rows) (rows, back, error) {
	main, mainBack, err := e.layers(l.Main, x)
	if err != nil {
		return x, nil, err
	}
	short, shortBack, err := e.layers(l.Shortcut, x)
	if err != nil {
		return x, nil, err
	}
	y := newRows(x.n, main.shape)
	for i := range y.v {
		y.v[i] = main.v[i] + short.v[i]
	}
	return y, func(dy rows) rows {
		a, b := mainBack(dy), shortBack(dy)
		dx := newRows(x.n, x.shape)
		for i := range dx.v {
			dx.v[i] = a.v[i] + b.v[i]
		}
		return dx
	}, nil
}

func relu(x rows) (rows, back) {
	y := newRows(x.n, x.shape)
	for i, v := range x.v {
		y.v[i] = max(v, 0)
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		for i, v := range x.v {
			if v > 0 {
				dx.v[i] = dy.v[i]
			}
		}
		return dx
	}
}

func maxPool(l *model.MaxPool, x rows) (rows, back) {
	y := newRows(x.n, l.Output(x.shape))
	from := make([]int, len(y.v))
	for i := range y.v {
		y.v[i] = math.Inf(-1)
	}
	for n := range x.n {
		for c := range x.shape.C {
			taps(x.shape, y.shape, l.Kernel, l.Stride, l.Pad, func(oy, ox, iy, ix, _, _ int) {
				yi, xi := y.at(n, c, oy, ox), x.at(n, c, iy, ix)
				if x.v[xi] > y.v[yi] {
					y.v[yi], from[yi] = x.v[xi], xi
				}
			})
		}
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		for i, d := range dy.v {
			dx.v[from[i]] += d
		}
		return dx
	}
}

func avgMaxPool(x rows) (rows, back) {
	y := newRows(x.n, model.Shape{C: x.shape.C, H: 1, W: 1})
	area := x.shape.H * x.shape.W
	from := make([]int, len(y.v))
	for i := range y.v {
		from[i] = i * area
		var sum float64
		for j := i * area; j < (i+1)*area; j++ {
			sum += x.v[j]
			if x.v[j] > x.v[from[i]] {
				from[i] = j
			}
		}
		y.v[i] = sum/float64(area) + x.v[from[i]]
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		for i, d := range dy.v {
			for j := i * area; j < (i+1)*area; j++ {
				dx.v[j] = d / float64(area)
			}
			dx.v[from[i]] += d
		}
		return dx
	}
}

func l2Norm(x rows) (rows, back) {
	y := newRows(x.n, x.shape)
	size := x.shape.Size()
	lengths := make([]float64, x.n)
	for i, v := range x.v {
		lengths[i/size] += v * v
	}
	for i := range lengths {
		lengths[i] = math.Sqrt(lengths[i])
	}
	for i, v := range x.v {
		y.v[i] = v / max(lengths[i/size], model.L2Eps)
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		for n, length := range lengths {
			if length < model.L2Eps {
				continue
			}
			var dot float64
			for i := n * size; i < (n+1)*size; i++ {
				dot += y.v[i] * dy.v[i]
			}
			for i := n * size; i < (n+1)*size; i++ {
				dx.v[i] = (dy.v[i] - y.v[i]*dot) / length
			}
		}
		return dx
	}
}
