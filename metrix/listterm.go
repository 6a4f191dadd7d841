package metrix

// cleanList returns the anchor's share of the clean loss of a Listwise and adds its gradient.
func (e *evaluation) cleanList(sc *scratch, v view) float64 {
	n := e.neighbors(sc, v)
	scale := e.share * e.cleanBy.positive
	if e.differentiate {
		n.DS = sc.c[:len(n.S)]
		clear(n.DS)
		if e.form.Listwise.Between {
			n.AddBetween = func(p int, ds []float64) {
				for i := range ds {
					ds[i] *= scale
				}
				unpack(e.dg.row(column(v.positives, p)), ds, v.negatives)
			}
		}
	}
	value, _ := e.form.Listwise.Loss(n)
	if e.differentiate {
		for i := range n.DS {
			n.DS[i] *= scale
		}
		unpack(v.dh, n.DS, v.positives)
		unpack(v.dh, n.DS[n.Positives:], v.negatives)
	}
	return scale * value
}

// countList returns the number of strictly positive terms of an anchor.
func (e *evaluation) countList(sc *scratch, v view) int {
	_, n := e.form.Listwise.Loss(e.neighbors(sc, v))
	return n
}

// neighbors packs what an anchor sees, without gradients.
func (e *evaluation) neighbors(sc *scratch, v view) Neighbors {
	p := pack(sc.s, v.h, v.positives)
	q := pack(sc.s[len(p):], v.h, v.negatives)
	n := Neighbors{S: sc.s[:len(p)+len(q)], Y: sc.labels(len(p), len(q)), Positives: len(p)}
	if e.form.Listwise.Between {
		sc.between = resize(sc.between, len(q))
		n.Between = func(p int) []float64 {
			return pack(sc.between, e.g.row(column(v.positives, p)), v.negatives)
		}
	}
	return n
}

// column returns the column of element i of runs.
func column(s []span, i int) int {
	for _, r := range s {
		if n := r.hi - r.lo; i >= n {
			i -= n
			continue
		}
		return r.lo + i
	}
	return -1
}

// mixedList is mixedTerm for a Listwise. It keeps the similarities of all pairs of one anchor,
// O(P N), as every positive of such a loss is weighed against all negatives.
func (e *evaluation) mixedList(sc *scratch, v view) float64 {
	m := e.pairsOf(sc, v)
	s, y := e.collect(sc, m)
	value, slope := e.listOf(sc, s, y)
	if slope == nil {
		return value
	}
	at := 0
	e.each(sc, m, func(p int, n span, s []float64, _ []float32) {
		e.backward(m, p, n, slope[at:at+len(s)], s)
		at += len(s)
	})
	return value
}

// collect returns the similarities and labels of all mixes of an anchor.
func (e *evaluation) collect(sc *scratch, m mixes) (s []float64, y []float32) {
	sc.list, sc.listY = sc.list[:0], sc.listY[:0]
	e.each(sc, m, func(_ int, _ span, s []float64, y []float32) {
		sc.list, sc.listY = append(sc.list, s...), append(sc.listY, y...)
	})
	return sc.list, sc.listY
}

// listOf returns an anchor's share of the mixed loss of a Listwise, unweighted, over mixes, and w
// times its derivative by their similarities where gradients are asked for.
func (e *evaluation) listOf(sc *scratch, s []float64, y []float32) (value float64, slope []float64) {
	n := Neighbors{S: s, Y: y, Positives: -1}
	if e.differentiate {
		sc.slope = resize(sc.slope, len(s))
		n.DS = sc.slope
		clear(n.DS)
	}
	value, _ = e.form.Listwise.Loss(n)
	scale := e.share * e.mixedBy.positive
	for i := range n.DS {
		n.DS[i] *= scale * e.mix.Weight
	}
	return scale * value, n.DS
}
