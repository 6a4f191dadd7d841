package cuda

import (
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// norm is a batch or group norm, y = relu((x - mean) inverse weight + bias + other). A set is what is
// normalised together: a channel over all rows, or a row's group of channels.
type norm struct {
	name          string
	bn            *model.BatchNorm // nil for a group norm
	running       bool             // with running statistics
	groups        int              // the channels of a batch norm
	weight, bias  model.Ref
	x, other, y   *value
	relu          bool
	mean, inverse *buffer // by set, kept for the backward
}

func newNorm(l model.Layer, mode engine.Mode, x, other, y *value, relu bool) *norm {
	n := &norm{x: x, other: other, y: y, relu: relu}
	switch l := l.(type) {
	case *model.BatchNorm:
		n.name, n.bn, n.running, n.groups = l.Name, l, mode != engine.Train, l.Channels
		n.weight, n.bias = l.W, l.B
	case *model.GroupNorm:
		n.name, n.groups, n.weight, n.bias = l.Name, l.Groups, l.W, l.B
	}
	return n
}

// live says whether the statistics are of all rows of a call.
func (n *norm) live() bool { return n.bn != nil && !n.running }

// images is how the kernels see the rows: a batch norm is one image of all pixels.
func (n *norm) images(b *builder) (images, area int) {
	if n.bn != nil {
		return 1, b.n * n.x.area()
	}
	return b.n, n.x.area()
}

func (n *norm) columns(b *builder) kernels.Geometry {
	images, area := n.images(b)
	return columns(area, n.x, images)
}

// statistics emits mean and inverse deviation of every set.
func (n *norm) statistics(b *builder) {
	images, area := n.images(b)
	c, eps := int32(n.x.channels), float32(model.NormEps)
	sets := images * n.groups
	n.mean, n.inverse = b.keep(4*int64(sets)), b.keep(4*int64(sets))
	if n.running {
		b.call("running_statistics", kernels.Each(int64(c)), n.mean, n.inverse,
			statistic(b, ofBuffers, n.bn.Mean), statistic(b, ofBuffers, n.bn.Var), eps, c)
		return
	}
	g := n.columns(b)
	slices := int32(g.Slices())
	partial := b.temporary(n.partialBytes(g, images))
	b.call(typed("norm_partial", n.x), g, partial, n.x.buf, int32(area), c)
	if n.bn != nil {
		b.call("batch_statistics", kernels.Channels(int(c)), n.mean, n.inverse,
			statistic(b, ofSums, n.bn.Mean), statistic(b, ofSums, n.bn.Var), partial, slices, int32(area), c, eps)
		return
	}
	b.call("group_statistics", kernels.Warps(sets), n.mean, n.inverse, partial, slices, int32(area), c, int32(n.groups), int32(images), eps)
}

func (n *norm) partialBytes(g kernels.Geometry, images int) int64 {
	return 4 * 2 * int64(images) * int64(g.Slices()) * int64(n.x.channels)
}

func (n *norm) forward(b *builder) {
	n.statistics(b)
	var other *buffer
	if n.other != nil {
		other = n.other.buf
	}
	_, area := n.images(b)
	y := b.write(n.y)
	b.call(typed("norm_apply", n.x), n.columns(b), y, n.x.buf, other, n.mean, n.inverse,
		param(b, n.weight), param(b, n.bias), int32(area), int32(n.x.channels), int32(n.groups), flag(n.relu))
}

// backward: two sums over the gradient, then the gradient itself; where something was added, its
// gradient is what came through the ReLU.
func (n *norm) backward(b *builder) {
	dy := b.take(n.y)
	var mask *buffer
	if n.relu {
		mask = n.y.buf
	}
	sums := n.sums(b, dy, mask)
	b.complete(n.weight, n.bias)
	if !b.wanted(n.x) && n.other == nil {
		return
	}
	var residual *buffer
	dx := dy
	switch {
	case n.other != nil && n.relu:
		residual = b.over(dy, n.y)
		dx = b.temporary(n.x.bytes(b.n))
	case n.other != nil:
		dx = b.temporary(n.x.bytes(b.n))
	default:
		dx = b.over(dy, n.x)
	}
	_, area := n.images(b)
	b.call(typed("norm_backward_apply", n.x), n.columns(b), dx, residual, dy, mask, n.x.buf, n.mean, n.inverse,
		param(b, n.weight), sums, int32(area), int32(n.x.channels), int32(n.groups))
	switch {
	case residual != nil:
		b.give(n.other, residual)
	case n.other != nil:
		b.give(n.other, dy)
	}
	b.give(n.x, dx)
}

// sums emits the sums of the gradient, by channel into the gradients of weight and bias, and returns
// those that the gradient by x needs.
func (n *norm) sums(b *builder, dy, mask *buffer) *buffer {
	images, area := n.images(b)
	c := n.x.channels
	g := n.columns(b)
	partial := b.temporary(n.partialBytes(g, images))
	b.call(typed("norm_backward_partial", n.x), g, partial, dy, mask, n.x.buf, n.mean, n.inverse, int32(area), int32(c), int32(n.groups))
	var sums *buffer
	if n.live() {
		sums = b.temporary(4 * 2 * int64(c))
	}
	b.call("norm_backward_reduce", kernels.Channels(c), sums, grad(b, n.weight), grad(b, n.bias), partial, param(b, n.weight), int32(images*g.Slices()), int32(c))
	if n.bn == nil {
		sums = b.temporary(4 * 2 * int64(images) * int64(n.groups))
		b.call("group_backward_sums", kernels.Warps(images*n.groups), sums, partial, param(b, n.weight),
			int32(g.Slices()), int32(c), int32(n.groups), int32(images))
	}
	return sums
}
