package metrix

// WorkspaceBytes returns the size of the buffers l keeps between calls. For B examples of
// dimension d without proxies it is at most six B x B float32 matrices and five B x d ones, plus
// O(B) per thread: it does not depend on how many pairs are mixed.
func (l *Loss) WorkspaceBytes() int {
	e, r := &l.e, &l.rows
	floats := 0
	for _, s := range [][]float32{
		e.gStore, e.dgStore, e.hStore, e.dhStore, e.firstStore, e.secondStore, e.lambdaStore,
		r.proxies, r.candidateStore, r.anchorStore, r.candidateTransposed, r.anchorTransposed,
		r.gradientTransposed, r.result, r.proxyGradient,
	} {
		floats += cap(s)
	}
	bytes := 4 * floats
	for i := range e.workers {
		sc := &e.workers[i]
		bytes += 8*(cap(sc.s)+cap(sc.c)) + 4*cap(sc.y) + 16*cap(sc.negatives) + 24*cap(sc.heap)
	}
	bytes += 8*(cap(e.order)+cap(e.place)+cap(e.counts)+cap(e.clean)+cap(e.mixed)) + 4*cap(r.labels)
	return bytes + 16*cap(e.anchors) + 32*cap(e.groups)
}
