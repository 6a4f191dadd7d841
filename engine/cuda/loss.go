//go:build gpu

package cuda

import (
	"encoding/binary"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
)

// A share of the loss is a list of commands like a program's: the launches that kernels.LossPlan lists,
// on the slab, reading the rows of the step (ofBatch) and the tables of the share (ofTables). It is made
// anew for every share, since its sizes follow from the labels.

// lossKind is a loss in the numbers of the kernels.
type lossKind struct {
	engine.Loss
	form kernels.LossForm
	own  bool // anchors are the candidates
}

// newLossKind refuses losses that the kernels do not have.
func newLossKind(l engine.Loss) (lossKind, error) {
	k := lossKind{Loss: l, own: !l.ProxyAnchors && !l.ProxyCandidates}
	var ok bool
	if k.form, ok = kernels.LossFormOf(l.Form, l.Params); !ok {
		return k, fmt.Errorf("cuda: loss form %s is not computed on the card", l.Form)
	}
	switch l.Reduction {
	case "paper", "mean", "nonzero":
	default:
		return k, fmt.Errorf("cuda: loss form %s reduced by %q is not computed on the card", l.Form, l.Reduction)
	}
	return k, nil
}

// unitEps makes the kernels that normalise rows leave rows of zeros alone and touch no other.
const unitEps = float32(1e-30)

// lossBatch is the batch of a step and where its rows lie.
type lossBatch struct {
	engine.Batch
	classes                         int // proxies
	rows, raw, unit, lengths, mixed place
	bytes                           int64
	candidates, anchors             place // unit rows
	candidateLabels, anchorLabels   []int32
	kind, pairs                     kernels.LossMix // what is mixed, and of it what embeddings are

}

// newLossBatch checks sizes and indices, without which the card would read elsewhere.
func newLossBatch(k lossKind, b engine.Batch) (*lossBatch, error) {
	l := &lossBatch{Batch: b}
	size := len(b.Labels)
	switch {
	case b.Dim < 1 || size < 1 || len(b.Rows) != size*b.Dim:
		return nil, fmt.Errorf("cuda: loss: %d labels of dimension %d do not fit %d floats", size, b.Dim, len(b.Rows))
	case !k.own && (len(b.Proxies) == 0 || len(b.Proxies)%b.Dim != 0):
		return nil, fmt.Errorf("cuda: loss: %d floats are no proxies of dimension %d", len(b.Proxies), b.Dim)
	}
	if !k.own {
		l.classes = len(b.Proxies) / b.Dim
	}
	if err := l.checkMixed(); err != nil {
		return nil, err
	}
	l.arrange()
	l.choose(k)
	return l, nil
}

func (l *lossBatch) checkMixed() error {
	m := l.Mix.Rows
	if m == nil || l.Mix.Weight == 0 {
		return nil
	}
	n := len(m.First)
	if len(m.Second) != n || len(m.Lambda) != n || len(m.Rows) != n*l.Dim {
		return fmt.Errorf("cuda: loss: %d first and %d second rows, %d lambdas and %d floats do not make mixed rows of dimension %d",
			n, len(m.Second), len(m.Lambda), len(m.Rows), l.Dim)
	}
	for v := range n {
		if i, j := int(m.First[v]), int(m.Second[v]); min(i, j) < 0 || max(i, j) >= len(l.Labels) {
			return fmt.Errorf("cuda: loss: mixed row %d is of rows %d and %d, which are not both among the %d of the batch", v, i, j, len(l.Labels))
		}
	}
	return nil
}

// arrange gives the rows their places.
func (l *lossBatch) arrange() {
	take := func(floats int) place {
		p := place{space: ofBatch, at: l.bytes}
		l.bytes += aligned(4 * int64(floats))
		return p
	}
	l.rows = take(len(l.Rows))
	if l.classes > 0 {
		l.raw, l.unit, l.lengths = take(len(l.Proxies)), take(len(l.Proxies)), take(l.classes)
	}
	if l.mixesRows() {
		l.mixed = take(len(l.Mix.Rows.Rows))
	}
}

func (l *lossBatch) mixesRows() bool { return l.Mix.Weight > 0 && l.Mix.Rows != nil }

