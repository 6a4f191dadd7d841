package gorgonia

import (
	"fmt"

	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
)

// layers adds a list of layers. A ReLU behind a norm or a residual is computed in the same pass.
func (p *program) layers(layers []model.Layer, x *gg.Node, in model.Shape) (*gg.Node, model.Shape, error) {
	for i := 0; i < len(layers); i++ {
		relu := fuses(layers, i)
		y, err := p.layer(layers[i], x, in, relu)
		if err != nil {
			return nil, in, err
		}
		x, in = y, layers[i].Output(in)
		if relu {
			i++
		}
	}
	return x, in, nil
}

// fuses says whether layer i and the one after it are computed together.
func fuses(layers []model.Layer, i int) bool {
	if i+1 == len(layers) {
		return false
	}
	if _, ok := layers[i+1].(*model.ReLU); !ok {
		return false
	}
	switch layers[i].(type) {
	case *model.BatchNorm, *model.GroupNorm, *model.Residual:
		return true
	}
	return false
}

func (p *program) layer(l model.Layer, x *gg.Node, in model.Shape, relu bool) (*gg.Node, error) {
	switch l := l.(type) {
	case *model.Conv:
		return p.conv(l, x, in)
	case *model.BatchNorm:
		return p.batchNorm(l, x, in, relu)
	case *model.GroupNorm:
		return p.groupNorm(l, x, in, relu)
	case *model.ReLU:
		return p.relu("relu", x, in)
	case *model.MaxPool:
		return p.maxPool(l, x, in)
	case *model.Residual:
		return p.residual(l, x, in, relu)
	case *model.AvgMaxPool:
		return p.avgMaxPool("avgmaxpool", x, in)
	case *model.Linear:
		return p.linear(l, x, in)
	case *model.L2Norm:
		return p.l2Norm("l2norm", x, in)
	case *model.External:
		return p.external(l, x)
	}
	return nil, fmt.Errorf("a layer of kind %T is unknown to this engine", l)
}

func (p *program) residual(l *model.Residual, x *gg.Node, in model.Shape, relu bool) (*gg.Node, error) {
	main, out, err := p.layers(l.Main, x, in)
	if err != nil {
		return nil, err
	}
	short, _, err := p.layers(l.Shortcut, x, in)
	if err != nil {
		return nil, err
	}
	return p.add(l.Name, main, short, out, relu)
}
