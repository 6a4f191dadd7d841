package onednn

import "github.com/metrixml/metrix/model"

// convOp is a convolution or a linear layer.
type convOp struct {
	c    *convolution
	x, y *value
}

func (o *convOp) forward(b *builder) {
	c := o.c
	b.convolve(c, forward, o.x, o.y)
	x, y := b.read(o.x), b.write(o.y)
	b.step(func(r *execution, w *worker, s span) {
		w.convolve(c, forward, s, r.at(w, x, s), c.packed[forward].address(), c.bias(r.net), r.at(w, y, s))
	})
}

func (o *convOp) backward(b *builder) {
	wanted := !o.x.input || b.input
	if wanted {
		b.convolve(o.c, backwardData, o.x, o.y)
	}
	g := b.takeOne(o.y)
	if wanted {
		o.backwardData(b, g)
	}
	o.backwardWeights(b, g)
}

func (o *convOp) backwardData(b *builder, g *buffer) {
	c, dx := o.c, b.temporary(b.rowBytes(o.x))
	b.step(func(r *execution, w *worker, s span) {
		w.convolve(c, backwardData, s, r.at(w, dx, s), c.packed[backwardData].address(), 0, r.at(w, g, s))
	})
	b.give(o.x, dx)
}

// weightRows is the number of rows of a piece of a weight gradient. Each piece has a gradient of its
// own, and they are added in order: eight pieces for many rows, but none of a single row if there are
// two, since every piece costs a pass over the weights.
func weightRows(n int) int { return max((n+7)/8, 2) }

// backwardWeights emits extra work for the next section, when the gradient g by the output is
// complete, and for the one after, which adds up.
func (o *convOp) backwardWeights(b *builder, g *buffer) {
	c, x, at := o.c, b.again(o.x), b.now()+1
	x.use(at)
	list := spans(b.n, weightRows(b.n))
	for _, s := range list {
		if err := b.prepare(c, backwardWeights, s); err != nil {
			b.err = err
			return
		}
	}
	g.use(at)
	g.pinned = at
	apart := aligned(c.ask(c.lib.convWeights, backwardWeights))
	parts := &buffer{bytes: apart * int64(len(list)), first: at, last: at + 1}
	biasApart := aligned(c.base.out * 4)
	biases := &buffer{bytes: biasApart * int64(len(list)), first: at, last: at + 1}
	b.slab = append(b.slab, parts, biases)
	for i, s := range list {
		b.later(at, func(r *execution, w *worker) {
			whole := span{}
			dw, db := r.at(w, parts, whole)+uintptr(i)*uintptr(apart), uintptr(0)
			if c.b != model.None {
				db = r.at(w, biases, whole) + uintptr(i)*uintptr(biasApart)
			}
			w.convolve(c, backwardWeights, s, r.at(w, x, s), dw, db, r.at(w, g, s))
		})
	}
	o.addUp(b, at+1, parts, apart/4, len(list))
	if c.b != model.None {
		b.later(at+1, func(r *execution, w *worker) {
			w.run(b.k.fold, [10]uintptr{r.at(w, biases, span{}), floats(r.net.grad(c.b))}, [8]int64{c.base.out, int64(len(list)), biasApart / 4})
		})
	}
	b.afters[at+1] = append(b.afters[at+1], func(r *execution) { r.report(c.w, c.b) })
}

// addUp emits the sum of the parts of a weight gradient, in a section, into the caller's gradient.
func (o *convOp) addUp(b *builder, section int, parts *buffer, apart int64, count int) {
	c := o.c
	if c.ask(c.lib.convPacked, backwardWeights) == 0 {
		o.addUpUnknown(b, section, parts, apart, count)
		return
	}
	block := int64(b.lib.block)
	blocks := (c.base.out + block - 1) / block
	for _, s := range spans(int(blocks), int(max(blocks/4, 1))) {
		b.later(section, func(r *execution, w *worker) {
			w.run(b.k.unpack, [10]uintptr{r.at(w, parts, span{}), floats(r.net.grad(c.w))},
				[8]int64{c.base.out, c.base.in, c.taps(), c.base.plainInput, apart, int64(count), int64(s.lo), int64(s.hi)})
		})
	}
}

// addUpUnknown does it for a layout that only oneDNN knows.
func (o *convOp) addUpUnknown(b *builder, section int, parts *buffer, apart int64, count int) {
	c := o.c
	plain := &buffer{bytes: c.weights * 4, first: section, last: section}
	b.slab = append(b.slab, plain)
	b.later(section, func(r *execution, w *worker) {
		whole := span{}
		for i := range count {
			w.p = [10]uintptr{c.like[backwardWeights], r.at(w, parts, whole) + uintptr(i)*uintptr(apart)*4, r.at(w, plain, whole)}
			if status := w.call(c.lib.pack); status != 0 {
				w.fail(c.name, status)
				return
			}
			w.run(b.k.fold, [10]uintptr{r.at(w, plain, whole), floats(r.net.grad(c.w))}, [8]int64{c.weights, 1, 0})
		}
	})
}