// choose says what is compared with what, and what is mixed.
func (l *lossBatch) choose(k lossKind) {
	l.candidates, l.candidateLabels, l.anchors, l.anchorLabels = l.rows, l.Labels, l.rows, l.Labels
	numbers := make([]int32, l.classes)
	for i := range numbers {
		numbers[i] = int32(i)
	}
	if k.ProxyCandidates {
		l.candidates, l.candidateLabels = l.unit, numbers
	}
	if k.ProxyAnchors {
		l.anchors, l.anchorLabels = l.unit, numbers
	}
	l.kind = kernels.LossMix{Weight: float32(l.Mix.Weight), Lambda: float32(l.Mix.Lambda)}
	if l.Mix.Weight > 0 {
		l.kind.Kind = kernels.MixPositiveNegative
		if k.own && l.Mix.AnchorNegative {
			l.kind.Kind = kernels.MixAnchorNegative
		}
	}
	l.pairs = l.kind
	if l.mixesRows() {
		l.pairs.Kind = kernels.MixNothing
	}
}

// prepare are the commands of a step before its shares.
func (l *lossBatch) prepare() []command {
	b := &builder{}
	if l.classes > 0 {
		b.call("l2norm", kernels.Warps(l.classes), l.unit, l.lengths, l.raw, int32(l.classes), int32(l.Dim), unitEps)
	}
	return b.commands
}

// share is the loss of a range of anchors: commands, and where what they leave lies on the slab.
type share struct {
	*builder
	kind  lossKind
	batch *lossBatch
	plan  *kernels.LossPlan
	rows  *kernels.RowsPlan // nil unless mixed rows went through the network

	columns, count int // candidates, anchors of the launch
	tables         []byte
	lambdas        int64 // where the lambdas of pairs are to be filled in among the tables, or -1
	bytes          int64 // of the slab

	anchors, lambdaTable, order, index place
	x, a, h, g, dh, dg, dx, da         *buffer // as kernels.LossPlan has them
	keep, terms, slopes                *buffer
	v, s                               *buffer // mixed rows, similarities to them
	rowOrder, rowFirst, rowLambda      place

	value, byRows, byProxies, byMixed *buffer // results: clean, mixed, total in double precision; gradients
}

// newShare lays out the anchors [lo, hi).
func newShare(k lossKind, l *lossBatch, lo, hi int) (*share, error) {
	everybody := k.Reduction == "nonzero" || k.Reduction == "mean" && l.mixesRows()
	plan, err := kernels.PlanLoss(l.anchorLabels, l.candidateLabels, k.own, lo, hi, everybody)
	if err != nil {
		return nil, err
	}
	s := &share{builder: &builder{}, kind: k, batch: l, plan: plan, columns: len(plan.Order), lambdas: -1}
	if l.mixesRows() {
		m := l.Mix.Rows
		s.rows = plan.PlanRows(l.Labels, m.First, m.Second, m.Lambda, l.kind.Kind, k.ProxyAnchors)
	}
	s.count = len(plan.Anchors)
	s.tabulate()
	s.compare()
	s.sum()
	s.differentiate()
	s.give()
	s.bytes = arrange(s.slab)
	return s, nil
}

// table appends to the tables and returns the place.
func (s *share) table(x any) place {
	p := place{space: ofTables, at: int64(len(s.tables))}
	text, err := binary.Append(s.tables, binary.LittleEndian, x)
	if err != nil {
		panic("cuda: a table of the loss has no fixed size")
	}
	s.tables = append(text, make([]byte, aligned(int64(len(text)))-int64(len(text)))...)
	return p
}

func (s *share) tabulate() {
	s.anchors, s.order, s.index = s.table(s.plan.Anchors), s.table(s.plan.Order), s.table(s.plan.Index)
	if s.rows != nil {
		s.rowOrder, s.rowFirst, s.rowLambda = s.table(s.rows.Order), s.table(s.rows.First), s.table(s.rows.Lambda)
	}
	if s.mixesPairs() && s.batch.Mix.PerPair != nil {
		s.lambdaTable = s.table(make([]float32, s.plan.Touched*s.columns))
		s.lambdas = s.lambdaTable.at
	}
}

// mixesPairs says whether embeddings are mixed, and not in vain: proxies may have nobody in the batch.
func (s *share) mixesPairs() bool {
	return s.batch.pairs.Kind != kernels.MixNothing && s.plan.Touched > 0
}

