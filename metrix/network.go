package metrix

import (
	"fmt"
)

// MixedRows are mixed examples that went through the network: images mixed at its entrance or
// feature maps mixed inside it, V of them. Row v is the mix of First[v] and Second[v].
//
// An anchor a uses the mixed rows of its own class: those whose First is in P(a)
// (PositiveNegative), or is a itself (AnchorNegative), and whose Second is in N(a). Such a row has
// label Lambda: it is a positive of weight Lambda and a negative of weight 1 - Lambda. A proxy
// anchor uses the rows whose First is of its class and whose Second is not. Where proxies are the
// candidates (proxy_nca) the mixed part compares examples with the mixes of examples all the same,
// as no proxy goes through the network: proxies then get no gradient from it.
//
// A range of anchors reads the rows of its own classes only: the others may be left out, unless the
// form is reduced over terms, whose count needs all. Where a range of rows is a shard of whole
// classes, as sampler makes them, mixed examples thus never leave the worker that embedded them.
//
// It costs one inner product of Dim per anchor and row it uses, and twice that for the gradient.
type MixedRows struct {
	Embeddings    []float32 // V x Dim, unit rows
	First, Second []int32   // rows of the global batch
	Lambda        []float32 // share of First, and the label, in [0, 1]
}

// Operator returns what makes the mixed rows of the rows of the batch.
func (m *MixedRows) Operator() Operator {
	o := make(Operator, len(m.First))
	for v := range o {
		o[v] = Pair{m.First[v], m.Second[v], m.Lambda[v]}
	}
	return o
}

// checkRows refuses mixed rows that cannot be evaluated.
func (l *Loss) checkRows(grad Gradient, b Batch, mix Mix) error {
	if mix.Weight == 0 {
		return nil
	}
	if err := l.form.checkDrawn(mix); err != nil {
		return err
	}
	m := mix.Rows
	if m == nil {
		if grad.Mixed != nil {
			return fmt.Errorf("metrix: a gradient by mixed rows is asked for, but Mix.Rows is nil; give both or neither")
		}
		return nil
	}
	n := len(m.First)
	if len(m.Second) != n || len(m.Lambda) != n || len(m.Embeddings) != n*b.Dim {
		return fmt.Errorf("metrix: %d mixed rows of dimension %d need as many seconds and lambdas and %d floats, got %d, %d and %d",
			n, b.Dim, n*b.Dim, len(m.Second), len(m.Lambda), len(m.Embeddings))
	}
	if grad.Mixed != nil && len(grad.Mixed) != len(m.Embeddings) {
		return fmt.Errorf("metrix: the gradient by mixed rows has %d floats, the rows %d; they must be equal", len(grad.Mixed), len(m.Embeddings))
	}
	if err := m.Operator().Check(b.Size()); err != nil {
		return err
	}
	return checkUnit("mixed", m.Embeddings, b.Dim)
}

// checkDrawn is checkPairs for a mix that has been drawn.
func (f Form) checkDrawn(mix Mix) error {
	level := mix.Level
	if level == "" || level == LevelNone {
		level = LevelEmbed
	}
	if mix.Rows == nil && level != LevelEmbed {
		return fmt.Errorf("metrix: the step mixes at level %s, where mixed examples go through the network; set Mix.Rows to what it made of them", level)
	}
	if mix.Rows != nil && f.Virtual {
		return fmt.Errorf("metrix: loss form %s mixes similarities only; leave Mix.Rows nil", f.Name)
	}
	c := LevelConfig{Weight: mix.Weight, Pairs: mix.Pairs.String()}
	if c.Pairs == "anchor_negative" && f.UsesProxies() {
		c.Pairs = "positive_negative" // as drawn by "both"
	}
	return f.checkPairs(level, c)
}

// network is the evaluation of mixed rows that went through the network.
type network struct {
	rows   *MixedRows
	own    bool // AnchorNegative
	index  bool // anchors are examples: First may be the anchor itself
	dim    int
	order  []int32 // mixed rows sorted by the class of First, for the groups of the layout
	widest int     // most rows of a class
	used   int     // pairs of an anchor of the whole batch and a mixed row it uses

	anchors  matrix    // anchors' rows: of the caller, or unit proxies
	byMixed  []float32 // the caller's Gradient.Mixed
	byAnchor []float32 // A x Dim
	starts   []int
}

// arrange sorts the mixed rows by class. Rows whose partners share a class mix nothing of use and
// are left out.
func (w *network) arrange(l *Loss, grad Gradient, b Batch) {
	e := &l.e
	*w = network{order: w.order[:0], byAnchor: w.byAnchor, starts: w.starts}
	if e.mix.Weight == 0 || e.mix.Rows == nil {
		return
	}
	w.rows, w.dim, w.byMixed = e.mix.Rows, b.Dim, grad.Mixed
	w.index = l.form.Anchors == Example
	w.own = e.own && e.mix.Pairs == AnchorNegative
	source := b.Embeddings
	if !w.index {
		source = l.rows.proxies
	}
	w.anchors = dense(source, len(source)/b.Dim, b.Dim)
	w.sort(e, b.Labels)
	if e.differentiate {
		w.byAnchor = resize(w.byAnchor, len(e.anchors)*b.Dim)
		clear(w.byAnchor)
	}
}

