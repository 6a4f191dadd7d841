package gorgonia

import (
	"github.com/metrixml/metrix/model"
	"gonum.org/v1/gonum/blas"
	gg "gorgonia.org/gorgonia"
)

// linear adds y = x weight^T + bias over flattened rows: one matrix product for all rows.
func (p *program) linear(l *model.Linear, x *gg.Node, in model.Shape) (*gg.Node, error) {
	inputs := gg.Nodes{x, p.param(l.W)}
	if l.B != model.None {
		inputs = append(inputs, p.param(l.B))
	}
	out := l.Output(in)
	o := &op{name: l.Name, out: p.rows(out), wrt: []bool{true, true, true}[:len(inputs)]}
	o.run = func(dst []float32, in [][]float32) error {
		p.net.blas.Sgemm(blas.NoTrans, blas.Trans, p.n, l.Out, l.In, 1, in[0], l.In, in[1], l.In, 0, dst, l.Out)
		if l.B != model.None {
			addChannels(1, dst, in[2], 1)
		}
		return nil
	}
	o.diff = func(in gg.Nodes, _, dy *gg.Node) (gg.Nodes, error) {
		dw := p.gradOp(l.Name+".weight'", l.W)
		dw.run = p.paramGrad(l.W, func(dst []float32, in [][]float32) error {
			p.net.blas.Sgemm(blas.Trans, blas.NoTrans, l.Out, l.In, p.n, 1, in[0], l.Out, in[1], l.In, 1, dst, l.In)
			return nil
		})
		weight, err := p.apply(dw, dy, in[0])
		if err != nil {
			return nil, err
		}
		grads := gg.Nodes{nil, weight}
		if l.B != model.None {
			bias, err := p.channelGrad(l.Name, l.B, out, dy)
			if err != nil {
				return nil, err
			}
			grads = append(grads, bias)
		}
		grads[0], err = p.linearInputGrad(l, in[0], in[1], dy, grads[1:])
		return grads, err
	}
	return p.apply(o, inputs...)
}

func (p *program) linearInputGrad(l *model.Linear, x, weight, dy *gg.Node, after gg.Nodes) (*gg.Node, error) {
	o := &op{name: l.Name + ".input'", out: x.Shape()}
	o.run = p.inputGrad(x, func(dx []float32, in [][]float32) error {
		p.net.blas.Sgemm(blas.NoTrans, blas.NoTrans, p.n, l.In, l.Out, 1, in[1], l.Out, in[0], l.In, 0, dx, l.In)
		return nil
	})
	return p.apply(o, append(gg.Nodes{weight, dy}, after...)...)
}
