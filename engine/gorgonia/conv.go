package gorgonia

import (
	"github.com/metrixml/metrix/model"
	"gonum.org/v1/gonum/blas"
	gg "gorgonia.org/gorgonia"
)

// conv adds a convolution. Each image is one matrix product of the weight, Out x depth, with the
// image's columns, depth x area; images are spread over the threads.
func (p *program) conv(l *model.Conv, x *gg.Node, in model.Shape) (*gg.Node, error) {
	w := window{in: in, out: l.Output(in), kernel: l.Kernel, stride: l.Stride, pad: l.Pad}
	inputs := gg.Nodes{x, p.param(l.W)}
	if l.B != model.None {
		inputs = append(inputs, p.param(l.B))
	}
	o := &op{name: l.Name, out: p.rows(w.out), wrt: []bool{true, true, true}[:len(inputs)]}
	o.run = func(dst []float32, in [][]float32) error {
		p.convForward(w, dst, in[0], in[1])
		if l.B != model.None {
			addChannels(p.net.threads, dst, in[2], w.area())
		}
		return nil
	}
	o.diff = func(in gg.Nodes, _, dy *gg.Node) (gg.Nodes, error) {
		dw, err := p.convWeightGrad(l, w, in[0], dy)
		if err != nil {
			return nil, err
		}
		grads := gg.Nodes{nil, dw}
		if l.B != model.None {
			db, err := p.channelGrad(l.Name, l.B, w.out, dy)
			if err != nil {
				return nil, err
			}
			grads = append(grads, db)
		}
		grads[0], err = p.convInputGrad(l, w, in[0], in[1], dy, grads[1:])
		return grads, err
	}
	return p.apply(o, inputs...)
}

func (p *program) convForward(w window, y, x, weight []float32) {
	sizeX, sizeY := w.in.Size(), w.out.Size()
	parallel(p.net.threads, p.n, func(worker, i int) {
		cols := x[i*sizeX : (i+1)*sizeX]
		if !w.pointwise() {
			cols = p.net.scratch(worker, w.depth()*w.area())
			w.columns(cols, x[i*sizeX:(i+1)*sizeX])
		}
		p.net.blas.Sgemm(blas.NoTrans, blas.NoTrans, w.out.C, w.area(), w.depth(),
			1, weight, w.depth(), cols, w.area(), 0, y[i*sizeY:(i+1)*sizeY], w.area())
	})
}

// convWeightGrad adds the gradient by the weight to Grads: the sum over images of dy cols^T.
func (p *program) convWeightGrad(l *model.Conv, w window, x, dy *gg.Node) (*gg.Node, error) {
	o := p.gradOp(l.Name+".weight'", l.W)
	sizeX, sizeY := w.in.Size(), w.out.Size()
	o.run = p.paramGrad(l.W, func(dst []float32, in [][]float32) error {
		p.sumImages(dst, w.area(), func(worker, i int, beta float32, dst []float32) {
			cols := in[0][i*sizeX : (i+1)*sizeX]
			if !w.pointwise() {
				cols = p.net.scratch(worker, w.depth()*w.area())
				w.columns(cols, in[0][i*sizeX:(i+1)*sizeX])
			}
			p.net.blas.Sgemm(blas.NoTrans, blas.Trans, w.out.C, w.depth(), w.area(),
				1, in[1][i*sizeY:(i+1)*sizeY], w.area(), cols, w.area(), beta, dst, w.depth())
		})
		return nil
	})
	return p.apply(o, x, dy)
}

// sumImages adds a sum over the images of the call to dst, with the same bits for any number of
// threads: images are cut into groups that depend on the call's size alone, each group is summed in
// order into a buffer of its own, and the buffers are added in order. Of small images several go into
// a group, lest adding the buffers cost as much as the products. add must do
// dst = term(i) + beta dst.
func (p *program) sumImages(dst []float32, area int, add func(worker, i int, beta float32, dst []float32)) {
	const maxGroups, maxFloats, minPixels = 8, 1 << 24, 64
	groups := min(p.n, maxGroups, max(2, p.n*area/minPixels))
	groups = max(1, min(groups, maxFloats/len(dst)))
	part := p.net.arena.get(groups * len(dst))
	defer p.net.arena.put(part)
	parallel(p.net.threads, groups, func(worker, g int) {
		sum := part[g*len(dst) : (g+1)*len(dst)]
		beta := float32(0)
		for i := g * p.n / groups; i < (g+1)*p.n/groups; i++ {
			add(worker, i, beta, sum)
			beta = 1
		}
	})
	spans(p.net.threads, len(dst), func(lo, hi int) {
		for g := range groups {
			addTo(dst[lo:hi], part[g*len(dst)+lo:g*len(dst)+hi])
		}
	})
}

// convInputGrad is the gradient by the input: weight^T dy, put back from columns to images. It
// comes after the layer's parameter gradients, so that those are ready in reverse layer order.
func (p *program) convInputGrad(l *model.Conv, w window, x, weight, dy *gg.Node, after gg.Nodes) (*gg.Node, error) {
	o := &op{name: l.Name + ".input'", out: p.rows(w.in)}
	sizeX, sizeY := w.in.Size(), w.out.Size()
	o.run = p.inputGrad(x, func(dx []float32, in [][]float32) error {
		parallel(p.net.threads, p.n, func(worker, i int) {
			cols := dx[i*sizeX : (i+1)*sizeX]
			if !w.pointwise() {
				cols = p.net.scratch(worker, w.depth()*w.area())
			}
			p.net.blas.Sgemm(blas.Trans, blas.NoTrans, w.depth(), w.area(), w.out.C,
				1, in[0], w.depth(), in[1][i*sizeY:(i+1)*sizeY], w.area(), 0, cols, w.area())
			if !w.pointwise() {
				w.image(dx[i*sizeX:(i+1)*sizeX], cols)
			}
		})
		return nil
	})
	return p.apply(o, append(gg.Nodes{weight, dy}, after...)...)
}

// channelGrad adds the gradient by a bias per channel to Grads: the sum of dy over rows and pixels.
func (p *program) channelGrad(name string, ref model.Ref, shape model.Shape, dy *gg.Node) (*gg.Node, error) {
	o := p.gradOp(name+".bias'", ref)
	area := shape.H * shape.W
	o.run = p.paramGrad(ref, func(dst []float32, in [][]float32) error {
		parallel(p.net.threads, shape.C, func(_, c int) {
			var sum float64
			for i := range p.n {
				for _, v := range in[0][(i*shape.C+c)*area:][:area] {
					sum += float64(v)
				}
			}
			dst[c] += float32(sum)
		})
		return nil
	})
	return p.apply(o, dy)
}

// addChannels adds one value per channel to planes of the given area.
func addChannels(threads int, y, bias []float32, area int) {
	parallel(threads, len(y)/area, func(_, i int) {
		b := bias[i%len(bias)]
		plane := y[i*area : (i+1)*area]
		for j := range plane {
			plane[j] += b
		}
	})
}

// addTo adds src to dst.
func addTo(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}
