package kernels

import "fmt"

// LossFormOf returns the numbers of a form of package metrix, by its name and all of its parameters. It
// reports false for the forms that are no sums over pairs (triplet, nt_xent, supcon, recall_at_k), which
// stay on the host.
func LossFormOf(name string, params map[string]float64) (form LossForm, ok bool) {
	p := func(key string) float32 { return float32(params[key]) }
	exponential := func(slope, shift, scale float32, sigma int32) LossSide {
		return LossSide{Rho: RhoExponential, Sigma: sigma, Slope: slope, Shift: shift, Scale: scale}
	}
	flag := func(key string) int32 {
		if params[key] != 0 {
			return 1
		}
		return 0
	}
	switch name {
	case "contrastive":
		form.Positive = LossSide{Rho: RhoLine + flag("nonzero"), Slope: -1, Shift: p("positive_margin"), Scale: 1}
		form.Negative = LossSide{Rho: RhoHinge, Slope: 1, Shift: p("margin"), Scale: 1}
	case "multi_similarity":
		form.Positive = exponential(-p("beta"), p("margin"), 1/p("beta"), SigmaLogOnePlus)
		form.Negative = exponential(p("gamma"), p("margin"), 1/p("gamma"), SigmaLogOnePlus)
		form.Mine, form.Epsilon = flag("miner"), p("epsilon")
	case "binomial_deviance":
		form.Positive = exponential(-p("beta"), p("margin"), 1, SigmaLogOnePlus)
		form.Negative = exponential(p("gamma"), p("margin"), 1, SigmaLogOnePlus)
	case "lifted_structure":
		form.Positive = exponential(-1, 0, 1, SigmaLog)
		form.Negative = exponential(1, p("margin"), 1, SigmaLog)
		form.Hinge = 1
	case "nca", "proxy_nca":
		form.Positive = exponential(1/p("temperature"), 0, -1, SigmaLog)
		form.Negative = exponential(1/p("temperature"), 0, 1, SigmaLog)
		form.All = flag("all")
	case "proxy_anchor":
		form.Positive = exponential(-p("alpha"), p("delta"), 1, SigmaLogOnePlus)
		form.Negative = exponential(p("alpha"), -p("delta"), 1, SigmaLogOnePlus)
	default:
		return LossForm{}, false
	}
	return form, true
}

// LossPlan is the order in which a batch is compared: candidates sorted by class, the classes of the
// anchors first, so that the positives of an anchor are one range of positions, and only the first
// Touched rows of the Gram matrix are needed. The launches are
//
//	gather_rows          candidates in the order of Order, anchors in that of Index
//	(cuBLAS)             g = the first Touched candidates by all; h likewise, where anchors are others
//	loss_hardest         if only the hardest negatives are mixed
//	loss_terms           and loss_rows_similarities, loss_rows_terms for mixed rows of the network
//	loss_finish
//	loss_anchor_gradient into dh, which is dg where anchors are candidates: rows that are nobody's are 0
//	loss_pair_gradient   into dg: adds there, otherwise writes
//	(cuBLAS)             dX = (dG + dG^T) X, and with others as anchors dX += dH^T A, dA = dH X
//	scatter_add_rows     back to the order of the batch
type LossPlan struct {
	Order   []int32 // position -> candidate
	Touched int     // positions of the anchors' classes
	Index   []int32 // anchor of the launch -> anchor of the batch
	Anchors []LossAnchor
	Ranges  []LossRow // of positions [0, Touched)
	Present int       // anchors of the whole batch that have a positive

	total   int         // anchors of the batch
	own     bool        // anchors are the candidates
	blocks  []lossBlock // a class each
	classes []int32     // of the anchors of the launch
}

// lossBlock counts what a class has in the whole batch.
type lossBlock struct{ anchors, candidates int }

// PlanLoss lays out the anchors [lo, hi). own says that anchors are the candidates themselves. With
// whole, all anchors take part, as a mean over the terms above zero needs, and those outside the range
// are only counted.
func PlanLoss(anchors, candidates []int32, own bool, lo, hi int, whole bool) (*LossPlan, error) {
	if lo < 0 || lo > hi || hi > len(anchors) || own && len(anchors) != len(candidates) {
		return nil, fmt.Errorf("kernels: anchors [%d, %d) of %d with %d candidates cannot be laid out", lo, hi, len(anchors), len(candidates))
	}
	p := &LossPlan{total: len(anchors), own: own}
	from, to := lo, hi
	if whole {
		from, to = 0, len(anchors)
	}
	number, touched := p.count(anchors, candidates, from, to)
	place := p.sort(candidates, number, touched)
	p.list(anchors, number, place, touched, from, to)
	for i := range p.Anchors {
		if at := int(p.Index[i]); at >= lo && at < hi {
			p.Anchors[i].Counted = 1
		}
	}
	return p, nil
}

// count numbers the classes, those of the anchors [from, to) first, and counts their rows.
func (p *LossPlan) count(anchors, candidates []int32, from, to int) (number map[int32]int, touched int) {
	number = map[int32]int{}
	classify := func(class int32) int {
		n, ok := number[class]
		if !ok {
			n = len(number)
			number[class] = n
			p.blocks = append(p.blocks, lossBlock{})
		}
		return n
	}
	for _, class := range anchors[from:to] {
		classify(class)
	}
	touched = len(number)
	for _, class := range candidates {
		p.blocks[classify(class)].candidates++
	}
	for _, class := range anchors {
		if n, ok := number[class]; ok {
			p.blocks[n].anchors++
		}
	}
	for _, b := range p.blocks {
		if b.candidates > p.self() {
			p.Present += b.anchors
		}
	}
	return number, touched
}

