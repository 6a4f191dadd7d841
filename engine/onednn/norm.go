package onednn

import (
	"math"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// Ways of a norm to its statistics.
const (
	ofRunning = iota // given
	ofBatch          // of all rows of the call
	ofGroups         // of each row's groups of channels
)

// What stops a gradient behind a norm: see reduce in typed.h.
const (
	open = iota
	byInput
	byOutput
)

// norm is a batch or group norm, y = relu(a x + b + other), with a and b per channel, for group norm
// per row and channel.
type norm struct {
	bn       *model.BatchNorm
	groups   int
	kind     int
	w, b     model.Ref
	x, y     *value
	other    *value // nil, or what is added
	relu     bool
	index    int
	measured int // section that collects the statistics
	channels int // padded to whole blocks
	area     int64
	blocks   int64
	size     int64 // bytes of a value
}

// affine is what a forward leaves for the backward: floats by (row and) channel.
type affine struct {
	a, b, mean []float32
	inverse    []float64 // 1 / standard deviation
}

// sums is the workspace of a norm in a program, by row and channel; a and c are the coefficients of
// the gradient, see slope in typed.h.
type sums struct{ s1, s2, b, c []float32 }

func newNorm(l model.Layer, x *value, mode engine.Mode, index int) *norm {
	n := &norm{x: x, index: index}
	switch l := l.(type) {
	case *model.BatchNorm:
		n.bn, n.w, n.b = l, l.W, l.B
		if mode == engine.Train {
			n.kind = ofBatch
		}
	case *model.GroupNorm:
		n.groups, n.kind, n.w, n.b = l.Groups, ofGroups, l.W, l.B
	}
	return n
}

// stride is the number of coefficients from row to row.
func (n *norm) stride() int64 {
	if n.kind == ofGroups {
		return int64(n.channels)
	}
	return 0
}

// floatsFor is the number of coefficients for so many rows.
func (n *norm) floatsFor(rows int) int {
	if n.kind == ofGroups {
		return rows * n.channels
	}
	return n.channels
}

// running computes scale and shift of a batch norm with running statistics.
func (net *network) running(l *model.BatchNorm) (a, b []float64) {
	w, shift := net.param(l.W), net.param(l.B)
	mean, variance := net.buffer(l.Mean), net.buffer(l.Var)
	a, b = make([]float64, l.Channels), make([]float64, l.Channels)
	for c := range a {
		a[c] = float64(w[c]) / math.Sqrt(float64(variance[c])+model.NormEps)
		b[c] = float64(shift[c]) - a[c]*float64(mean[c])
	}
	return a, b
}

// begin sets what does not depend on the rows.
func (n *norm) begin(r *execution) {
	if n.kind != ofRunning {
		return
	}
	s := &r.tape.norms[n.index]
	a, b := r.net.running(n.bn)
	for c := range a {
		s.a[c], s.b[c] = float32(a[c]), float32(b[c])
		s.mean[c] = r.net.buffer(n.bn.Mean)[c]
		s.inverse[c] = 1 / math.Sqrt(float64(r.net.buffer(n.bn.Var)[c])+model.NormEps)
	}
}

// measureOp is the first part of a norm: its statistics.
type measureOp struct{ *norm }

func (o measureOp) forward(b *builder) {
	n := o.norm
	n.blocks, n.area, n.size = b.blocks(n.x), pixels(n.x), b.size
	n.channels = int(n.blocks) * b.lib.block
	if n.kind == ofRunning {
		return
	}
	x, k := b.read(n.x), b.k
	n.measured = b.now()
	b.step(func(r *execution, w *worker, s span) {
		t := &r.p.sums[n.index]
		from := s.lo * n.channels
		w.run(k.stats, [10]uintptr{r.at(w, x, s), floats(t.s1[from:]), floats(t.s2[from:])}, [8]int64{s.rows() * n.blocks, n.area})
		if n.kind == ofGroups {
			n.combineGroups(r, s)
		}
	})
	if n.kind == ofBatch {
		b.after(n.combineBatch)
	}
}

func (o measureOp) backward(*builder) {}

// combineBatch makes the statistics of all rows from those of each. A variance is the mean of the
// variances plus the variance of the means.
func (n *norm) combineBatch(r *execution) {
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	w, shift := r.net.param(n.w), r.net.param(n.b)
	meanSum, varSum := r.net.bufferSum(n.bn.Mean), r.net.bufferSum(n.bn.Var)
	rows, m := r.n, float64(r.n)*float64(n.area)
	for c := range n.bn.Channels {
		var mean, m2 float64
		for i := range rows {
			mean += float64(t.s1[i*n.channels+c])
		}
		mean /= float64(rows)
		for i := range rows {
			d := float64(t.s1[i*n.channels+c]) - mean
			m2 += float64(t.s2[i*n.channels+c]) + d*d*float64(n.area)
		}
		s.set(c, mean, m2/m, w[c], shift[c])
		meanSum[c] += float32(mean)
		varSum[c] += float32(m2 / (m - 1))
	}
}

func (s *affine) set(i int, mean, variance float64, w, shift float32) {
	s.inverse[i] = 1 / math.Sqrt(variance+model.NormEps)
	a := float64(w) * s.inverse[i]
	s.a[i], s.b[i], s.mean[i] = float32(a), float32(float64(shift)-mean*a), float32(mean)
}

// combineGroups does it for the groups of each row.
func (n *norm) combineGroups(r *execution, rows span) {
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	w, shift := r.net.param(n.w), r.net.param(n.b)
	per := len(w) / n.groups
	for i := rows.lo; i < rows.hi; i++ {
		for g := range n.groups {
			lo := i*n.channels + g*per
			var mean, m2 float64
			for c := lo; c < lo+per; c++ {
				mean += float64(t.s1[c])
			}
			mean /= float64(per)
			for c := lo; c < lo+per; c++ {
				d := float64(t.s1[c]) - mean
				m2 += float64(t.s2[c]) + d*d*float64(n.area)
			}
			for c := range per {
				s.set(lo+c, mean, m2/(float64(per)*float64(n.area)), w[g*per+c], shift[g*per+c])
			}
		}
	}
}

func (n *norm) forward(b *builder) {
	if n.kind == ofBatch && n.measured == b.now() {
		b.cut()
	}
	x := b.read(n.x)
	var other *buffer
	if n.other != nil {
		other = b.read(n.other)
	}
	n.apply(b, b.write(n.y), x, other)
}

// apply emits y = relu(a x + b + other).
func (n *norm) apply(b *builder, y, x, other *buffer) {
	k, relu := b.k, int64(count(n.relu))
	b.step(func(r *execution, w *worker, s span) {
		a, shift := n.coefficients(r, s)
		w.run(k.affine, [10]uintptr{r.at(w, y, s), r.at(w, x, s), r.at(w, other, s), a, shift},
			[8]int64{s.rows(), n.blocks, n.area, n.stride(), relu})
	})
}

// again returns a value that a forward computed, for the steps of a backward. The output of a norm is
// not kept for that: it comes from the norm's input, which is, at the cost of one pass that the
// norm's own backward, soon after, finds in the cache.
func (b *builder) again(v *value) *buffer {
	if v.keep {
		return v.buf
	}
	y := b.temporary(b.rowBytes(v))
	v.again.apply(b, y, v.again.x.buf, nil)
	return y
}

// coefficients are the addresses of scale and shift for a span.
func (n *norm) coefficients(r *execution, s span) (a, b uintptr) {
	t, i := &r.tape.norms[n.index], s.lo*int(n.stride())
	return floats(t.a[i:]), floats(t.b[i:])
}

func (n *norm) backward(b *builder) {
	g := n.reduce(b)
	switch n.kind {
	case ofBatch:
		b.after(n.differentiateBatch)
		b.cut()
	case ofRunning:
		b.after(n.differentiateRunning)
	case ofGroups:
		b.step(n.differentiateGroups)
		b.after(n.reportGroups)
	}
	if n.other != nil {
		b.give(n.other, g)
	}
	if n.x.input && !b.input {
		return
	}
	dx := n.place(b, g)
	g.use(b.now())
	dx.use(b.now())
	x, k := n.x.buf, b.k
	b.step(func(r *execution, w *worker, s span) {
		a, _ := n.coefficients(r, s)
		p := [10]uintptr{r.at(w, dx, s), r.at(w, g, s), 0, a}
		if n.kind != ofRunning {
			t, i := &r.p.sums[n.index], s.lo*int(n.stride())
			p[2], p[4], p[6] = r.at(w, x, s), floats(t.b[i:]), floats(t.c[i:])
			p[5] = floats(r.tape.norms[n.index].mean[i:])
		}
		w.run(k.slope, p, [8]int64{s.rows(), n.blocks, n.area, n.stride()})
	})
	b.give(n.x, dx)
}

// reduce emits the sums over pixels of the gradient by y, where the ReLU was open, and returns that
// gradient.
func (n *norm) reduce(b *builder) *buffer {
	g0, g1 := b.take(n.y)
	g, stop := g0, int64(open)
	var dst, y *buffer
	if n.relu || g1 != nil {
		dst = b.target(g0, g1)
		g = dst
	}
	if n.relu {
		stop = byInput
		if n.other != nil {
			stop, y = byOutput, n.y.buf
		}
	}
	x, k := n.x.buf, b.k
	b.step(func(r *execution, w *worker, s span) {
		t, from := &r.p.sums[n.index], s.lo*n.channels
		a, shift := n.coefficients(r, s)
		w.run(k.reduce, [10]uintptr{
			r.at(w, dst, s), r.at(w, g0, s), r.at(w, g1, s), r.at(w, x, s), r.at(w, y, s), a, shift,
			floats(r.tape.norms[n.index].mean[s.lo*int(n.stride()):]), floats(t.s1[from:]), floats(t.s2[from:]),
		}, [8]int64{s.rows(), n.blocks, n.area, n.stride(), stop})
	})
	return g
}

// place says where the gradient by x goes: over x itself if nobody reads it any more.
func (n *norm) place(b *builder, g *buffer) *buffer {
	switch {
	case n.kind == ofRunning && n.other == nil && b.writable(g):
		return g
	case n.x.buf.onTape && n.x.readers == 1 && !n.x.mask && !n.x.input:
		return n.x.buf
	}
	return b.temporary(b.rowBytes(n.x))
}

// total adds up what the rows left for a channel.
func (n *norm) total(t *sums, rows, c int) (s1, s2 float64) {
	for i := c; i < rows*n.channels; i += n.channels {
		s1 += float64(t.s1[i])
		s2 += float64(t.s2[i])
	}
	return s1, s2
}

func (n *norm) differentiateBatch(r *execution) {
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	m := float64(r.n) * float64(n.area)
	for c := range n.bn.Channels {
		s1, s2 := n.total(t, r.n, c)
		a := float64(s.a[c])
		t.b[c] = float32(-a * s.inverse[c] * s.inverse[c] * s2 / m)
		t.c[c] = float32(-a * s1 / m)
		r.addNorm(n, c, s1, s2*s.inverse[c])
	}
	r.report(n.w, n.b)
}

func (n *norm) differentiateRunning(r *execution) {
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	if r.opt.SkipParams {
		return
	}
	for c := range n.bn.Channels {
		s1, s2 := n.total(t, r.n, c)
		r.addNorm(n, c, s1, s2*s.inverse[c])
	}
	r.report(n.w, n.b)
}

func (r *execution) addNorm(n *norm, c int, shift, scale float64) {
	if !r.opt.SkipParams {
		r.net.grad(n.w)[c] += float32(scale)
		r.net.grad(n.b)[c] += float32(shift)
	}
}

// differentiateGroups computes the coefficients of each row of a span.
func (n *norm) differentiateGroups(r *execution, _ *worker, rows span) {
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	w := r.net.param(n.w)
	per := len(w) / n.groups
	m := float64(per) * float64(n.area)
	for i := rows.lo; i < rows.hi; i++ {
		for g := range n.groups {
			lo := i*n.channels + g*per
			var g1, g2 float64
			for c := range per {
				g1 += float64(w[g*per+c]) * float64(t.s1[lo+c])
				g2 += float64(w[g*per+c]) * float64(t.s2[lo+c])
			}
			inverse := s.inverse[lo]
			for c := lo; c < lo+per; c++ {
				t.b[c] = float32(-inverse * inverse * inverse * g2 / m)
				t.c[c] = float32(-inverse * g1 / m)
			}
		}
	}
}

func (n *norm) reportGroups(r *execution) {
	if r.opt.SkipParams {
		return
	}
	t, s := &r.p.sums[n.index], &r.tape.norms[n.index]
	for c := range r.net.param(n.w) {
		var shift, scale float64
		for i := c; i < r.n*n.channels; i += n.channels {
			shift += float64(t.s1[i])
			scale += float64(t.s2[i]) * s.inverse[i]
		}
		r.addNorm(n, c, shift, scale)
	}
	r.report(n.w, n.b)
}
