package metrix

// WorkspaceBytes returns the size of the buffers l keeps between calls. For B examples of
// dimension d without proxies it is at most six B x B float32 matrices and five B x d ones, plus
// O(B) per thread: it does not depend on how many pairs are mixed (a mixed Listwise keeps P N floats a
// thread).
func (l *Loss) WorkspaceBytes() int {
	e, r := &l.e, &l.rows
	floats := 0
	for _, s := range [][]float32{
		e.gStore, e.dgStore, e.hStore, e.dhStore, e.firstStore, e.secondStore, e.lambdaStore,
		r.proxies, r.candidateStore, r.anchorStore, r.candidateTransposed, r.anchorTransposed,
		r.gradientTransposed, r.result, r.proxyGradient, r.memoryTransposed,
		e.network.byAnchor, l.virtual.embeddings, l.virtual.gradient,
	} {
		floats += cap(s)
	}
	bytes := 4 * floats
	for i := range e.workers {
		sc := &e.workers[i]
		bytes += 8*(cap(sc.s)+cap(sc.c)+cap(sc.list)+cap(sc.slope)+cap(sc.between)+cap(sc.byRow)) + 24*cap(sc.heap)
		bytes += 4*(cap(sc.y)+cap(sc.listY)+cap(sc.used)) + 16*(cap(sc.negatives)+cap(sc.seenP)+cap(sc.seenN))
	}
	bytes += 8*(cap(e.order)+cap(e.place)+cap(e.counts)+cap(e.cleanTerms)+cap(e.rowsTerms)) + 4*cap(r.labels)
	bytes += 8*(cap(e.remembered)+cap(e.classes)+cap(e.network.starts)+cap(l.virtual.starts)) + 4*cap(e.network.order)
	return bytes + 16*(cap(e.anchors)+cap(e.runs)) + 64*cap(e.groups)
}
