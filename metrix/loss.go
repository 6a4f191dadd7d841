package metrix

import (
	"fmt"
	"math"
)

// Loss evaluates one form. It keeps its workspace, O(B^2) floats (or O(C B) with C proxies),
// between calls and is used by one goroutine at a time.
type Loss struct {
	form    Form
	threads int
	e       evaluation
	rows    rows
	virtual virtual
}

// New returns a Loss that computes on up to threads goroutines, threads >= 1.
func New(form Form, threads int) (*Loss, error) {
	if err := form.validate(); err != nil {
		return nil, err
	}
	if threads < 1 {
		return nil, fmt.Errorf("metrix: threads is %d; it must be >= 1", threads)
	}
	return &Loss{form: form, threads: threads}, nil
}

// Form returns the form that l evaluates.
func (l *Loss) Form() Form { return l.form }

// Evaluate returns the share that the anchors [lo, hi) have in the loss of the global batch,
//
//	E = mean over all anchors of [ l(a) + w lm(a) ],
//
// and adds the share's gradient to grad. Shares and gradients of ranges that cover [0, NumAnchors)
// sum to those of the whole; a range costs the similarities of its own classes only. The gradient
// takes rows as unit vectors: only its part tangential to a row has meaning, which is what
// NormalizeBackward passes on.
//
// An anchor without positives, or without negatives, adds 0 for the part it lacks and still counts
// in the mean.
func (l *Loss) Evaluate(grad Gradient, b Batch, mix Mix, lo, hi int) (Value, error) {
	if err := l.check(grad, b, mix, lo, hi); err != nil {
		return Value{}, err
	}
	if lo == hi {
		return Value{}, nil
	}
	if mix.Weight > 0 && l.form.Virtual {
		return l.evaluateVirtual(grad, b, mix, lo, hi), nil
	}
	return l.evaluate(grad, b, mix, lo, hi), nil
}

// evaluate is Evaluate without its checks.
func (l *Loss) evaluate(grad Gradient, b Batch, mix Mix, lo, hi int) Value {
	e := &l.e
	e.form, e.mix, e.lo, e.hi = &l.form, mix, lo, hi
	e.differentiate = grad.Embeddings != nil || grad.Proxies != nil || grad.Mixed != nil
	l.arrange(b)
	e.network.arrange(l, grad, b)
	l.compare()
	l.reduce()
	parallel(l.threads, len(e.groups), func(thread, i int) { e.evaluateGroup(&e.workers[thread], e.groups[i]) })
	if e.differentiate {
		l.backward(grad, b)
	}
	return e.value()
}

// Check refuses what Evaluate would refuse, for whoever computes the same elsewhere.
func (l *Loss) Check(grad Gradient, b Batch, mix Mix) error { return l.check(grad, b, mix, 0, 0) }

// check refuses what cannot be evaluated.
func (l *Loss) check(grad Gradient, b Batch, mix Mix, lo, hi int) error {
	if err := b.check(l.form, grad); err != nil {
		return err
	}
	if n := NumAnchors(l.form, b); lo < 0 || lo > hi || hi > n {
		return fmt.Errorf("metrix: anchors [%d, %d) are not a range of the batch's %d anchors", lo, hi, n)
	}
	if !(mix.Weight >= 0) || math.IsInf(mix.Weight, 1) {
		return fmt.Errorf("metrix: mix weight is %v; it must be a finite number >= 0", mix.Weight)
	}
	if !(mix.Lambda >= 0 && mix.Lambda <= 1) {
		return fmt.Errorf("metrix: lambda is %v; it must lie in [0, 1]", mix.Lambda)
	}
	if mix.Hardest < 0 {
		return fmt.Errorf("metrix: mix hardest is %d; it must be >= 0 (0 = all negatives)", mix.Hardest)
	}
	return l.checkRows(grad, b, mix)
}

// compare computes the similarities and, where mixing, what every pair needs.
func (l *Loss) compare() {
	e, r := &l.e, &l.rows
	mixing := e.mix.Weight > 0 && e.mix.Rows == nil
	columns := len(e.order) + e.memory
	e.mixed = len(e.order)
	if e.mix.Memory {
		e.mixed = columns
	}
	e.g, e.dg = matrix{}, matrix{}
	if e.own || mixing {
		e.g = claim(&e.gStore, e.touched, columns)
		gram(l.threads, e.g.columns(0, len(e.order)), r.candidates)
		l.compareMemory(e.g, matrix{r.candidates.data, e.touched, r.candidates.cols, r.candidates.stride})
		e.dg = e.gradientOf(&e.dgStore, e.touched, columns)
	}
	e.h, e.dh = e.g, e.dg
	if !e.own {
		e.h = claim(&e.hStore, len(e.anchors), columns)
		clear(e.h.data)
		multiply(l.threads, e.h.columns(0, len(e.order)), r.anchors, r.candidates)
		l.compareMemory(e.h, r.anchors)
		e.dh = e.gradientOf(&e.dhStore, len(e.anchors), columns)
	}
	e.cleanTerms, e.rowsTerms = resize(e.cleanTerms, len(e.anchors)), resize(e.rowsTerms, len(e.anchors))
	e.hire(l.threads, max(columns, e.network.widest))
	if mixing {
		e.claimMixes()
		parallel(l.threads, len(e.groups), func(thread, i int) { e.prepareMixes(&e.workers[thread], e.groups[i]) })
	}
}

// claim returns a dense matrix in a buffer that is kept.
func claim(store *[]float32, rows, columns int) matrix {
	*store = resize(*store, rows*columns)
	return dense(*store, rows, columns)
}

// gradientOf returns a zero matrix like claim, or none where no gradient is asked for.
func (e *evaluation) gradientOf(store *[]float32, rows, columns int) matrix {
	if !e.differentiate {
		return matrix{}
	}
	m := claim(store, rows, columns)
	clear(m.data)
	return m
}

func (e *evaluation) claimMixes() {
	e.first = claim(&e.firstStore, e.touched, e.mixed)
	e.second = claim(&e.secondStore, e.touched, e.mixed)
	if e.mix.PerPair != nil {
		e.lambda = claim(&e.lambdaStore, e.touched, e.mixed)
		return
	}
	e.lambda = claim(&e.lambdaStore, 1, e.mixed)
	for j := range e.lambda.data {
		e.lambda.data[j] = float32(e.mix.Lambda)
	}
}

// hire sizes one scratch per goroutine for rows of n columns.
func (e *evaluation) hire(threads, n int) {
	e.workers = append(e.workers, make([]scratch, max(0, threads-len(e.workers)))...)
	for i := range e.workers {
		sc := &e.workers[i]
		sc.s, sc.c, sc.y = resize(sc.s, n), resize(sc.c, n), resize(sc.y, n)
		sc.counts = [4]int{}
	}
}

// value sums the anchors' shares in layout order, whatever thread computed them.
func (e *evaluation) value() Value {
	var v Value
	for i, x := range e.cleanTerms {
		v.Clean += x
		v.Mixed += e.rowsTerms[i]
	}
	v.Total = v.Clean + e.mix.Weight*v.Mixed
	return v
}
