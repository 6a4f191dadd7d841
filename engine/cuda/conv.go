package cuda

import (
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// convOp is a convolution by cuDNN, its bias by a kernel.
type convOp struct {
	l       *model.Conv
	weights *weights
	x, y    *value
}

func (o *convOp) shape(b *builder) convShape {
	x, y := o.x.shape, o.y.shape
	return convShape{
		bf16: o.x.bf16, n: b.n, c: o.x.channels, h: x.H, w: x.W, k: o.y.channels, kernel: o.l.Kernel,
		stride: o.l.Stride, pad: o.l.Pad, oh: y.H, ow: y.W,
	}
}

func (o *convOp) emit(b *builder, direction int, x, w, y place, add bool) {
	c := &convolve{shape: o.shape(b), direction: direction, layer: o.l.Name, x: x, w: w, y: y, add: add}
	b.emit(command{conv: c}, x, w, y)
}

func (o *convOp) forward(b *builder) {
	y := b.write(o.y)
	o.emit(b, forward, at(o.x.buf), o.weights.placeOf(), at(y), false)
	if o.l.B != model.None {
		rows := int64(b.n) * int64(o.y.area())
		b.call(typed("bias", o.y), kernels.Each(rows*int64(o.y.channels)), y, param(b, o.l.B), rows, int32(o.y.channels))
	}
}

// backward computes the weights' gradient first: it is what the other workers wait for.
func (o *convOp) backward(b *builder) {
	dy := b.take(o.y)
	from := b.now()
	dw := b.temporary(o.weights.elements() * elementSize(o.x.bf16))
	o.emit(b, backwardWeights, at(o.x.buf), at(dw), at(dy), false)
	w := o.weights
	b.call(typed("weights_gradient", o.x), kernels.Each(int64(w.k)*int64(w.c)*int64(w.taps())), grad(b, o.l.W), dw,
		int32(w.k), int32(w.c), int32(w.taps()), int32(w.padded))
	if o.l.B != model.None {
		b.biasGradient(o.l.B, o.y, dy)
	}
	b.onlyParams(from)
	b.complete(o.l.W, o.l.B)
	if !b.wanted(o.x) {
		return
	}
	// A gradient that the input already has is added to in place.
	if d := o.x.gradient; d != nil && d.holders == 1 {
		o.emit(b, backwardData, at(d), w.placeOf(), at(dy), true)
		return
	}
	dx := b.temporary(o.x.bytes(b.n))
	o.emit(b, backwardData, at(dx), w.placeOf(), at(dy), false)
	b.give(o.x, dx)
}

// biasGradient adds the sums of dy over rows and pixels to a bias's gradient.
func (b *builder) biasGradient(bias model.Ref, y *value, dy *buffer) {
	rows, c := b.n*y.area(), y.channels
	g := columns(rows, y, 1)
	slices := g.Slices()
	partial := b.temporary(4 * int64(slices) * int64(c))
	b.call(typed("bias_partial", y), g, partial, dy, int32(rows), int32(c))
	b.call("bias_reduce", kernels.Channels(c), grad(b, bias), partial, int32(slices), int32(c))
}

// linearOp is a product of plain single-precision rows with the weight as it lies in the parameters.
type linearOp struct {
	l    *model.Linear
	x, y *value
}

func (o *linearOp) multiply(b *builder, p product) {
	p.layer = o.l.Name
	b.emit(command{product: &p}, p.a, p.b, p.c)
}

// Row-major Y = X W' is column-major Y' = W X', and so on.
func (o *linearOp) forward(b *builder) {
	in, out, y := o.l.In, o.l.Out, b.write(o.y)
	o.multiply(b, product{
		transposeA: true, m: out, n: b.n, k: in,
		a: param(b, o.l.W), lda: in, b: at(o.x.buf), ldb: in, c: at(y), ldc: out,
	})
	if o.l.B != model.None {
		b.call("bias_f32", kernels.Each(o.y.size(b.n)), y, param(b, o.l.B), int64(b.n), int32(out))
	}
}

func (o *linearOp) backward(b *builder) {
	in, out, dy := o.l.In, o.l.Out, b.take(o.y)
	from := b.now()
	o.multiply(b, product{
		transposeB: true, m: in, n: out, k: b.n,
		a: at(o.x.buf), lda: in, b: at(dy), ldb: out, c: grad(b, o.l.W), ldc: in, add: true,
	})
	if o.l.B != model.None {
		b.biasGradient(o.l.B, o.y, dy)
	}
	b.onlyParams(from)
	b.complete(o.l.W, o.l.B)
	if !b.wanted(o.x) {
		return
	}
	dx := b.temporary(o.x.bytes(b.n))
	o.multiply(b, product{
		m: in, n: b.n, k: out,
		a: param(b, o.l.W), lda: in, b: at(dy), ldb: out, c: at(dx), ldc: in,
	})
	b.give(o.x, dx)
}
