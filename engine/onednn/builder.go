package onednn

import (
	"github.com/metrixml/metrix/engine"
)

// span is a range of rows.
type span struct{ lo, hi int }

// section is work between two points where all workers wait for each other. Its spans go through the
// steps one after the other, each on one worker, so a step finds in the cache what the step before
// has left there. Extra work may go on beside them. What is summed over spans is summed afterwards,
// in order.
//
// Spans depend on the number of rows alone, and every span is computed by one thread, so the bits of
// a result do not depend on the number of workers.
type section struct {
	want  int // rows of a span, at most
	spans []span
	steps []func(r *execution, w *worker, s span)
	extra []func(r *execution, w *worker)
	after []func(r *execution)

	convs     []*convolution // used by steps, in this direction
	direction int
	hasConv   bool
}

// builder turns a graph into sections.
type builder struct {
	g        *graph
	n        int
	input    bool // the backward is to give the gradient by the stage's input
	lib      *library
	k        *kernels
	size     int64 // bytes of a value
	sections []*section
	slab     []*buffer
	extras   map[int][]func(r *execution, w *worker) // extra work of sections to come
	afters   map[int][]func(r *execution)            // what follows them
	tape     int64                                   // bytes of the tape so far
	scratch  int64
	err      error
}

func (b *builder) now() int { return len(b.sections) - 1 }

func (b *builder) section() *section { return b.sections[b.now()] }

// cut begins a new section.
func (b *builder) cut() {
	i := len(b.sections)
	b.sections = append(b.sections, &section{want: b.n, extra: b.extras[i], after: b.afters[i]})
	delete(b.extras, i)
	delete(b.afters, i)
}

// later adds extra work to a section to come.
func (b *builder) later(section int, do func(r *execution, w *worker)) {
	b.extras[section] = append(b.extras[section], do)
}

func (b *builder) step(do func(r *execution, w *worker, s span)) {
	s := b.section()
	s.steps = append(s.steps, do)
}

func (b *builder) after(do func(r *execution)) {
	s := b.section()
	s.after = append(s.after, do)
}

// temporary makes a buffer of the slab.
func (b *builder) temporary(row int64) *buffer {
	t := &buffer{row: row, bytes: row * int64(b.n), first: b.now(), last: b.now()}
	b.slab = append(b.slab, t)
	return t
}

// keep makes a buffer of the tape, or of the slab where nothing will go backward.
func (b *builder) keep(row int64) *buffer {
	if b.g.mode == engine.Eval {
		return b.temporary(row)
	}
	t := &buffer{row: row, bytes: row * int64(b.n), onTape: true, at: b.tape}
	b.tape += aligned(t.bytes)
	return t
}

// write makes the buffer of a value that a forward step is about to compute.
func (b *builder) write(v *value) *buffer {
	if v.keep {
		v.buf = b.keep(b.rowBytes(v))
	} else {
		v.buf = b.temporary(b.rowBytes(v))
	}
	return v.buf
}

// read returns the buffer of a value for the steps of this section.
func (b *builder) read(v *value) *buffer {
	v.buf.use(b.now())
	return v.buf
}

// use keeps a buffer until a section has ended, which may be a later one.
func (t *buffer) use(section int) { t.last = max(t.last, section) }

// blocks is the number of channel blocks of a value.
func (b *builder) blocks(v *value) int64 {
	return (int64(v.shape.C) + int64(b.lib.block) - 1) / int64(b.lib.block)
}

func pixels(v *value) int64 { return int64(v.shape.H * v.shape.W) }

// rowBytes is the size of a row of a value.
func (b *builder) rowBytes(v *value) int64 {
	if v.plain {
		return int64(v.shape.Size()) * b.size
	}
	return b.blocks(v) * int64(b.lib.block) * pixels(v) * b.size
}

// give adds a contribution to the gradient by a value.
func (b *builder) give(v *value, d *buffer) {
	if v.input && !b.input {
		return
	}
	v.gradient = append(v.gradient, d)
}

// writable says whether a gradient may be overwritten by the steps that come next.
func (b *builder) writable(d *buffer) bool { return !d.shared && d.pinned < b.now() }

// take returns the contributions to the gradient by a value: one, or two that are yet to be added.
func (b *builder) take(v *value) (g0, g1 *buffer) {
	for len(v.gradient) > 2 {
		a, c := v.gradient[0], v.gradient[1]
		d := b.target(a, c)
		b.join(d, a, c, nil, v)
		v.gradient = append([]*buffer{d}, v.gradient[2:]...)
	}
	g0 = v.gradient[0]
	g0.use(b.now())
	if len(v.gradient) == 2 {
		g1 = v.gradient[1]
		g1.use(b.now())
	}
	v.gradient = nil
	return g0, g1
}

