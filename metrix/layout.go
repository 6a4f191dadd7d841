package metrix

// span is a run of candidate positions [lo, hi).
type span struct{ lo, hi int }

// anchor is one anchor of the range under evaluation.
type anchor struct {
	index int // among all anchors of the global batch
	self  int // its own position among the candidates, or -1
}

// group is a class: its candidates are the positions [lo, hi), its anchors anchors[a0:a1], its
// memory rows runs[m0:m1], and the mixed rows its anchors may use network.order[r0:r1].
type group struct {
	lo, hi int
	a0, a1 int
	m0, m1 int
	r0, r1 int
}

// layout is the order in which a batch is evaluated: candidates sorted by class, the classes of
// the range's anchors first. P(a) is then one run of positions and N(a) what lies on both sides of
// it; the rows whose similarities are needed are the first `touched`; and everything a group
// writes lies in rows that no other group writes, so groups run in parallel without locks.
type layout struct {
	order   []int // position -> candidate index
	anchors []anchor
	groups  []group // the classes of the range's anchors
	touched int     // positions of those classes
	present int     // anchors of the whole batch that have a positive

	memory     int    // memory rows: they keep their order, behind the candidates
	runs       []span // memory rows of the groups, group by group, as runs
	remembered []int  // memory rows by class number
	classes    []int  // anchors of the whole batch by class number

	number map[int32]int // class -> group, touched groups first
	counts []int
	place  []int // candidate index -> position
}

// build sorts candidates for the anchors [lo, hi). same says that anchors are the candidates.
func (l *layout) build(anchors, candidates, memory []int32, lo, hi int, same bool) {
	if l.number == nil {
		l.number = map[int32]int{}
	}
	clear(l.number)
	l.groups, l.counts = l.groups[:0], l.counts[:0]
	classify := func(class int32) {
		if _, ok := l.number[class]; !ok {
			l.number[class] = len(l.counts)
			l.counts = append(l.counts, 0)
		}
	}
	for _, class := range anchors[lo:hi] {
		classify(class)
	}
	touchedGroups := len(l.counts)
	for _, class := range candidates {
		classify(class)
		l.counts[l.number[class]]++
	}
	for _, class := range memory {
		classify(class)
	}
	l.sortCandidates(candidates, touchedGroups)
	l.sortMemory(memory)
	l.sortAnchors(anchors, lo, hi, same)
	own := 0
	if same {
		own = 1
	}
	l.present = 0
	l.classes = resize(l.classes, len(l.counts))
	clear(l.classes)
	for _, class := range anchors {
		n, ok := l.number[class]
		if !ok {
			continue // a proxy without rows
		}
		l.classes[n]++
		if l.size(n)+l.remembered[n] > own {
			l.present++
		}
	}
}

// size returns the number of candidates of class number n; counts holds ends after sorting.
func (l *layout) size(n int) int {
	if n == 0 {
		return l.counts[0]
	}
	return l.counts[n] - l.counts[n-1]
}

// sortCandidates is a counting sort by class number, stable in the batch's order.
func (l *layout) sortCandidates(candidates []int32, touchedGroups int) {
	l.order = resize(l.order, len(candidates))
	l.place = resize(l.place, len(candidates))
	start := 0
	for n, c := range l.counts {
		l.counts[n] = start // becomes the end as rows are placed
		start += c
	}
	for i, class := range candidates {
		n := l.number[class]
		l.order[l.counts[n]], l.place[i] = i, l.counts[n]
		l.counts[n]++
	}
	lo := 0
	for n := range touchedGroups {
		l.groups = append(l.groups, group{lo: lo, hi: l.counts[n]})
		lo = l.counts[n]
	}
	l.touched = lo
}

// sortMemory counts the memory rows of every class and lists those of the groups as runs. A run per
// memory row is the worst case.
func (l *layout) sortMemory(memory []int32) {
	l.memory = len(memory)
	l.remembered = resize(l.remembered, len(l.counts))
	clear(l.remembered)
	l.runs = l.runs[:0]
	for _, class := range memory {
		l.remembered[l.number[class]]++
	}
	at := 0
	for n := range l.groups { // room for a run per row
		l.groups[n].m0, l.groups[n].m1 = at, at
		at += l.remembered[n]
	}
	l.runs = resize(l.runs, at)
	for i, class := range memory {
		n := l.number[class]
		if n >= len(l.groups) {
			continue
		}
		g := &l.groups[n]
		if g.m1 > g.m0 && l.runs[g.m1-1].hi == i {
			l.runs[g.m1-1].hi++
			continue
		}
		l.runs[g.m1] = span{i, i + 1}
		g.m1++
	}
}

// sortAnchors lists the range's anchors by group.
func (l *layout) sortAnchors(anchors []int32, lo, hi int, same bool) {
	for _, class := range anchors[lo:hi] {
		l.groups[l.number[class]].a1++
	}
	start := 0
	for g := range l.groups {
		n := l.groups[g].a1
		l.groups[g].a0, l.groups[g].a1 = start, start
		start += n
	}
	l.anchors = resize(l.anchors, start)
	for i := lo; i < hi; i++ {
		a := anchor{index: i, self: -1}
		if same {
			a.self = l.place[i]
		}
		g := &l.groups[l.number[anchors[i]]]
		l.anchors[g.a1] = a
		g.a1++
	}
}

// resize returns s with length n, reallocated only where its capacity is too small. The contents
// are unspecified.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