// room is memory for n elements of so many bytes.
func (s *share) room(n int, bytes int64) *buffer { return s.temporary(bytes * int64(n)) }

// gather copies rows in the order of a table.
func (s *share) gather(from, order place, n int) *buffer {
	to, d := s.room(n*s.batch.Dim, 4), s.batch.Dim
	s.call("gather_rows", kernels.Each(int64(n)*int64(d)), to, from, order, int32(n), int32(d))
	return to
}

// multiply emits c = op(a) op(b) (+ c), row-major: cuBLAS computes the transposed product.
func (s *share) multiply(p product, a, b, c *buffer) *buffer {
	p.a, p.b, p.c, p.layer = at(a), at(b), at(c), "loss"
	s.emit(command{product: &p}, p.a, p.b, p.c)
	return c
}

// similarities is rows x^T, of n rows.
func (s *share) similarities(rows *buffer, n int) *buffer {
	d := s.batch.Dim
	return s.multiply(product{transposeA: true, m: s.columns, n: n, k: d, lda: d, ldb: d, ldc: s.columns}, s.x, rows, s.room(n*s.columns, 4))
}

// byColumns is w^T rows, of n rows: what the columns of w say of the candidates.
func (s *share) byColumns(w, rows *buffer, n int, to *buffer, add bool) {
	d := s.batch.Dim
	s.multiply(product{transposeB: true, m: d, n: s.columns, k: n, lda: d, ldb: s.columns, ldc: d, add: add}, rows, w, to)
}

// byLines is w x: what the n rows of w say of theirs.
func (s *share) byLines(w *buffer, n int, to *buffer, add bool) {
	d := s.batch.Dim
	s.multiply(product{m: d, n: n, k: s.columns, lda: d, ldb: s.columns, ldc: d, add: add}, s.x, w, to)
}

// compare makes the similarities and chooses the negatives that are mixed.
func (s *share) compare() {
	s.x = s.gather(s.batch.candidates, s.order, s.columns)
	if s.kind.own || s.mixesPairs() {
		s.g = s.similarities(s.x, s.plan.Touched)
	}
	s.h = s.g
	if !s.kind.own {
		s.a = s.gather(s.batch.anchors, s.index, s.count)
		s.h = s.similarities(s.a, s.count)
	}
	if k := s.batch.Mix.Hardest; k > 0 && s.mixesPairs() {
		s.keep = s.room(s.count*s.columns, 1)
		s.call("loss_hardest", kernels.Blocks(s.count), s.keep, s.h, s.anchors, s.order, int32(s.columns), int32(k))
	}
}

// sum computes the parts of the loss and its derivatives by them.
func (s *share) sum() {
	k, l, blocks := s.kind, s.batch, kernels.Blocks(s.count)
	s.terms = s.room(s.count, int64(binary.Size(kernels.LossTerm{})))
	s.slopes = s.room(s.count, int64(binary.Size(kernels.LossSlope{})))
	s.value = s.room(3, 8)
	s.call("loss_terms", blocks, s.terms, s.h, s.g, s.anchors, s.lambdaTable, s.keep, int32(s.columns), k.form, l.pairs)
	if s.someRows() {
		s.v, s.s = s.gather(l.mixed, s.rowOrder, len(s.rows.Order)), s.room(s.rows.Slots, 4)
		s.call("loss_rows_similarities", blocks, s.s, s.anchorRows(), s.v, s.anchors, int32(l.Dim))
		s.call("loss_rows_terms", blocks, s.terms, s.s, s.anchors, s.rowFirst, s.rowLambda, k.form, l.kind)
	}
	s.call("loss_finish", kernels.Blocks(1), s.slopes, s.value, s.terms, s.anchors, int32(s.count), k.form, l.kind, s.reduction())
}

// someRows says whether any mixed row is of a class of the anchors.
func (s *share) someRows() bool { return s.rows != nil && len(s.rows.Order) > 0 }

// anchorRows is the rows that LossAnchor.Row counts.
func (s *share) anchorRows() *buffer {
	if s.kind.own {
		return s.x
	}
	return s.a
}

func (s *share) reduction() kernels.LossReduction {
	r := s.plan.Reduction(s.kind.OverPresent)
	switch s.kind.Reduction {
	case "nonzero":
		r.NonZero = 1
	case "mean":
		n := s.plan.LossTerms(s.batch.pairs.Kind, s.batch.Mix.Hardest)
		if s.rows != nil {
			n[2], n[3] = s.rows.Used, s.rows.Used
		}
		r = s.plan.ReductionOver(n)
	}
	return r
}