// sort is a counting sort of the mixed rows by the group of First, stable.
func (w *network) sort(e *evaluation, labels []int32) {
	groupOf := func(v int) int { // or -1
		class := labels[w.rows.First[v]]
		if class == labels[w.rows.Second[v]] {
			return -1
		}
		n, ok := e.number[class]
		if !ok {
			return -1
		}
		uses := e.classes[n] // anchors that use the row
		if w.own {
			uses = 1
		} else if w.index {
			uses--
		}
		w.used += uses
		if n >= len(e.groups) {
			return -1
		}
		return n
	}
	w.starts = resize(w.starts, len(w.rows.First))
	for v := range w.rows.First {
		w.starts[v] = groupOf(v)
		if n := w.starts[v]; n >= 0 {
			e.groups[n].r1++
		}
	}
	at := int32(0)
	for n := range e.groups {
		g := &e.groups[n]
		count := g.r1
		w.widest = max(w.widest, count)
		g.r0, g.r1 = int(at), int(at)
		at += int32(count)
	}
	w.order = resize(w.order, int(at))
	for v, n := range w.starts[:len(w.rows.First)] {
		if n >= 0 {
			w.order[e.groups[n].r1] = int32(v)
			e.groups[n].r1++
		}
	}
}

// row lists the mixed rows anchors[i] uses, with their similarities and labels, in the order of
// the mixed rows. It lies in sc until the next call.
func (w *network) row(e *evaluation, sc *scratch, g group, i int) (used []int32, s []float64, y []float32) {
	index := int32(e.anchors[i].index)
	a := w.anchors.row(int(index))
	used = sc.used[:0]
	for _, v := range w.order[g.r0:g.r1] {
		if w.index && (w.rows.First[v] == index) != w.own {
			continue
		}
		n := len(used)
		used = append(used, v)
		sc.s[n], sc.y[n] = dot64(a, w.mixed(v)), w.rows.Lambda[v]
	}
	sc.used = used
	return used, sc.s[:len(used)], sc.y[:len(used)]
}

func (w *network) mixed(v int32) []float32 { return w.rows.Embeddings[int(v)*w.dim:][:w.dim] }

// dot64 returns the inner product of two rows in float64, where products of float32 are exact, so
// that every processor gives the same bits.
func dot64(a, b []float32) float64 {
	var s float64
	b = b[:len(a)]
	for k, x := range a {
		s += float64(x) * float64(b[k])
	}
	return s
}

// networkTerm returns the anchor's share of the mixed loss, unweighted, over the mixed rows it
// uses, and adds w times its gradient: for c = dL/ds(a,v), c v to the anchor and c a to the mix.
func (e *evaluation) networkTerm(sc *scratch, g group, i int) float64 {
	w := &e.network
	used, s, y := w.row(e, sc, g, i)
	value, slope := e.mixesOf(sc, s, y)
	if slope == nil {
		return value
	}
	a := w.anchors.row(e.anchors[i].index)
	sc.byRow = resize(sc.byRow, w.dim)
	clear(sc.byRow)
	for j, v := range used {
		c := slope[j]
		for k, x := range w.mixed(v) {
			sc.byRow[k] += c * float64(x)
		}
		if w.byMixed != nil {
			to := w.byMixed[int(v)*w.dim:][:w.dim]
			for k, x := range a {
				to[k] += float32(c * float64(x))
			}
		}
	}
	for k, x := range sc.byRow {
		w.byAnchor[i*w.dim+k] = float32(x)
	}
	return value
}

// mixesOf is the loss of one anchor over mixes that are at hand, unweighted, and w times its
// derivative by their similarities where gradients are asked for.
func (e *evaluation) mixesOf(sc *scratch, s []float64, y []float32) (value float64, slope []float64) {
	f := e.form
	if f.Listwise != nil {
		return e.listOf(sc, s, y)
	}
	x := nothing()
	x.add(s)
	refPos, refNeg := f.Positive.reference(x), f.Negative.reference(x)
	pos := Sum{f.Positive.sum(s, y, byLabel, refPos), refPos}
	neg := Sum{f.Negative.sum(s, y, f.negativeWeight(), refNeg), refNeg}
	value, cPos, cNeg := e.combine(e.mixedBy, pos, neg)
	if !e.differentiate {
		return value, nil
	}
	slope = sc.c[:len(s)]
	clear(slope)
	f.Positive.addSlope(slope, s, y, byLabel, refPos, cPos*e.mix.Weight)
	f.Negative.addSlope(slope, s, y, f.negativeWeight(), refNeg, cNeg*e.mix.Weight)
	return value, slope
}

// backward adds the anchors' gradient to its destination.
func (w *network) backward(to []float32, anchors []anchor) {
	if w.rows == nil {
		return
	}
	for i, a := range anchors {
		addTo(to[a.index*w.dim:], w.byAnchor[i*w.dim:][:w.dim])
	}
}
