package metrix

// evaluation is the state of one call of Evaluate: the batch in layout order, the similarities and
// their gradients. Its buffers live on between calls. With R = touched candidates, A = anchors of
// the range, N = candidates and M = memory rows, whose columns follow those of the candidates:
//
//	g, dg   R x (N+M)  similarity of candidates, and dL by it
//	h, dh   A x (N+M)  similarity of anchors to candidates; views into g and dg where anchors are
//	                   candidates themselves (own = true)
//	first   R x mixed  lambda / |mix(p, n)|, so that s(a, mix(p, n)) = first h[p] + second h[n];
//	                   mixed columns are N, or N+M where memory rows are mixed too
//	second  R x mixed  (1 - lambda) / |mix(p, n)|
//	lambda  R x mixed, or one row for all where lambda is drawn per step
type evaluation struct {
	layout
	form   *Form
	mix    Mix
	own    bool
	lo, hi int // anchors that count; more are laid out where a reduction needs all

	g, dg, h, dh          matrix
	first, second, lambda matrix
	mixed                 int // columns of candidates that may be mixed
	differentiate         bool

	share                 float64 // 1 / anchors of the global batch
	cleanBy, mixedBy      factors
	cleanTerms, rowsTerms []float64 // by position in layout.anchors
	network               network

	gStore, dgStore, hStore, dhStore     []float32
	firstStore, secondStore, lambdaStore []float32
	workers                              []scratch
}

// factors are what the two parts of an anchor are multiplied with before tau: what a mean over
// something else than all anchors needs. A Listwise has one part, the positive.
type factors struct{ positive, negative float64 }

// scratch is what one goroutine works in: O(N).
type scratch struct {
	s, c        []float64 // similarities of one row of pairs, and dL by them
	y           []float32 // labels of clean pairs; drawn lambdas
	negatives   []span
	seenP       []span // of the view: P(a) and N(a)
	seenN       []span
	heap        []hit
	counts      [4]int // positive terms: clean +, clean -, mixed +, mixed -
	list, slope []float64
	listY       []float32
	between     []float64
	byRow       []float64 // dL by an anchor's row
	used        []int32   // mixed rows
}

// view is what one anchor sees: its row of similarities, P(a) and N(a) as runs of its columns.
type view struct {
	h, dh                []float32
	self                 int
	positives, negatives []span
}

// look returns the view of anchors[i], which belongs to g. It lies in sc until the next call.
func (e *evaluation) look(sc *scratch, g group, i int) view {
	v := view{self: e.anchors[i].self}
	row, n := i, len(e.order)
	p, q := sc.seenP[:0], sc.seenN[:0]
	if e.own {
		row = v.self
		p = addSpan(addSpan(p, g.lo, v.self), v.self+1, g.hi)
	} else {
		p = addSpan(p, g.lo, g.hi)
	}
	q = addSpan(addSpan(q, 0, g.lo), g.hi, n)
	at := n
	for _, r := range e.runs[g.m0:g.m1] {
		q = addSpan(q, at, n+r.lo)
		p = addSpan(p, n+r.lo, n+r.hi)
		at = n + r.hi
	}
	q = addSpan(q, at, n+e.memory)
	sc.seenP, sc.seenN = p, q
	v.positives, v.negatives = p, q
	v.h = e.h.row(row)
	if e.differentiate {
		v.dh = e.dh.row(row)
	}
	return v
}

// addSpan appends [lo, hi) unless it is empty.
func addSpan(s []span, lo, hi int) []span {
	if lo >= hi {
		return s
	}
	return append(s, span{lo, hi})
}

// before returns the runs, in ascending order, that begin before a column. No run crosses it.
func before(s []span, column int) []span {
	for i, r := range s {
		if r.lo >= column {
			return s[:i]
		}
	}
	return s
}

// total returns the number of columns of runs.
func total(s []span) (n int) {
	for _, r := range s {
		n += r.hi - r.lo
	}
	return n
}

// evaluateGroup computes the anchors of one class. It writes rows of that class only.
func (e *evaluation) evaluateGroup(sc *scratch, g group) {
	for i := g.a0; i < g.a1; i++ {
		e.cleanTerms[i], e.rowsTerms[i] = 0, 0
		if at := e.anchors[i].index; at < e.lo || at >= e.hi {
			continue
		}
		v := e.look(sc, g, i)
		if e.form.Listwise != nil {
			e.cleanTerms[i] = e.cleanList(sc, v)
		} else {
			e.cleanTerms[i] = e.cleanTerm(sc, v)
		}
		switch {
		case e.mix.Weight == 0:
		case e.mix.Rows != nil:
			e.rowsTerms[i] = e.networkTerm(sc, g, i)
		case e.form.Listwise != nil:
			e.rowsTerms[i] = e.mixedList(sc, v)
		default:
			e.rowsTerms[i] = e.mixedTerm(sc, v)
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
	kept := e.mine(p, n, y)
	others, yOthers := n, y[len(p):]
	if f.AllInDenominator {
		others, yOthers = sc.s[:len(p)+len(n)], y
		kept[1].join(kept[0])
	}
	pos := f.Positive.clean(p, y, byLabel, kept[0])
	neg := f.Negative.clean(others, yOthers, f.negativeWeight(), kept[1])
	value, cPos, cNeg := e.combine(e.cleanBy, pos, neg)
	if !e.differentiate {
		return value
	}
	c := sc.c[:len(p)+len(n)]
	clear(c)
	if !kept[0].empty() {
		f.Positive.addSlope(c, p, y, byLabel, pos.Log, cPos)
	}
	if !kept[1].empty() {
		f.Negative.addSlope(c[len(c)-len(others):], others, yOthers, f.negativeWeight(), neg.Log, cNeg)
	}
	unpack(v.dh, c, v.positives)
	unpack(v.dh, c[len(p):], v.negatives)
	return value
}

// clean returns the sum of a part over similarities that are at hand. kept is the extent of those
// that weigh something.
func (p *Part) clean(s []float64, y []float32, w weight, kept extent) Sum {
	if kept.empty() {
		return Sum{}
	}
	ref := p.reference(kept)
	return Sum{p.sum(s, y, w, ref), ref}
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

// pack copies runs of a row to the front of dst and returns that part of dst.
func pack(dst []float64, row []float32, spans []span) []float64 {
	n := 0
	for _, s := range spans {
		for _, x := range row[s.lo:s.hi] {
			dst[n] = float64(x)
			n++
		}
	}
	return dst[:n]
}

// unpack adds c to runs of a row.
func unpack(row []float32, c []float64, spans []span) {
	n := 0
	for _, s := range spans {
		for j := s.lo; j < s.hi; j++ {
			row[j] += float32(c[n])
			n++
		}
	}
}