// differentiate takes the derivatives to the similarities, and from there to rows in the plan's order.
func (s *share) differentiate() {
	k, l, columns := s.kind, s.batch, int32(s.columns)
	if k.own {
		s.dg = s.zeros(s.plan.Touched * s.columns) // rows that are nobody's stay so
		s.dh = s.dg
	} else {
		s.dh = s.room(s.count*s.columns, 4)
	}
	s.call("loss_anchor_gradient", kernels.Blocks(s.count), s.dh, s.h, s.g, s.anchors, s.terms, s.slopes, s.lambdaTable, s.keep, columns, k.form, l.pairs)
	if s.mixesPairs() {
		if !k.own {
			s.dg = s.room(s.plan.Touched*s.columns, 4)
		}
		s.call("loss_pair_gradient", kernels.Blocks(s.plan.Touched), s.dg, s.h, s.g, s.anchors, s.table(s.plan.Ranges), s.terms, s.slopes,
			s.lambdaTable, s.keep, columns, flag(k.own), k.form, l.pairs)
	}
	s.dx = s.room(s.columns*l.Dim, 4)
	if s.dg != nil {
		s.byColumns(s.dg, s.x, s.plan.Touched, s.dx, false)
		s.byLines(s.dg, s.plan.Touched, s.dx, true)
	}
	if !k.own {
		s.byColumns(s.dh, s.a, s.count, s.dx, s.dg != nil)
		s.da = s.room(s.count*l.Dim, 4)
		s.byLines(s.dh, s.count, s.da, false)
	}
}

// zeros is room for floats that are zero.
func (s *share) zeros(n int) *buffer {
	b := s.room(n, 4)
	s.call("fill_f32", kernels.Each(int64(n)), b, float32(0), int64(n))
	return b
}

// give takes the gradients back to the order of the batch.
func (s *share) give() {
	k, l := s.kind, s.batch
	s.giveMixed()
	s.byRows = s.zeros(len(l.Rows))
	if l.classes > 0 {
		s.byProxies = s.zeros(len(l.Proxies))
	}
	ofCandidates, ofAnchors := s.byRows, s.byProxies
	if k.ProxyCandidates {
		ofCandidates, ofAnchors = s.byProxies, s.byRows
	}
	s.scatter(ofCandidates, s.dx, s.order, s.columns)
	if !k.own {
		s.scatter(ofAnchors, s.da, s.index, s.count)
		s.call("l2norm_backward", kernels.Warps(l.classes), s.byProxies, s.byProxies, l.unit, l.lengths, int32(l.classes), int32(l.Dim), unitEps)
	}
	for _, b := range []*buffer{s.value, s.byRows, s.byProxies, s.byMixed} {
		b.use(s.now()) // until they have been carried home
	}
}

// giveMixed adds what the mixed rows say of the anchors, and gives the gradient by the mixed rows.
func (s *share) giveMixed() {
	if s.rows == nil {
		return
	}
	l, d := s.batch, int32(s.batch.Dim)
	s.byMixed = s.zeros(len(l.Mix.Rows.Rows))
	if !s.someRows() {
		return
	}
	blocks, to := kernels.Blocks(s.count), s.dx
	if !s.kind.own {
		to = s.da
	}
	s.call("loss_rows_slopes", blocks, s.s, s.anchors, s.terms, s.slopes, s.rowFirst, s.rowLambda, s.kind.form, l.kind)
	s.call("loss_rows_anchor_gradient", blocks, to, s.s, s.v, s.anchors, d)
	dv := s.room(len(s.rows.Order)*l.Dim, 4)
	s.call("loss_rows_mixed_gradient", kernels.Blocks(len(s.rows.Order)), dv, s.s, s.anchorRows(), s.anchors, s.table(s.rows.Ranges), d)
	s.scatter(s.byMixed, dv, s.rowOrder, len(s.rows.Order))
}

// scatter adds n rows to those that a table says.
func (s *share) scatter(to, from *buffer, index place, n int) {
	s.call("scatter_add_rows", kernels.Each(int64(n)*int64(s.batch.Dim)), to, from, index, int32(n), int32(s.batch.Dim))
}
