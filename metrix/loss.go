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
	e := &l.e
	e.form, e.mix, e.lo, e.hi = &l.form, mix, lo, hi
	e.differentiate = grad.Embeddings != nil || grad.Proxies != nil
	l.arrange(b)
	l.compare()
	l.reduce()
	parallel(l.threads, len(e.groups), func(thread, i int) { e.evaluateGroup(&e.workers[thread], e.groups[i]) })
	if e.differentiate {
		l.backward(grad, b)
	}
	return e.value(), nil
}

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
	return nil
}

// compare computes the similarities and, where mixing, what every pair needs.
func (l *Loss) compare() {
	e, r := &l.e, &l.rows
	n, mixing := len(e.order), e.mix.Weight > 0
	e.g, e.dg = matrix{}, matrix{}
	if e.own || mixing {
		e.g = e.claim(&e.gStore, e.touched)
		gram(l.threads, e.g, r.candidates)
		e.dg = e.gradientOf(&e.dgStore, e.touched)
	}
	e.h, e.dh = e.g, e.dg
	if !e.own {
		e.h = e.claim(&e.hStore, len(e.anchors))
		clear(e.h.data)
		multiply(l.threads, e.h, r.anchors, r.candidates)
		e.dh = e.gradientOf(&e.dhStore, len(e.anchors))
	}
	e.clean, e.mixed = resize(e.clean, len(e.anchors)), resize(e.mixed, len(e.anchors))
	e.hire(l.threads, n)
	if mixing {
		e.claimMixes()
		parallel(l.threads, len(e.groups), func(thread, i int) { e.prepareMixes(&e.workers[thread], e.groups[i]) })
	}
}

// claim returns a matrix of rows x candidates in a buffer that is kept.
func (e *evaluation) claim(store *[]float32, rows int) matrix {
	*store = resize(*store, rows*len(e.order))
	return dense(*store, rows, len(e.order))
}

// gradientOf returns a zero matrix like claim, or none where no gradient is asked for.
func (e *evaluation) gradientOf(store *[]float32, rows int) matrix {
	if !e.differentiate {
		return matrix{}
	}
	m := e.claim(store, rows)
	clear(m.data)
	return m
}

func (e *evaluation) claimMixes() {
	e.first = e.claim(&e.firstStore, e.touched)
	e.second = e.claim(&e.secondStore, e.touched)
	if e.mix.PerPair != nil {
		e.lambda = e.claim(&e.lambdaStore, e.touched)
		return
	}
	e.lambda = e.claim(&e.lambdaStore, 1)
	for j := range e.lambda.data {
		e.lambda.data[j] = float32(e.mix.Lambda)
	}
}

// hire sizes one scratch per goroutine for rows of n candidates.
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
	for i, x := range e.clean {
		v.Clean += x
		v.Mixed += e.mixed[i]
	}
	v.Total = v.Clean + e.mix.Weight*v.Mixed
	return v
}
