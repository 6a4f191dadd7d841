package gorgonia

import (
	"math"

	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
)

// positive is max(x, 0) without a branch: signs of activations are random, so a branch would be
// mispredicted half of the time.
func positive(x float32) float32 {
	b := math.Float32bits(x)
	return math.Float32frombits(b &^ uint32(int32(b)>>31))
}

// gate is d where y, the output of a ReLU, is above 0, and 0 elsewhere; without a branch.
func gate(d, y float32) float32 {
	mask := uint32(-int32(math.Float32bits(y)) >> 31)
	return math.Float32frombits(math.Float32bits(d) & mask)
}

// relu adds max(x, 0). The backward reads the sign off the output.
func (p *program) relu(name string, x *gg.Node, shape model.Shape) (*gg.Node, error) {
	o := &op{name: name, out: p.rows(shape), wrt: []bool{true}}
	o.run = func(y []float32, in [][]float32) error {
		spans(p.net.threads, len(y), func(lo, hi int) {
			src := in[0][lo:hi]
			for i, v := range src {
				y[lo+i] = positive(v)
			}
		})
		return nil
	}
	o.diff = func(in gg.Nodes, out, dy *gg.Node) (gg.Nodes, error) {
		dx, err := p.reluGrad(name, in[0], out, dy)
		return gg.Nodes{dx}, err
	}
	return p.apply(o, x)
}

func (p *program) reluGrad(name string, x, y, dy *gg.Node) (*gg.Node, error) {
	o := &op{name: name + "'", out: y.Shape()}
	o.run = p.inputGrad(x, func(dx []float32, in [][]float32) error {
		spans(p.net.threads, len(dx), func(lo, hi int) {
			dst, y, dy := dx[lo:hi], in[0][lo:hi], in[1][lo:hi]
			for i := range dst {
				dst[i] = gate(dy[i], y[i])
			}
		})
		return nil
	})
	return p.apply(o, y, dy)
}

// add adds the sum of two branches, followed by a ReLU if asked for: one pass over memory instead of
// two.
func (p *program) add(name string, a, b *gg.Node, shape model.Shape, relu bool) (*gg.Node, error) {
	o := &op{name: name, out: p.rows(shape), wrt: []bool{true, true}}
	o.run = func(y []float32, in [][]float32) error {
		spans(p.net.threads, len(y), func(lo, hi int) {
			dst, a, b := y[lo:hi], in[0][lo:hi], in[1][lo:hi]
			if !relu {
				for i := range dst {
					dst[i] = a[i] + b[i]
				}
				return
			}
			for i := range dst {
				dst[i] = positive(a[i] + b[i])
			}
		})
		return nil
	}
	o.diff = func(_ gg.Nodes, out, dy *gg.Node) (gg.Nodes, error) {
		if !relu {
			return gg.Nodes{dy, dy}, nil
		}
		d, err := p.reluGrad(name, nil, out, dy)
		return gg.Nodes{d, d}, err
	}
	return p.apply(o, a, b)
}
