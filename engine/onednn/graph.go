package onednn

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// value is what flows between two ops: rows of one shape.
type value struct {
	shape    model.Shape
	buf      *buffer
	plain    bool  // C x H x W as the caller has it, for a first convolution of few channels
	input    bool  // the stage's input: its gradient is wanted only on request
	keep     bool  // read by a backward
	again    *norm // what a backward computes it with once more where it is not kept
	mask     bool  // its op reads it in its own backward
	readers  int
	gradient []*buffer // contributions, while the backward is built
}

// op is one step of a stage. Both methods emit steps to the builder; backward is called in reverse
// order of forward.
type op interface {
	forward(b *builder)
	backward(b *builder)
}

// graph is a stage as a list of ops.
type graph struct {
	net    *network
	stage  model.Stage
	mode   engine.Mode
	ops    []op
	values []*value
	norms  []*norm
	convs  []*convolution
	in     *value
	out    *value
}

func (net *network) newGraph(stage model.Stage, mode engine.Mode) (*graph, error) {
	g := &graph{net: net, stage: stage, mode: mode}
	layers := net.model.Layers(stage)
	in := net.model.StageInput(stage)
	g.in = g.value(in)
	g.in.input = true
	if c, ok := first(layers).(*model.Conv); ok && c.In <= fewChannels {
		g.in.plain = true
	}
	g.add(&importOp{g.in})
	out, err := g.layers(layers, g.in)
	if err != nil {
		return nil, err
	}
	out.readers++
	g.out = out
	g.add(&exportOp{out})
	return g, nil
}

// fewChannels is the number up to which a first convolution reads plain images.
const fewChannels = 3

func first(layers []model.Layer) model.Layer {
	if len(layers) == 0 {
		return nil
	}
	return layers[0]
}

func (g *graph) value(s model.Shape) *value {
	v := &value{shape: s}
	g.values = append(g.values, v)
	return v
}

func (g *graph) add(o op) { g.ops = append(g.ops, o) }

