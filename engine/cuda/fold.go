package cuda

import (
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// fold is a convolution in Eval mode with the batch norm behind it in one: weights and an offset for each
// output channel, made anew when parameters or statistics have changed.
type fold struct {
	conv    *model.Conv
	bn      *model.BatchNorm
	weights *weights
	at      int64 // of the weights, in bytes from the beginning of ofFolded
	offset  int64 // of the offsets
}

// finish is what comes behind a folded convolution: an offset for each channel, a residual, a ReLU. cuDNN
// does it along with the convolution where it can, otherwise launch does.
type finish struct {
	offset, residual place
	relu             bool
	launch           *launch
}

// fold returns the fold of a convolution of x and its norm.
func (l *layout) fold(c *model.Conv, bn *model.BatchNorm, x *value) *fold {
	for _, f := range l.folds {
		if f.conv.W == c.W && f.bn.W == bn.W {
			return f
		}
	}
	w := l.weightsOf(c, x)
	size := elementSize(w.bf16)
	f := &fold{conv: c, bn: bn, weights: w, at: l.folded, offset: l.folded + aligned(w.elements()*size)}
	l.folded = f.offset + aligned(int64(w.k)*size)
	l.folds = append(l.folds, f)
	return f
}

// foldCommands make the folds of a stage.
func (l *layout) foldCommands(s model.Stage) []command {
	b := &builder{g: &graph{layout: l}}
	for _, f := range l.folds {
		if l.model.Params[f.conv.W].Stage == s {
			f.emit(b)
		}
	}
	return b.commands
}

// emit emits what makes a fold.
func (f *fold) emit(b *builder) {
	w, kernel, bias := f.weights, "fold_f32", place{}
	if w.bf16 {
		kernel = "fold_bf16"
	}
	if f.conv.B != model.None {
		bias = param(b, f.conv.B)
	}
	b.call(kernel, kernels.Each(w.elements()), place{space: ofFolded, at: f.at}, place{space: ofFolded, at: f.offset},
		param(b, f.conv.W), bias, param(b, f.bn.W), param(b, f.bn.B), statistic(b, ofBuffers, f.bn.Mean), statistic(b, ofBuffers, f.bn.Var),
		float32(model.NormEps), int32(w.k), int32(w.c), int32(w.taps()), int32(w.padded))
}

// folds returns the convolution and the batch norm that layers begin with, where they become one: in Eval
// mode. bn is nil where they do not.
func (g *graph) folds(layers []model.Layer) (conv *model.Conv, bn *model.BatchNorm) {
	if g.mode != engine.Eval || len(layers) < 2 {
		return nil, nil
	}
	conv, _ = layers[0].(*model.Conv)
	if bn, _ = layers[1].(*model.BatchNorm); conv == nil {
		return nil, nil
	}
	return conv, bn
}

// folded adds a convolution and its norm as one, with what is added to their output and a ReLU.
func (g *graph) folded(l *model.Conv, bn *model.BatchNorm, x, other *value, relu bool) *value {
	y := g.value(l.Output(x.shape), x.bf16)
	g.ops = append(g.ops, &foldedOp{convOp{l: l, weights: g.layout.weightsOf(l, x), x: x, y: y}, g.layout.fold(l, bn, x), other, relu})
	return y
}

// foldedOp is a convolution with its batch norm, in Eval mode.
type foldedOp struct {
	convOp
	fold  *fold
	other *value // nil if nothing is added
	relu  bool
}

func (o *foldedOp) forward(b *builder) {
	y := b.write(o.y)
	offset, rows, c := place{space: ofFolded, at: o.fold.offset}, int64(b.n)*int64(o.y.area()), o.y.channels
	var other *buffer
	if o.other != nil {
		other = o.other.buf
	}
	launch, places := newLaunch(typed("finish_convolution", o.y), kernels.Each(rows*int64(c)), y, offset, other, rows, int32(c), flag(o.relu))
	cmd := &convolve{
		shape: o.shape(b), direction: forward, layer: o.l.Name, x: at(o.x.buf), w: place{space: ofFolded, at: o.fold.at}, y: at(y),
		finish: &finish{offset: offset, residual: at(other), relu: o.relu, launch: launch},
	}
	b.emit(command{conv: cmd}, append(places, cmd.x)...)
}

// backward has nothing to do: there is none in Eval mode.
func (o *foldedOp) backward(*builder) {}
