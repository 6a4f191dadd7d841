package metrix

// reduce sets the factors of the two parts: 1 for the mean over all anchors; anchors/present for a
// mean over the anchors with a positive; anchors/terms for a mean over the terms, or over the strictly
// positive ones.
func (l *Loss) reduce() {
	e := &l.e
	anchors := 1 / e.share
	one := factors{1, 1}
	if l.form.MeanOverPresent {
		one.positive = ratio(anchors, e.present)
	}
	e.cleanBy, e.mixedBy = one, one
	var n [4]int
	switch l.form.Reduction {
	case MeanOverAnchors:
		return
	case MeanOverTerms:
		n = e.countTerms()
	case MeanOverNonZero:
		parallel(l.threads, len(e.groups), func(thread, i int) { e.countGroup(&e.workers[thread], e.groups[i]) })
		for _, sc := range e.workers {
			for i, c := range sc.counts {
				n[i] += c
			}
		}
	}
	e.cleanBy = factors{ratio(anchors, n[0]), ratio(anchors, n[1])}
	e.mixedBy = factors{ratio(anchors, n[2]), ratio(anchors, n[3])}
}

// ratio returns a/n, and 0 for n = 0: there is nothing to average.
func ratio(a float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return a / float64(n)
}

// countTerms counts the terms of all anchors of the batch by their labels.
func (e *evaluation) countTerms() (n [4]int) {
	terms := func(positives, negatives int) (int, int) {
		if e.form.Listwise != nil {
			return e.form.Listwise.Terms(positives, negatives), 0
		}
		return positives, negatives
	}
	own := 0
	if e.own {
		own = 1
	}
	for class, anchors := range e.classes {
		size, remembered := e.size(class), e.remembered[class]
		all := len(e.order) - size // negatives
		p, q := terms(size+remembered-own, all+e.memory-remembered)
		n[0], n[1] = n[0]+anchors*p, n[1]+anchors*q
		if e.mix.Weight == 0 || e.mix.Rows != nil {
			continue
		}
		if e.mix.Memory {
			all += e.memory - remembered
		}
		if e.mix.Hardest > 0 {
			all = min(all, e.mix.Hardest)
		}
		firsts := size - own
		if e.own && e.mix.Pairs == AnchorNegative {
			firsts = 1
		}
		p, q = terms(firsts*all, firsts*all)
		n[2], n[3] = n[2]+anchors*p, n[3]+anchors*q
	}
	if e.mix.Weight > 0 && e.mix.Rows != nil {
		n[2], n[3] = terms(e.network.used, e.network.used)
	}
	return n
}

// countGroup counts the strictly positive terms of all anchors of a class, whatever the range.
func (e *evaluation) countGroup(sc *scratch, g group) {
	f := e.form
	for i := g.a0; i < g.a1; i++ {
		v := e.look(sc, g, i)
		if f.Listwise != nil {
			sc.counts[0] += e.countList(sc, v)
		} else {
			p := pack(sc.s, v.h, v.positives)
			n := pack(sc.s[len(p):], v.h, v.negatives)
			y := sc.labels(len(p), len(n))
			e.mine(p, n, y)
			sc.counts[0] += f.Positive.countPositive(p, y, byLabel)
			sc.counts[1] += f.Negative.countPositive(n, y[len(p):], f.negativeWeight())
		}
		switch {
		case e.mix.Weight == 0:
		case e.mix.Rows != nil:
			_, s, y := e.network.row(e, sc, g, i)
			e.countMixes(sc, s, y)
		case f.Listwise != nil:
			s, y := e.collect(sc, e.pairsOf(sc, v))
			e.countMixes(sc, s, y)
		default:
			e.each(sc, e.pairsOf(sc, v), func(_ int, _ span, s []float64, y []float32) { e.countMixes(sc, s, y) })
		}
	}
}

// countMixes counts the strictly positive terms of mixes.
func (e *evaluation) countMixes(sc *scratch, s []float64, y []float32) {
	if e.form.Listwise != nil {
		_, n := e.form.Listwise.Loss(Neighbors{S: s, Y: y, Positives: -1})
		sc.counts[2] += n
		return
	}
	sc.counts[2] += e.form.Positive.countPositive(s, y, byLabel)
	sc.counts[3] += e.form.Negative.countPositive(s, y, e.form.negativeWeight())
}