// layers adds a list of layers. Where a ReLU follows what can do it on the way, it is fused.
func (g *graph) layers(layers []model.Layer, x *value) (*value, error) {
	for i := 0; i < len(layers); i++ {
		_, relu := first(layers[i+1:]).(*model.ReLU)
		used := 1
		switch l := layers[i].(type) {
		case *model.Conv:
			y, n, err := g.conv(l, layers[i+1:], x)
			if err != nil {
				return nil, err
			}
			x, used = y, 1+n
		case *model.Linear:
			y, err := g.linear(l, x)
			if err != nil {
				return nil, err
			}
			x = y
		case *model.BatchNorm, *model.GroupNorm:
			n := g.measure(l, x)
			x = g.normalise(n, nil, relu)
			used += count(relu)
		case *model.Residual:
			y, err := g.residual(l, x, relu)
			if err != nil {
				return nil, err
			}
			x = y
			used += count(relu)
		case *model.ReLU:
			x = g.relu(x)
		case *model.MaxPool:
			x = g.maxPool(l, x)
		case *model.AvgMaxPool:
			x = g.avgMax(x)
		case *model.L2Norm:
			x = g.l2(x)
		default:
			return nil, fmt.Errorf("a layer of kind %T is unknown to this engine", l)
		}
		i += used - 1
	}
	return x, nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// conv adds a convolution. In Eval mode a batch norm behind it becomes part of its weights, and a
// ReLU behind that part of its kernel; n is the number of layers that were taken along.
func (g *graph) conv(l *model.Conv, rest []model.Layer, x *value) (y *value, n int, err error) {
	var fold *model.BatchNorm
	relu := false
	if g.mode == engine.Eval {
		if bn, ok := first(rest).(*model.BatchNorm); ok {
			fold, n = bn, 1
		}
		if _, ok := first(rest[n:]).(*model.ReLU); ok {
			relu, n = true, n+1
		}
	}
	y = g.value(l.Output(x.shape))
	base := g.geometry(x, y)
	base.kernelHeight, base.kernelWidth = int64(l.Kernel), int64(l.Kernel)
	base.stride, base.pad = int64(l.Stride), int64(l.Pad)
	base.relu = int64(count(relu))
	base.bias = int64(count(l.B != model.None || fold != nil))
	return y, n, g.convolution(l.Name, l.W, l.B, fold, base, x, y)
}

// linear is a convolution whose window is the whole image.
func (g *graph) linear(l *model.Linear, x *value) (*value, error) {
	y := g.value(model.Shape{C: l.Out, H: 1, W: 1})
	base := g.geometry(x, y)
	base.kernelHeight, base.kernelWidth, base.stride = int64(x.shape.H), int64(x.shape.W), 1
	base.bias = int64(count(l.B != model.None))
	return y, g.convolution(l.Name, l.W, l.B, nil, base, x, y)
}

func (g *graph) geometry(x, y *value) geometry {
	return geometry{
		bf16: int64(g.net.precision(g.stage)), plainInput: int64(count(x.plain)),
		in: int64(x.shape.C), height: int64(x.shape.H), width: int64(x.shape.W),
		out: int64(y.shape.C), outHeight: int64(y.shape.H), outWidth: int64(y.shape.W),
	}
}

func (g *graph) convolution(name string, w, bias model.Ref, fold *model.BatchNorm, base geometry, x, y *value) error {
	c, err := g.net.convolution(name, w, bias, fold, base)
	if err != nil {
		return err
	}
	x.readers++
	if x.again == nil {
		x.keep = true
	}
	g.convs = append(g.convs, c)
	g.add(&convOp{c: c, x: x, y: y})
	return nil
}

// measure adds the statistics of a norm, right where its input is made.
func (g *graph) measure(l model.Layer, x *value) *norm {
	n := newNorm(l, x, g.mode, len(g.norms))
	g.norms = append(g.norms, n)
	x.readers++
	x.keep = true
	g.add(measureOp{n})
	return n
}

// normalise adds the rest of a norm, with what is added to its output, if anything, and a ReLU.
func (g *graph) normalise(n *norm, other *value, relu bool) *value {
	n.other, n.relu = other, relu
	n.y = g.value(n.x.shape)
	if other == nil {
		n.y.again = n
	} else {
		other.readers++
		if relu {
			n.y.keep, n.y.mask = true, true
		}
	}
	g.add(n)
	return n.y
}

// residual adds both branches. If the main one ends in a norm, sum and ReLU are done on its way out.
func (g *graph) residual(l *model.Residual, x *value, relu bool) (*value, error) {
	main := l.Main
	var last model.Layer
	if len(main) > 0 && !g.folds(main) {
		last = main[len(main)-1]
	}
	var n *norm
	switch last.(type) {
	case *model.BatchNorm, *model.GroupNorm:
		main = main[:len(main)-1]
	default:
		last = nil
	}
	y, err := g.layers(main, x)
	if err != nil {
		return nil, err
	}
	if last != nil {
		n = g.measure(last, y)
	}
	short, err := g.layers(l.Shortcut, x)
	if err != nil {
		return nil, err
	}
	if n != nil {
		return g.normalise(n, short, relu), nil
	}
	return g.join(y, short, relu), nil
}

// folds says whether the last norm of a branch will be part of a convolution.
func (g *graph) folds(layers []model.Layer) bool {
	if g.mode != engine.Eval || len(layers) < 2 {
		return false
	}
	_, bn := layers[len(layers)-1].(*model.BatchNorm)
	_, conv := layers[len(layers)-2].(*model.Conv)
	return bn && conv
}

func (g *graph) relu(x *value) *value {
	y := g.value(x.shape)
	y.keep, y.mask = true, true
	x.readers++
	g.add(&reluOp{x, y})
	return y
}

func (g *graph) join(a, b *value, relu bool) *value {
	y := g.value(a.shape)
	a.readers++
	b.readers++
	if relu {
		y.keep, y.mask = true, true
	}
	g.add(&joinOp{a: a, b: b, y: y, relu: relu})
	return y
}

func (g *graph) maxPool(l *model.MaxPool, x *value) *value {
	y := g.value(l.Output(x.shape))
	x.readers++
	g.add(&maxPoolOp{l: l, x: x, y: y})
	return y
}

func (g *graph) avgMax(x *value) *value {
	y := g.value(model.Shape{C: x.shape.C, H: 1, W: 1})
	x.readers++
	g.add(&avgMaxOp{x: x, y: y})
	return y
}

func (g *graph) l2(x *value) *value {
	y := g.value(x.shape)
	y.keep, y.mask = true, true
	x.readers++
	g.add(&l2Op{x: x, y: y})
	return y
}
