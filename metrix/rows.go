package metrix

// rows holds the batch in layout order, with what the products of the backward pass need.
type rows struct {
	candidates, anchors matrix // unit rows; anchors is unused where anchors are candidates
	memory              matrix // the caller's own

	labels                                []int32 // 0..C-1, the proxies' classes
	proxies                               []float32
	candidateStore, anchorStore           []float32
	candidateTransposed, anchorTransposed []float32
	gradientTransposed, result            []float32
	proxyGradient, memoryTransposed       []float32
}

// arrange sorts the batch by class for the range's anchors and copies its rows in that order.
func (l *Loss) arrange(b Batch) {
	e, r := &l.e, &l.rows
	e.own = !l.form.UsesProxies()
	anchorLabels, candidateLabels := b.Labels, b.Labels
	anchorRows, candidateRows := b.Embeddings, b.Embeddings
	if l.form.UsesProxies() {
		r.normalizeProxies(b)
	}
	if l.form.Anchors == Proxy {
		anchorLabels, anchorRows = r.labels, r.proxies
	}
	if l.form.Candidates == Proxy {
		candidateLabels, candidateRows = r.labels, r.proxies
	}
	lo, hi := e.lo, e.hi
	if l.form.Reduction == MeanOverNonZero { // its counts need every anchor
		lo, hi = 0, len(anchorLabels)
	}
	e.build(anchorLabels, candidateLabels, b.MemoryLabels, lo, hi, e.own)
	r.memory = dense(b.Memory, len(b.MemoryLabels), b.Dim)
	e.share = 1 / float64(len(anchorLabels))

	r.candidateStore = resize(r.candidateStore, len(e.order)*b.Dim)
	r.candidates = dense(r.candidateStore, len(e.order), b.Dim)
	for i, from := range e.order {
		copy(r.candidates.row(i), candidateRows[from*b.Dim:])
	}
	if e.own {
		return
	}
	r.anchorStore = resize(r.anchorStore, len(e.anchors)*b.Dim)
	r.anchors = dense(r.anchorStore, len(e.anchors), b.Dim)
	for i, a := range e.anchors {
		copy(r.anchors.row(i), anchorRows[a.index*b.Dim:])
	}
}

// normalizeProxies makes unit rows of the raw proxies and numbers their classes.
func (r *rows) normalizeProxies(b Batch) {
	r.proxies = resize(r.proxies, len(b.Proxies))
	Normalize(r.proxies, b.Proxies, b.Dim)
	r.labels = resize(r.labels, b.Classes())
	for c := range r.labels {
		r.labels[c] = int32(c)
	}
}

// backward takes dL by the similarities to the rows and adds it to grad:
//
//	dX = (dG + dG^T) X + dG_M M + dH^T A,   dA = dH X + dH_M M
//
// where dG_M and dH_M are the columns of the memory rows M, which get no gradient.
func (l *Loss) backward(grad Gradient, b Batch) {
	e, r := &l.e, &l.rows
	if l.form.UsesProxies() {
		r.proxyGradient = resize(r.proxyGradient, len(b.Proxies))
		clear(r.proxyGradient)
	}
	destination := func(kind Kind) []float32 {
		if kind == Proxy {
			return r.proxyGradient
		}
		return grad.Embeddings
	}
	n, dim := len(e.order), b.Dim
	r.candidateTransposed = resize(r.candidateTransposed, n*dim)
	xt := dense(r.candidateTransposed, dim, n)
	transpose(l.threads, xt, r.candidates)

	r.result = resize(r.result, max(n, len(e.anchors))*dim)
	if to := destination(l.form.Candidates); to != nil {
		dx := dense(r.result[:n*dim], n, dim)
		clear(dx.data)
		l.backwardGram(dx, xt)
		l.backwardMemory(dx, e.dg)
		l.backwardAnchors(dx)
		for i, at := range e.order {
			addTo(to[at*dim:], dx.row(i))
		}
	}
	if to := destination(l.form.Anchors); to != nil && !e.own {
		da := dense(r.result[:len(e.anchors)*dim], len(e.anchors), dim)
		clear(da.data)
		multiply(l.threads, da, e.dh.columns(0, n), xt)
		l.backwardMemory(da, e.dh)
		for i, a := range e.anchors {
			addTo(to[a.index*dim:], da.row(i))
		}
	}
	if to := destination(l.form.Anchors); to != nil {
		e.network.backward(to, e.anchors)
	}
	if l.form.UsesProxies() && grad.Proxies != nil {
		NormalizeBackward(grad.Proxies, r.proxyGradient, b.Proxies, dim)
	}
}

// backwardGram adds (dG + dG^T) X, of which only the first R rows of dG are not zero: those rows,
// with their leading square made symmetric, give rows [0, R) of the result; the transpose of the
// rest gives rows [R, N). It overwrites dG.
func (l *Loss) backwardGram(dx, xt matrix) {
	dg := l.e.dg
	if dg.rows == 0 {
		return
	}
	dg = dg.columns(0, dx.rows)
	touched, rest := dg.rows, dx.rows-dg.rows
	l.rows.gradientTransposed = resize(l.rows.gradientTransposed, rest*touched)
	t := dense(l.rows.gradientTransposed, rest, touched)
	transpose(l.threads, t, dg.from(touched))
	symmetrize(dg, touched)
	multiply(l.threads, dx, dg, xt)
	below := matrix{dx.data[touched*dx.stride:], rest, dx.cols, dx.stride}
	multiply(l.threads, below, t, xt.columns(0, touched))
}

// backwardAnchors adds dH^T A.
func (l *Loss) backwardAnchors(dx matrix) {
	e, r := &l.e, &l.rows
	if e.own {
		return
	}
	n, anchors, dim := dx.rows, len(e.anchors), dx.cols
	r.gradientTransposed = resize(r.gradientTransposed, n*anchors)
	t := dense(r.gradientTransposed, n, anchors)
	transpose(l.threads, t, e.dh.columns(0, n))
	r.anchorTransposed = resize(r.anchorTransposed, anchors*dim)
	at := dense(r.anchorTransposed, dim, anchors)
	transpose(l.threads, at, r.anchors)
	multiply(l.threads, dx, t, at)
}

// addTo adds src to the front of dst.
func addTo(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}
