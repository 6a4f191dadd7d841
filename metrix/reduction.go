package metrix

// reduce sets the factors of the two parts: 1 for the mean over all anchors; anchors/present for a
// mean over the anchors with a positive; anchors/terms for a mean over the strictly positive terms.
func (l *Loss) reduce() {
	e := &l.e
	anchors := 1 / e.share
	one := factors{1, 1}
	if l.form.MeanOverPresent {
		one.positive = ratio(anchors, e.present)
	}
	e.cleanBy, e.mixedBy = one, one
	if l.form.Reduction != MeanOverNonZero {
		return
	}
	parallel(l.threads, len(e.groups), func(thread, i int) { e.countGroup(&e.workers[thread], e.groups[i]) })
	var n [4]int
	for _, sc := range e.workers {
		for i, c := range sc.counts {
			n[i] += c
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

// countGroup counts the strictly positive terms of all anchors of a class, whatever the range.
func (e *evaluation) countGroup(sc *scratch, g group) {
	f := e.form
	for i := g.a0; i < g.a1; i++ {
		v := e.look(g, i)
		p := pack(sc.s, v.h, v.positives)
		n := pack(sc.s[len(p):], v.h, v.negatives)
		y := sc.labels(len(p), len(n))
		sc.counts[0] += f.Positive.countPositive(p, y, byLabel)
		sc.counts[1] += f.Negative.countPositive(n, y[len(p):], f.negativeWeight())
		if e.mix.Weight == 0 {
			continue
		}
		e.each(sc, e.pairsOf(sc, v), func(_ int, _ span, s []float64, y []float32) {
			sc.counts[2] += f.Positive.countPositive(s, y, byLabel)
			sc.counts[3] += f.Negative.countPositive(s, y, f.negativeWeight())
		})
	}
}
