package metrix

// evaluation is the state of one call of Evaluate: the batch in layout order, the similarities and
// their gradients. Its buffers live on between calls. With R = touched candidates, A = anchors of
// the range and N = candidates:
//
//	g, dg   R x N   similarity of candidates, and dL by it
//	h, dh   A x N   similarity of anchors to candidates; views into g and dg where anchors are
//	                candidates themselves (own = true)
//	first   R x N   lambda / |mix(p, n)|, so that s(a, mix(p, n)) = first h[p] + second h[n]
//	second  R x N   (1 - lambda) / |mix(p, n)|
//	lambda  R x N, or one row for all where lambda is drawn per step
type evaluation struct {
	layout
	form   *Form
	mix    Mix
	own    bool
	lo, hi int // anchors that count; more are laid out where a reduction needs all

	g, dg, h, dh          matrix
	first, second, lambda matrix
	differentiate         bool

	share            float64 // 1 / anchors of the global batch
	cleanBy, mixedBy factors
	clean, mixed     []float64 // by position in layout.anchors

	gStore, dgStore, hStore, dhStore     []float32
	firstStore, secondStore, lambdaStore []float32
	workers                              []scratch
}

// factors are what the two parts of an anchor are multiplied with before tau: what a mean over
// something else than all anchors needs.
type factors struct{ positive, negative float64 }

// scratch is what one goroutine works in: O(N).
type scratch struct {
	s, c      []float64 // similarities of one row of pairs, and dL by them
	y         []float32 // labels of clean pairs; drawn lambdas
	negatives []span
	heap      []hit
	counts    [4]int // positive terms: clean +, clean -, mixed +, mixed -
}

// view is what one anchor sees: its row of similarities, P(a) and N(a).
type view struct {
	h, dh     []float32
	self      int
	positives [2]span
	negatives [2]span
}

// look returns the view of anchors[i], which belongs to g.
func (e *evaluation) look(g group, i int) view {
	v := view{self: e.anchors[i].self, negatives: [2]span{{0, g.lo}, {g.hi, len(e.order)}}}
	row := i
	v.positives = [2]span{{g.lo, g.hi}, {g.hi, g.hi}}
	if e.own {
		row = v.self
		v.positives = [2]span{{g.lo, v.self}, {v.self + 1, g.hi}}
	}
	v.h = e.h.row(row)
	if e.differentiate {
		v.dh = e.dh.row(row)
	}
	return v
}

// evaluateGroup computes the anchors of one class. It writes rows of that class only.
func (e *evaluation) evaluateGroup(sc *scratch, g group) {
	for i := g.a0; i < g.a1; i++ {
		e.clean[i], e.mixed[i] = 0, 0
		if at := e.anchors[i].index; at < e.lo || at >= e.hi {
			continue
		}
		v := e.look(g, i)
		e.clean[i] = e.cleanTerm(sc, v)
		if e.mix.Weight > 0 {
			e.mixed[i] = e.mixedTerm(sc, v)
		}
	}
}

// cleanTerm returns the anchor's share of the clean loss,
//
//	l(a) = tau( sig+( SUM_{p in P(a)} rho+(s(a,p)) ) + sig-( SUM_{n in N(a)} rho-(s(a,n)) ) ),
//
// and adds its gradient to the anchor's row. A positive has label 1, a negative 0.
func (e *evaluation) cleanTerm(sc *scratch, v view) float64 {
	f := e.form
	p := pack(sc.s, v.h, v.positives)
	n := pack(sc.s[len(p):], v.h, v.negatives)
	y := sc.labels(len(p), len(n))
	refPos, pos := f.Positive.clean(p, y, byLabel)
	others, yOthers := n, y[len(p):]
	if f.AllInDenominator {
		others, yOthers = sc.s[:len(p)+len(n)], y
	}
	refNeg, neg := f.Negative.clean(others, yOthers, f.negativeWeight())
	value, cPos, cNeg := e.combine(e.cleanBy, Sum{pos, refPos}, Sum{neg, refNeg})
	if !e.differentiate {
		return value
	}
	c := sc.c[:len(p)+len(n)]
	clear(c)
	f.Positive.addSlope(c, p, y, byLabel, refPos, cPos)
	f.Negative.addSlope(c[len(c)-len(others):], others, yOthers, f.negativeWeight(), refNeg, cNeg)
	unpack(v.dh, c, v.positives)
	unpack(v.dh, c[len(p):], v.negatives)
	return value
}

// clean returns the reference exponent and the sum of a part over similarities that are at hand.
func (p *Part) clean(s []float64, y []float32, w weight) (ref, sum float64) {
	x := nothing()
	x.add(s)
	ref = p.reference(x)
	return ref, p.sum(s, y, w, ref)
}

// combine applies sig+, sig- and tau. It returns the anchor's share of the global mean and the
// derivatives of that share by the two sums' values.
func (e *evaluation) combine(by factors, pos, neg Sum) (value, cPos, cNeg float64) {
	vp, dp := e.form.Positive.Sigma(pos)
	vn, dn := e.form.Negative.Sigma(neg)
	t, dt := e.form.tau(by.positive*vp + by.negative*vn)
	dt *= e.share
	return t * e.share, dt * by.positive * dp, dt * by.negative * dn
}

// labels returns a slice of ones followed by zeros.
func (sc *scratch) labels(ones, zeros int) []float32 {
	y := sc.y[:ones+zeros]
	for i := range ones {
		y[i] = 1
	}
	clear(y[ones:])
	return y
}

// pack copies two runs of a row to the front of dst and returns that part of dst.
func pack(dst []float64, row []float32, spans [2]span) []float64 {
	n := 0
	for _, s := range spans {
		for _, x := range row[s.lo:s.hi] {
			dst[n] = float64(x)
			n++
		}
	}
	return dst[:n]
}

// unpack adds c to two runs of a row.
func unpack(row []float32, c []float64, spans [2]span) {
	n := 0
	for _, s := range spans {
		for j := s.lo; j < s.hi; j++ {
			row[j] += float32(c[n])
			n++
		}
	}
}
