package cuda

import (
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// importOp brings the caller's rows into the stage's type and layout.
type importOp struct{ x *value }

// image says whether the kernels for images of few channels do it.
func (o *importOp) image() bool { return o.x.channels <= 8 }

func (o *importOp) forward(b *builder) {
	if b.g.images.height > 0 {
		o.cut(b, b.g.images)
		return
	}
	x, size := o.x, int64(o.x.shape.Size())
	b.in = b.temporary(4 * size * int64(b.n))
	y := b.write(x)
	if o.image() {
		b.call(typed("pack_image", x), kernels.Each(int64(b.n)*int64(x.area())), y, b.in,
			int32(x.shape.C), int32(x.area()), int32(x.channels), int32(b.n))
		return
	}
	b.call(typed("pack", x), kernels.Tiles(x.area(), x.channels, b.n), y, b.in, int32(x.channels), int32(x.area()))
}

// cropBytes is what the kernel crop reads of an image's crop: top, left, mirrored, unused.
const cropBytes = 16

// cut brings images in. A channel's scale is rounded as package dataset rounds it.
func (o *importOp) cut(b *builder, from images) {
	x := o.x
	b.in, b.crops = b.temporary(from.bytes(b.n)), b.temporary(cropBytes*int64(b.n))
	y := b.write(x)
	norm := kernels.Normalisation{Mean: from.mean}
	for i, d := range from.deviation {
		norm.Scale[i] = 1 / d
	}
	b.call(typed("crop", x), kernels.Each(int64(b.n)*int64(x.area())), y, b.in, b.crops, norm, int32(from.height), int32(from.width),
		int32(x.shape.H), int32(x.shape.W), int32(x.channels), int32(b.n))
}

func (o *importOp) backward(b *builder) {
	if !b.input {
		return
	}
	x := o.x
	d := b.take(x)
	b.out = b.temporary(4 * int64(x.shape.Size()) * int64(b.n))
	if o.image() {
		b.call(typed("unpack_image", x), kernels.Each(int64(b.n)*int64(x.area())), b.out, d,
			int32(x.shape.C), int32(x.area()), int32(x.channels), int32(b.n))
		return
	}
	b.call(typed("unpack", x), kernels.Tiles(x.area(), x.channels, b.n), b.out, d, int32(x.channels), int32(x.area()))
}

// exportOp hands the stage's output out as plain floats.
type exportOp struct{ y *value }

func (o *exportOp) forward(b *builder) {
	y := o.y
	b.out = b.temporary(4 * int64(y.shape.Size()) * int64(b.n))
	b.call(typed("unpack", y), kernels.Tiles(y.area(), y.channels, b.n), b.out, y.buf, int32(y.channels), int32(y.area()))
}

func (o *exportOp) backward(b *builder) {
	y := o.y
	b.in = b.temporary(4 * int64(y.shape.Size()) * int64(b.n))
	d := b.temporary(y.bytes(b.n))
	b.call(typed("pack", y), kernels.Tiles(y.area(), y.channels, b.n), d, b.in, int32(y.channels), int32(y.area()))
	b.give(y, d)
}

// flattenOp makes plain single-precision rows, as the linear layer's weight wants them.
type flattenOp struct{ x, y *value }

func (o *flattenOp) forward(b *builder) {
	x := o.x
	b.call(typed("unpack", x), kernels.Tiles(x.area(), x.channels, b.n), b.write(o.y), x.buf, int32(x.channels), int32(x.area()))
}

func (o *flattenOp) backward(b *builder) {
	dy, x := b.take(o.y), o.x
	if !b.wanted(x) {
		return
	}
	dx := b.temporary(x.bytes(b.n))
	b.call(typed("pack", x), kernels.Tiles(x.area(), x.channels, b.n), dx, dy, int32(x.channels), int32(x.area()))
	b.give(x, dx)
}

// reluOp is a ReLU that nothing before it could do on the way.
type reluOp struct{ x, y *value }

func (o *reluOp) forward(b *builder) {
	n := o.x.size(b.n)
	b.call(typed("relu", o.x), kernels.Each(n), b.write(o.y), o.x.buf, n)
}

func (o *reluOp) backward(b *builder) {
	dy, n := b.take(o.y), o.y.size(b.n)
	if !b.wanted(o.x) {
		return
	}
	dx := b.over(dy, o.x)
	b.call(typed("relu_backward", o.y), kernels.Each(n), dx, dy, o.y.buf, n)
	b.give(o.x, dx)
}

// joinOp adds two values.
type joinOp struct {
	a, b, y *value
	relu    bool
}

func (o *joinOp) forward(b *builder) {
	n := o.y.size(b.n)
	b.call(typed("add", o.y), kernels.Each(n), b.write(o.y), o.a.buf, o.b.buf, flag(o.relu), n)
}

func (o *joinOp) backward(b *builder) {
	d, n := b.take(o.y), o.y.size(b.n)
	if o.relu {
		masked := b.over(d, o.y)
		b.call(typed("relu_backward", o.y), kernels.Each(n), masked, d, o.y.buf, n)
		d = masked
	}
	b.share(d, o.a, o.b)
}

// share gives the same gradient to two values.
func (b *builder) share(d *buffer, v, w *value) {
	d.holders++ // while one of them has it, the other's must not be written over
	b.give(v, d)
	d.holders--
	b.give(w, d)
}

func flag(set bool) int32 {
	if set {
		return 1
	}
	return 0
}

// maxPoolOp remembers the place of each window's maximum.
type maxPoolOp struct {
	l    *model.MaxPool
	x, y *value
	from *buffer
}

func (o *maxPoolOp) window(b *builder) kernels.Window {
	x, y := o.x.shape, o.y.shape
	return kernels.Window{
		N: int32(b.n), H: int32(x.H), W: int32(x.W), C: int32(o.x.channels), OH: int32(y.H), OW: int32(y.W),
		Kernel: int32(o.l.Kernel), Stride: int32(o.l.Stride), Pad: int32(o.l.Pad),
	}
}

func (o *maxPoolOp) forward(b *builder) {
	y := b.write(o.y)
	o.from = b.keep(o.y.size(b.n))
	b.call(typed("maxpool", o.x), kernels.Each(o.y.size(b.n)), y, o.from, o.x.buf, o.window(b))
}

func (o *maxPoolOp) backward(b *builder) {
	dy := b.take(o.y)
	if !b.wanted(o.x) {
		return
	}
	dx := b.temporary(o.x.bytes(b.n))
	b.call(typed("maxpool_backward", o.x), kernels.Each(o.x.size(b.n)), dx, dy, o.from, o.window(b))
	b.give(o.x, dx)
}

// avgMaxOp remembers the place of each channel's maximum.
type avgMaxOp struct {
	x, y *value
	from *buffer
}

func (o *avgMaxOp) forward(b *builder) {
	y := b.write(o.y)
	o.from = b.keep(4 * o.y.size(b.n))
	b.call(typed("avgmax", o.x), kernels.Each(o.y.size(b.n)), y, o.from, o.x.buf, int32(b.n), int32(o.x.area()), int32(o.x.channels))
}

func (o *avgMaxOp) backward(b *builder) {
	dy := b.take(o.y)
	if !b.wanted(o.x) {
		return
	}
	dx := b.temporary(o.x.bytes(b.n))
	b.call(typed("avgmax_backward", o.x), kernels.Each(o.x.size(b.n)), dx, dy, o.from, int32(b.n), int32(o.x.area()), int32(o.x.channels))
	b.give(o.x, dx)
}

// l2Op divides rows by their lengths, which it remembers.
type l2Op struct {
	x, y    *value
	lengths *buffer
}

func (o *l2Op) forward(b *builder) {
	y := b.write(o.y)
	o.lengths = b.keep(4 * int64(b.n))
	b.call("l2norm", kernels.Warps(b.n), y, o.lengths, o.x.buf, int32(b.n), int32(o.x.channels), float32(model.L2Eps))
}

func (o *l2Op) backward(b *builder) {
	dy := b.take(o.y)
	if !b.wanted(o.x) {
		return
	}
	dx := b.over(dy, o.x)
	b.call("l2norm_backward", kernels.Warps(b.n), dx, dy, o.y.buf, o.lengths, int32(b.n), int32(o.x.channels), float32(model.L2Eps))
	b.give(o.x, dx)
}