// self is how many of its class's candidates an anchor is itself.
func (p *LossPlan) self() int {
	if p.own {
		return 1
	}
	return 0
}

// sort orders the candidates by class number, stable, and returns their places.
func (p *LossPlan) sort(candidates []int32, number map[int32]int, touched int) (place []int32) {
	next := make([]int32, len(p.blocks)+1)
	for n, b := range p.blocks {
		next[n+1] = next[n] + int32(b.candidates)
	}
	p.Touched = int(next[touched])
	p.Order, place = make([]int32, len(candidates)), make([]int32, len(candidates))
	for i, class := range candidates {
		n := number[class]
		p.Order[next[n]], place[i] = int32(i), next[n]
		next[n]++
	}
	return place
}

// list lists the anchors [from, to) by class.
func (p *LossPlan) list(anchors []int32, number map[int32]int, place []int32, touched, from, to int) {
	members := make([][]int32, touched)
	for i := from; i < to; i++ {
		n := number[anchors[i]]
		members[n] = append(members[n], int32(i))
	}
	lo := int32(0)
	for n, list := range members {
		hi := lo + int32(p.blocks[n].candidates)
		a0 := int32(len(p.Anchors))
		for _, i := range list {
			a := LossAnchor{Row: int32(len(p.Anchors)), Self: -1, Lo: lo, Hi: hi, ID: i}
			if p.own {
				a.Row, a.Self = place[i], place[i]
			}
			p.Anchors, p.Index, p.classes = append(p.Anchors, a), append(p.Index, i), append(p.classes, anchors[i])
		}
		for range hi - lo {
			p.Ranges = append(p.Ranges, LossRow{a0, a0 + int32(len(list))})
		}
		lo = hi
	}
}

// LossTerms counts the terms of all anchors of the batch: clean positive and negative, mixed positive and
// negative, where mixes are made of pairs (kind) with the hardest negatives, 0 for all.
func (p *LossPlan) LossTerms(kind int32, hardest int) (n [4]int) {
	for _, b := range p.blocks {
		negatives := len(p.Order) - b.candidates
		n[0] += b.anchors * (b.candidates - p.self())
		n[1] += b.anchors * negatives
		if kind == MixNothing {
			continue
		}
		if hardest > 0 {
			negatives = min(negatives, hardest)
		}
		firsts := b.candidates - p.self()
		if kind == MixAnchorNegative {
			firsts = 1
		}
		n[2] += b.anchors * firsts * negatives
	}
	n[3] = n[2]
	return n
}

// Reduction returns what the parts are multiplied with for the mean over anchors, the positive parts over
// the anchors present in the batch where overPresent is set (proxy anchor).
func (p *LossPlan) Reduction(overPresent bool) LossReduction {
	r := LossReduction{Share: 1 / float64(p.total), Factor: [4]float64{1, 1, 1, 1}}
	if overPresent {
		r.Factor[0] = ratio(p.total, p.Present)
		r.Factor[2] = r.Factor[0]
	}
	return r
}

// ReductionOver returns what they are multiplied with for a mean over n terms of each part.
func (p *LossPlan) ReductionOver(n [4]int) LossReduction {
	r := p.Reduction(false)
	for k := range n {
		r.Factor[k] = ratio(p.total, n[k])
	}
	return r
}

func ratio(a, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(a) / float64(n)
}

// RowsPlan is the order of mixed rows that went through the network.
type RowsPlan struct {
	Order  []int32 // place -> mixed row
	First  []int32 // by place: the batch row of its first partner
	Lambda []float32
	Ranges []LossRow // by place: the anchors of its class
	Slots  int       // similarities of all anchors to the rows of their classes
	Used   int       // pairs of an anchor of the launch and a row it uses
}

// PlanRows sorts mixed rows (first[v], second[v], lambda[v]), batch rows with the given labels, by the
// class of the first, and notes in the plan's anchors what they use. Rows whose partners share a class mix
// nothing of use and are left out, like those of classes without anchors in the launch. proxies says that
// anchors are proxies, so that none is the first partner itself.
func (p *LossPlan) PlanRows(labels, first, second []int32, lambda []float32, kind int32, proxies bool) *RowsPlan {
	ofClass := map[int32][]int32{}
	for v := range first {
		if class := labels[first[v]]; class != labels[second[v]] {
			ofClass[class] = append(ofClass[class], int32(v))
		}
	}
	r := &RowsPlan{}
	for a0, a1 := 0, 0; a0 < len(p.Anchors); a0 = a1 {
		for a1 = a0; a1 < len(p.Anchors) && p.classes[a1] == p.classes[a0]; {
			a1++
		}
		rows, r0 := ofClass[p.classes[a0]], int32(len(r.Order))
		for _, v := range rows {
			r.Order, r.First, r.Lambda = append(r.Order, v), append(r.First, first[v]), append(r.Lambda, lambda[v])
			r.Ranges = append(r.Ranges, LossRow{int32(a0), int32(a1)})
		}
		for i := a0; i < a1; i++ {
			a := &p.Anchors[i]
			if proxies {
				a.ID = -1
			}
			a.R0, a.R1, a.Slot = r0, r0+int32(len(rows)), int32(r.Slots)
			r.Slots += len(rows)
			r.Used += uses(*a, first, rows, kind)
		}
	}
	return r
}

// uses counts the rows an anchor uses.
func uses(a LossAnchor, first, rows []int32, kind int32) (n int) {
	for _, v := range rows {
		if (first[v] == a.ID) == (kind == MixAnchorNegative) {
			n++
		}
	}
	return n
}
