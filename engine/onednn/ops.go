package onednn

import "github.com/metrixml/metrix/model"

// importOp brings the caller's rows into the stage's precision and layout.
type importOp struct{ x *value }

func (o *importOp) forward(b *builder) {
	x, k := b.write(o.x), b.k
	size, channels, area, plain := o.x.shape.Size(), int64(o.x.shape.C), pixels(o.x), o.x.plain
	b.step(func(r *execution, w *worker, s span) {
		p := [10]uintptr{r.at(w, x, s), floats(r.x[s.lo*size:])}
		if plain {
			w.run(k.plain, p, [8]int64{s.rows() * int64(size)})
		} else {
			w.run(k.pack, p, [8]int64{s.rows(), channels, area})
		}
	})
}

func (o *importOp) backward(b *builder) {
	if !b.input {
		return
	}
	d, k := b.takeOne(o.x), b.k
	size, channels, area, plain := o.x.shape.Size(), int64(o.x.shape.C), pixels(o.x), o.x.plain
	b.step(func(r *execution, w *worker, s span) {
		p := [10]uintptr{floats(r.dIn[s.lo*size:]), r.at(w, d, s)}
		if plain {
			w.run(k.unplain, p, [8]int64{s.rows() * int64(size)})
		} else {
			w.run(k.unblock, p, [8]int64{s.rows(), channels, area})
		}
	})
}

// exportOp hands the stage's output out as plain floats.
type exportOp struct{ y *value }

func (o *exportOp) forward(b *builder) {
	y, k := b.read(o.y), b.k
	size, channels, area := o.y.shape.Size(), int64(o.y.shape.C), pixels(o.y)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.unblock, [10]uintptr{floats(r.out[s.lo*size:]), r.at(w, y, s)}, [8]int64{s.rows(), channels, area})
	})
}

func (o *exportOp) backward(b *builder) {
	d, k := b.temporary(b.rowBytes(o.y)), b.k
	size, channels, area := o.y.shape.Size(), int64(o.y.shape.C), pixels(o.y)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.pack, [10]uintptr{r.at(w, d, s), floats(r.dOut[s.lo*size:])}, [8]int64{s.rows(), channels, area})
	})
	b.give(o.y, d)
}

// reluOp is a ReLU that nothing before it could do on the way.
type reluOp struct{ x, y *value }

func (o *reluOp) forward(b *builder) {
	values, k := b.rowBytes(o.x)/b.size, b.k
	x, y := b.read(o.x), b.write(o.y)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.relu, [10]uintptr{r.at(w, y, s), r.at(w, x, s)}, [8]int64{values * s.rows()})
	})
}

func (o *reluOp) backward(b *builder) {
	g0, g1 := b.take(o.y)
	d := b.target(g0, g1)
	b.join(d, g0, g1, o.y.buf, o.y)
	b.give(o.x, d)
}

// joinOp adds two values.
type joinOp struct {
	a, b, y *value
	relu    bool
}

func (o *joinOp) forward(b *builder) {
	values, k := b.rowBytes(o.y)/b.size, b.k
	left, right, y := b.read(o.a), b.read(o.b), b.write(o.y)
	b.step(func(r *execution, w *worker, s span) {
		n := [8]int64{values * s.rows()}
		w.run(k.join, [10]uintptr{r.at(w, y, s), r.at(w, left, s), r.at(w, right, s)}, n)
		if o.relu {
			w.run(k.relu, [10]uintptr{r.at(w, y, s), r.at(w, y, s)}, n)
		}
	})
}

func (o *joinOp) backward(b *builder) {
	d := b.takeOne(o.y)
	if o.relu {
		masked := b.target(d, nil)
		b.join(masked, d, nil, o.y.buf, o.y)
		d = masked
	}
	d.shared = true
	b.give(o.a, d)
	b.give(o.b, d)
}

// maxPoolOp remembers the place of each window's maximum.
type maxPoolOp struct {
	l    *model.MaxPool
	x, y *value
	from *buffer
}

func (o *maxPoolOp) numbers(b *builder) func(s span) [8]int64 {
	x, y, blocks := o.x.shape, o.y.shape, b.blocks(o.x)
	return func(s span) [8]int64 {
		return [8]int64{s.rows() * blocks, int64(x.H), int64(x.W), int64(y.H), int64(y.W),
			int64(o.l.Kernel), int64(o.l.Stride), int64(o.l.Pad)}
	}
}

func (o *maxPoolOp) forward(b *builder) {
	x, y, k := b.read(o.x), b.write(o.y), b.k
	o.from = b.keep(b.rowBytes(o.y) / b.size)
	numbers := o.numbers(b)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.maxpool, [10]uintptr{r.at(w, y, s), r.at(w, x, s), r.at(w, o.from, s)}, numbers(s))
	})
}

func (o *maxPoolOp) backward(b *builder) {
	if o.x.input && !b.input {
		return
	}
	dy, dx, k, numbers := b.takeOne(o.y), b.temporary(b.rowBytes(o.x)), b.k, o.numbers(b)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.maxpoolBack, [10]uintptr{r.at(w, dx, s), r.at(w, dy, s), r.at(w, o.from, s)}, numbers(s))
	})
	b.give(o.x, dx)
}

// avgMaxOp remembers the place of each channel's maximum.
type avgMaxOp struct {
	x, y *value
	from *buffer
}

func (o *avgMaxOp) forward(b *builder) {
	x, y, k := b.read(o.x), b.write(o.y), b.k
	o.from = b.keep(b.rowBytes(o.y) / b.size * 4)
	blocks, area := b.blocks(o.x), pixels(o.x)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.avgmax, [10]uintptr{r.at(w, y, s), r.at(w, x, s), r.at(w, o.from, s)}, [8]int64{s.rows() * blocks, area})
	})
}

func (o *avgMaxOp) backward(b *builder) {
	if o.x.input && !b.input {
		return
	}
	dy, dx, k := b.takeOne(o.y), b.temporary(b.rowBytes(o.x)), b.k
	blocks, area := b.blocks(o.x), pixels(o.x)
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.avgmaxBack, [10]uintptr{r.at(w, dx, s), r.at(w, dy, s), r.at(w, o.from, s)}, [8]int64{s.rows() * blocks, area})
	})
	b.give(o.x, dx)
}

// l2Op divides rows by their lengths, which it remembers.
type l2Op struct {
	x, y    *value
	lengths *buffer
}

func (o *l2Op) forward(b *builder) {
	x, y, k := b.read(o.x), b.write(o.y), b.k
	o.lengths = b.keep(8)
	values, least := b.rowBytes(o.x)/b.size, b.g.net.l2Eps
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.l2, [10]uintptr{r.at(w, y, s), r.at(w, x, s), r.at(w, o.lengths, s), floats(least)}, [8]int64{s.rows(), values})
	})
}

func (o *l2Op) backward(b *builder) {
	if o.x.input && !b.input {
		return
	}
	dy, dx, k := b.takeOne(o.y), b.temporary(b.rowBytes(o.x)), b.k
	values, least, y := b.rowBytes(o.x)/b.size, b.g.net.l2Eps, o.y.buf
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.l2Back, [10]uintptr{r.at(w, dx, s), r.at(w, dy, s), r.at(w, o.lengths, s), floats(least), r.at(w, y, s)},
			[8]int64{s.rows(), values})
	})
	b.give(o.x, dx)
}
