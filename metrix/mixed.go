package metrix

import "math"

// shortest is the squared length below which a mix of two unit rows has no direction: they are
// opposite to within rounding. Its similarity is 0 with everything and it passes no gradient.
const shortest = 1e-6

// prepareMixes fills first, second and lambda for the rows [g.lo, g.hi):
//
//	s(a, mix(p,n)) = ( lam G[a,p] + (1-lam) G[a,n] ) / sqrt( lam^2 + (1-lam)^2 + 2 lam (1-lam) G[p,n] )
//
// The denominator does not depend on the anchor, so it is computed once per pair of the batch.
func (e *evaluation) prepareMixes(sc *scratch, g group) {
	for p := g.lo; p < g.hi; p++ {
		lambda := e.lambda.row(0)
		if e.mix.PerPair != nil {
			lambda = e.lambda.row(p)
			drawn := sc.y[:len(lambda)]
			e.mix.PerPair(drawn, e.order[p])
			for j, i := range e.order {
				lambda[j] = drawn[i]
			}
			copy(lambda[len(e.order):], drawn[len(e.order):])
		}
		first, second := e.first.row(p), e.second.row(p)
		for j, x := range e.g.row(p)[:len(first)] {
			lam := float64(lambda[j])
			rest := 1 - lam
			squared := lam*lam + rest*rest + 2*lam*rest*float64(x)
			if squared < shortest {
				first[j], second[j] = 0, 0
				continue
			}
			inverse := 1 / math.Sqrt(squared)
			first[j], second[j] = float32(lam*inverse), float32(rest*inverse)
		}
	}
}

// mixes is M(a): the first rows of its pairs, and the negatives each of them is mixed with.
type mixes struct {
	view
	first  []span
	second []span
	anchor bool // the first row is the anchor itself: s(a, a) = 1 and is no variable
}

// pairsOf returns M(a) for the step's pair type: P(a) x N(a) or {a} x N(a).
func (e *evaluation) pairsOf(sc *scratch, v view) mixes {
	m := mixes{view: v, first: before(v.positives, len(e.order)), second: e.mixedNegatives(sc, v)}
	if e.own && e.mix.Pairs == AnchorNegative {
		m.anchor = true
		m.first = []span{{v.self, v.self + 1}}
	}
	return m
}

// mixedTerm returns the anchor's share of the mixed loss, unweighted,
//
//	lm(a) = tau( sig+( SUM_{(v,y)} y rho+(s(a,v)) ) + sig-( SUM_{(v,y)} (1-y) rho-(s(a,v)) ) ),
//
// over the mixes (v, y) of M(a) with their label y = lambda, and adds w times its gradient. It goes
// over the pairs three times, one first row at a time, rather than keep anything per pair: for the
// greatest exponent, for the sums, for the gradient.
func (e *evaluation) mixedTerm(sc *scratch, v view) float64 {
	f, m := e.form, e.pairsOf(sc, v)
	x := nothing()
	e.each(sc, m, func(_ int, _ span, s []float64, _ []float32) { x.add(s) })
	refPos, refNeg := f.Positive.reference(x), f.Negative.reference(x)
	var pos, neg float64
	e.each(sc, m, func(_ int, _ span, s []float64, y []float32) {
		pos += f.Positive.sum(s, y, byLabel, refPos)
		neg += f.Negative.sum(s, y, f.negativeWeight(), refNeg)
	})
	value, cPos, cNeg := e.combine(e.mixedBy, Sum{pos, refPos}, Sum{neg, refNeg})
	if !e.differentiate {
		return value
	}
	cPos, cNeg = cPos*e.mix.Weight, cNeg*e.mix.Weight
	e.each(sc, m, func(p int, n span, s []float64, y []float32) {
		c := sc.c[:len(s)]
		clear(c)
		f.Positive.addSlope(c, s, y, byLabel, refPos, cPos)
		f.Negative.addSlope(c, s, y, f.negativeWeight(), refNeg, cNeg)
		e.backward(m, p, n, c, s)
	})
	return value
}

// each calls visit with the similarities and labels of the mixes of first row p with the run n of
// negatives, for every p and n of M(a).
func (e *evaluation) each(sc *scratch, m mixes, visit func(p int, n span, s []float64, y []float32)) {
	for _, firsts := range m.first {
		for p := firsts.lo; p < firsts.hi; p++ {
			similarity := 1.0
			if !m.anchor {
				similarity = float64(m.h[p])
			}
			lambda := e.lambda.row(min(p, e.lambda.rows-1))
			for _, n := range m.second {
				s := sc.s[:n.hi-n.lo]
				similarities(s, similarity, m.h[n.lo:n.hi], e.first.row(p)[n.lo:n.hi], e.second.row(p)[n.lo:n.hi])
				visit(p, n, s, lambda[n.lo:n.hi])
			}
		}
	}
}

// similarities writes s(a, mix(p, n)) for one p and a run of n.
func similarities(dst []float64, toFirst float64, toSecond, first, second []float32) {
	toSecond, first, second = toSecond[:len(dst)], first[:len(dst)], second[:len(dst)]
	for j := range dst {
		dst[j] = toFirst*float64(first[j]) + float64(toSecond[j])*float64(second[j])
	}
}

// backward takes c = dL/ds of the mixes of p with the run n to the similarities they came from:
//
//	ds/dG[a,p] = first,   ds/dG[a,n] = second,   ds/dG[p,n] = -s first second,
//
// the last because first = lam r, second = (1-lam) r with r = 1/|mix| and dr/dG[p,n] = -lam (1-lam) r^3.
func (e *evaluation) backward(m mixes, p int, n span, c, s []float64) {
	first, second := e.first.row(p)[n.lo:n.hi], e.second.row(p)[n.lo:n.hi]
	toSecond, between := m.dh[n.lo:n.hi], e.dg.row(p)[n.lo:n.hi]
	first, second, toSecond, between, s = first[:len(c)], second[:len(c)], toSecond[:len(c)], between[:len(c)], s[:len(c)]
	var toFirst float64
	for j, x := range c {
		a, b := float64(first[j]), float64(second[j])
		toFirst += x * a
		toSecond[j] += float32(x * b)
		between[j] -= float32(x * s[j] * a * b)
	}
	if !m.anchor {
		m.dh[p] += float32(toFirst)
	}
}
