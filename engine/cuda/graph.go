package cuda

import (
	"fmt"
	"slices"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// value is what flows between two ops: rows of one shape, in memory as rows of pixels of channels.
type value struct {
	shape    model.Shape
	channels int  // in memory: shape.C, or more where an image is padded
	bf16     bool // otherwise float32
	input    bool // the stage's input: its gradient is wanted only on request
	keep     bool // read by a backward
	buf      *buffer
	gradient *buffer // while the backward is built
}

func (v *value) area() int { return v.shape.H * v.shape.W }

// size is the number of elements of n rows.
func (v *value) size(n int) int64 { return int64(n) * int64(v.area()) * int64(v.channels) }

// bytes is what n rows take.
func (v *value) bytes(n int) int64 { return v.size(n) * elementSize(v.bf16) }

func elementSize(bf16 bool) int64 {
	if bf16 {
		return 2
	}
	return 4
}

// op is one step of a stage. Both methods emit commands; backward is called in reverse order of
// forward.
type op interface {
	forward(b *builder)
	backward(b *builder)
}

// graph is a stage as a list of ops, for any number of rows.
type graph struct {
	layout *layout
	stage  model.Stage
	mode   engine.Mode
	bf16   bool
	images images
	ops    []op
	values []*value
	in     *value
	out    *value
}

// newGraph lays a stage out. A head without convolutions, whose work is small, computes in single
// precision throughout.
func newGraph(l *layout, stage model.Stage, mode engine.Mode) (*graph, error) {
	layers := l.model.Layers(stage)
	g := &graph{layout: l, stage: stage, mode: mode, bf16: l.precision == BF16 && (stage == model.Trunk || convolves(layers))}
	g.in = g.value(l.model.StageInput(stage), g.bf16)
	g.in.input = true
	if c, ok := first(layers).(*model.Conv); ok {
		g.in.channels = paddedChannels(c.In, g.bf16)
	}
	g.ops = append(g.ops, &importOp{g.in})
	out, err := g.layers(layers, g.in)
	if err != nil {
		return nil, err
	}
	g.out = out
	g.ops = append(g.ops, &exportOp{out})
	return g, nil
}

func convolves(layers []model.Layer) bool {
	return slices.ContainsFunc(layers, func(l model.Layer) bool {
		switch l := l.(type) {
		case *model.Conv:
			return true
		case *model.Residual:
			return convolves(l.Main) || convolves(l.Shortcut)
		}
		return false
	})
}

// paddedChannels is the number of channels that an image of few is padded to, so that a pixel is a
// whole vector of 16 bytes: cuDNN's fast convolutions want that.
func paddedChannels(c int, bf16 bool) int {
	vector := int(16 / elementSize(bf16))
	if c < vector {
		return vector
	}
	return c
}

func first(layers []model.Layer) model.Layer {
	if len(layers) == 0 {
		return nil
	}
	return layers[0]
}

func (g *graph) value(s model.Shape, bf16 bool) *value {
	v := &value{shape: s, channels: s.C, bf16: bf16}
	g.values = append(g.values, v)
	return v
}

// layers adds a list of layers. Where a ReLU follows what can do it on the way, it is fused.
func (g *graph) layers(layers []model.Layer, x *value) (*value, error) {
	for i := 0; i < len(layers); i++ {
		if conv, bn := g.folds(layers[i:]); bn != nil {
			_, relu := first(layers[i+2:]).(*model.ReLU)
			x, i = g.folded(conv, bn, x, nil, relu), i+1
			if relu {
				i++
			}
			continue
		}
		_, relu := first(layers[i+1:]).(*model.ReLU)
		var err error
		switch l := layers[i].(type) {
		case *model.BatchNorm, *model.GroupNorm:
			x = g.norm(l, x, nil, relu)
		case *model.Residual:
			x, err = g.residual(l, x, relu)
		default:
			x, err = g.layer(l, x)
			relu = false
		}
		if err != nil {
			return nil, err
		}
		if relu {
			i++
		}
	}
	return x, nil
}

// layer adds a layer that takes nothing along.
func (g *graph) layer(l model.Layer, x *value) (*value, error) {
	switch l := l.(type) {
	case *model.Conv:
		return g.conv(l, x), nil
	case *model.Linear:
		return g.linear(l, x), nil
	case *model.ReLU:
		return g.relu(x), nil
	case *model.MaxPool:
		return g.maxPool(l, x)
	case *model.AvgMaxPool:
		return g.avgMax(x), nil
	case *model.L2Norm:
		return g.l2(x), nil
	case *model.External:
		return nil, fmt.Errorf("layer %s is external: only the engine that it was written for computes it, see gorgonia.Custom", l.Name)
	}
	return nil, fmt.Errorf("a layer of kind %T is unknown to this engine", l)
}

func (g *graph) conv(l *model.Conv, x *value) *value {
	y := g.value(l.Output(x.shape), x.bf16)
	x.keep = true
	g.ops = append(g.ops, &convOp{l: l, weights: g.layout.weightsOf(l, x), x: x, y: y})
	return y
}

func (g *graph) linear(l *model.Linear, x *value) *value {
	rows := x
	if x.bf16 || x.area() > 1 {
		rows = g.value(model.Shape{C: x.shape.Size(), H: 1, W: 1}, false)
		g.ops = append(g.ops, &flattenOp{x, rows})
	}
	rows.keep = true
	y := g.value(model.Shape{C: l.Out, H: 1, W: 1}, false)
	g.ops = append(g.ops, &linearOp{l: l, x: rows, y: y})
	return y
}

// norm adds a norm with what is added to its output, if anything, and a ReLU.
func (g *graph) norm(l model.Layer, x, other *value, relu bool) *value {
	y := g.value(x.shape, x.bf16)
	x.keep, y.keep = true, y.keep || relu
	g.ops = append(g.ops, newNorm(l, g.mode, x, other, y, relu))
	return y
}

// residual adds both branches. If the main one ends in a norm, sum and ReLU are done on its way out.
func (g *graph) residual(l *model.Residual, x *value, relu bool) (*value, error) {
	main := l.Main
	var last model.Layer
	conv, bn := g.folds(main[max(len(main)-2, 0):])
	if n := len(main); bn != nil {
		main = main[:n-2]
	} else if n > 0 {
		switch main[n-1].(type) {
		case *model.BatchNorm, *model.GroupNorm:
			main, last = main[:n-1], main[n-1]
		}
	}
	y, err := g.layers(main, x)
	if err != nil {
		return nil, err
	}
	short, err := g.layers(l.Shortcut, x)
	if err != nil {
		return nil, err
	}
	if bn != nil {
		if y.bf16 != short.bf16 {
			return nil, g.differentTypes(l)
		}
		return g.folded(conv, bn, y, short, relu), nil
	}
	if y.bf16 != short.bf16 || y.channels != short.channels {
		return nil, g.differentTypes(l)
	}
	if last != nil {
		return g.norm(last, y, short, relu), nil
	}
	sum := g.value(y.shape, y.bf16)
	sum.keep = relu
	g.ops = append(g.ops, &joinOp{a: y, b: short, y: sum, relu: relu})
	return sum, nil
}

func (g *graph) differentTypes(l *model.Residual) error {
	return fmt.Errorf("layer %s adds branches of different types: this engine computes it in f32 only", l.Name)
}

func (g *graph) relu(x *value) *value {
	y := g.value(x.shape, x.bf16)
	y.keep = true
	g.ops = append(g.ops, &reluOp{x, y})
	return y
}

// largestWindow keeps a place in a pooling window in a byte.
const largestWindow = 15

func (g *graph) maxPool(l *model.MaxPool, x *value) (*value, error) {
	if l.Kernel > largestWindow {
		return nil, fmt.Errorf("layer %s: this engine pools over windows of up to %d pixels a side, not %d", l.Name, largestWindow, l.Kernel)
	}
	y := g.value(l.Output(x.shape), x.bf16)
	g.ops = append(g.ops, &maxPoolOp{l: l, x: x, y: y})
	return y, nil
}

func (g *graph) avgMax(x *value) *value {
	y := g.value(model.Shape{C: x.shape.C, H: 1, W: 1}, false)
	g.ops = append(g.ops, &avgMaxOp{x: x, y: y})
	return y
}

func (g *graph) l2(x *value) *value {
	rows := x
	if x.bf16 {
		rows = g.value(x.shape, false)
		g.ops = append(g.ops, &flattenOp{x, rows})
	}
	y := g.value(x.shape, false)
	y.keep = true
	g.ops = append(g.ops, &l2Op{x: rows, y: y})
	return y
}