// target is where the sum of two gradients, or one changed, may be written.
func (b *builder) target(g0, g1 *buffer) *buffer {
	switch {
	case b.writable(g0):
		return g0
	case g1 != nil && b.writable(g1):
		return g1
	}
	return b.temporary(g0.row)
}

// takeOne returns the gradient by a value in one buffer.
func (b *builder) takeOne(v *value) *buffer {
	g0, g1 := b.take(v)
	if g1 == nil {
		return g0
	}
	d := b.target(g0, g1)
	b.join(d, g0, g1, nil, v)
	return d
}

// join emits dst = a + c, where mask > 0 if it is given.
func (b *builder) join(dst, a, c *buffer, mask *buffer, v *value) {
	values, k := b.rowBytes(v)/b.size, b.k
	for _, x := range []*buffer{dst, a, c, mask} {
		if x != nil {
			x.use(b.now())
		}
	}
	b.step(func(r *execution, w *worker, s span) {
		w.run(k.join, [10]uintptr{r.at(w, dst, s), r.at(w, a, s), r.at(w, c, s), r.at(w, mask, s)}, [8]int64{values * s.rows()})
	})
}

func (s span) rows() int64 { return int64(s.hi - s.lo) }

// spans cuts n rows into pieces of nearly equal size, none larger than want.
func spans(n, want int) []span {
	want = min(max(want, 1), n)
	count := (n + want - 1) / want
	list := make([]span, count)
	for i := range list {
		list[i] = span{n * i / count, n * (i + 1) / count}
	}
	return list
}

// convolve notes that the section uses a convolution and how many rows suit it. Where that differs
// much from what suits the section so far, a new section begins.
func (b *builder) convolve(c *convolution, direction int, x, y *value) {
	want := suits(c, direction, b.n, b.rowBytes(x)+b.rowBytes(y))
	s := b.section()
	if s.hasConv && (direction == backwardData || want >= 2*s.want || s.want >= 2*want) {
		b.cut()
		s = b.section()
	}
	s.convs, s.direction, s.hasConv = append(s.convs, c), direction, true
	s.want = min(s.want, want)
}

// pieces is the least number of pieces that rows are cut into, if there are as many rows.
const pieces = 8

// suits is the number of rows that a convolution takes at a time: as few as keep the activations in
// the cache, unless reading the weights again for each would cost more.
func suits(c *convolution, direction, n int, row int64) int {
	return int(min(max(c.ask(c.lib.convWeights, direction)/row, 1), max(int64(n)/pieces, 1)))
}

// half is one direction of a program.
type half struct {
	sections []*section
	slab     int64 // bytes that the sections share
	local    int64 // bytes of each worker
	scratch  int64 // bytes that oneDNN needs in each worker
}

// finish makes the primitives that the sections need and places the buffers.
func (b *builder) finish() (*half, error) {
	for len(b.extras) > 0 || len(b.afters) > 0 {
		b.cut()
	}
	for _, s := range b.sections {
		if err := b.divide(s); err != nil {
			return nil, err
		}
	}
	var local, shared []*buffer
	for _, t := range b.slab {
		if t.first == t.last && t.row > 0 && len(b.sections[t.first].spans) > 0 {
			t.local = true
			t.bytes = t.row * b.sections[t.first].largest()
			local = append(local, t)
		} else {
			shared = append(shared, t)
		}
	}
	return &half{b.sections, plan(shared), plan(local), b.scratch}, b.err
}

// divide cuts the rows of a section into spans.
func (b *builder) divide(s *section) error {
	if len(s.steps) == 0 {
		return nil
	}
	s.spans = spans(b.n, s.want)
	for _, c := range s.convs {
		for _, p := range s.spans {
			if err := b.prepare(c, s.direction, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes the primitive of a convolution for a span.
func (b *builder) prepare(c *convolution, direction int, s span) error {
	_, err := c.primitive(direction, s.hi-s.lo)
	b.scratch = max(b.scratch, c.scratch[direction])
	return err
}

// largest is the largest number of rows of a span.
func (s *section) largest() (rows int64) {
	for _, p := range s.spans {
		rows = max(rows, p.rows())
	}
	return rows
}

func (g *graph) builder(n int, input bool) *builder {
	precision := g.net.precision(g.stage)
	b := &builder{
		g: g, n: n, input: input, lib: g.net.lib, k: &g.net.lib.kernels[precision], size: 4 >> precision,
		extras: map[int][]func(*execution, *worker){}, afters: map[int][]func(*execution){},
	}
	b.cut()
	return b
}
