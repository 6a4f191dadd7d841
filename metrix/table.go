package metrix

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// row is a named form with its parameters, in the order of the table, and the reductions that it
// has a meaning for, its own first.
type row struct {
	name       string
	params     []param
	reductions []Reduction
	build      func(p map[string]float64) Form
}

// param is one constant of a form: its default and the range [min, max] it must lie in.
type param struct {
	name            string
	value, min, max float64
}

// tiny is the least slope or temperature: below it a float32 similarity carries no information.
const tiny = 1e-6

func positive(name string, value float64) param { return param{name, value, tiny, 1e6} }
func shift(name string, value float64) param    { return param{name, value, -10, 10} }
func flag(name string) param                    { return param{name, 0, 0, 1} }

func reductions(r ...Reduction) []Reduction { return r }

// table lists the rows of the paper's table of losses (Table 1 of arXiv 2106.04990). Constants are
// the published ones for contrastive, multi-similarity and proxy anchor; the paper names none for
// the others, so their defaults are those of the papers that proposed them, or 1. The last four are
// not of the paper's form (Listwise); their defaults are those of pytorch-metric-learning, and of
// the recall@k surrogate's paper.
func table() []row {
	paper := reductions(MeanOverAnchors)
	return []row{
		{"contrastive", []param{shift("margin", 0.5), shift("positive_margin", 0), flag("nonzero")},
			reductions(MeanOverAnchors, MeanOverNonZero, MeanOverTerms), contrastive},
		{"multi_similarity", []param{positive("beta", 18), positive("gamma", 75), shift("margin", 0.77), flag("miner"), shift("epsilon", 0.1)},
			paper, multiSimilarity},
		{"binomial_deviance", []param{positive("beta", 2), positive("gamma", 50), shift("margin", 0.5)}, paper, binomialDeviance},
		{"lifted_structure", []param{shift("margin", 1)}, paper, liftedStructure},
		{"nca", []param{positive("temperature", 1), flag("all")}, paper, nca},
		{"proxy_anchor", []param{positive("alpha", 32), shift("delta", 0.1)}, paper, proxyAnchor},
		{"proxy_nca", []param{positive("temperature", 1.0/9), flag("all")}, paper, proxyNCA},
		{"triplet", []param{shift("margin", 0.05), flag("cosine"), flag("smooth"), flag("swap")},
			reductions(MeanOverNonZero, MeanOverAnchors, MeanOverTerms), triplet},
		{"nt_xent", []param{positive("temperature", 0.07)}, reductions(MeanOverTerms, MeanOverAnchors, MeanOverNonZero), func(p map[string]float64) Form {
			return Form{Listwise: ntXent(p["temperature"])}
		}},
		{"supcon", []param{positive("temperature", 0.1)}, reductions(MeanOverNonZero, MeanOverAnchors), func(p map[string]float64) Form {
			return Form{Listwise: supCon(p["temperature"])}
		}},
		{"recall_at_k", []param{positive("rank_temperature", 1), positive("temperature", 0.01)}, paper, func(p map[string]float64) Form {
			return Form{Listwise: recallAtK(p["rank_temperature"], p["temperature"]), Virtual: true}
		}},
	}
}

// contrastive is row 1: rho+ = -s, rho- = [s-m]+, sums over pairs, mean over anchors. Averaged over
// terms it is the usual other reading: rho+ = [m+ - s]+ with m+ = 1, each part averaged over its
// strictly positive terms or over all of them.
func contrastive(p map[string]float64) Form {
	f := Form{
		Positive: Part{Rho: Line(-1, p["positive_margin"]), Sigma: Identity},
		Negative: Part{Rho: Hinge(1, p["margin"]), Sigma: Identity},
	}
	if p["nonzero"] != 0 {
		f.Positive.Rho = Hinge(-1, p["positive_margin"])
	}
	return f
}

// multiSimilarity is (1/b) log(1 + SUM e^{-b(s-m)}) + (1/g) log(1 + SUM e^{g(s-m)}), over mined
// pairs with miner = 1.
func multiSimilarity(p map[string]float64) Form {
	b, g, m := p["beta"], p["gamma"], p["margin"]
	f := Form{
		Positive: Part{Rho: Line(-b, m), Exponential: true, Sigma: LogOnePlus(1 / b)},
		Negative: Part{Rho: Line(g, m), Exponential: true, Sigma: LogOnePlus(1 / g)},
	}
	if p["miner"] != 0 {
		f.Miner = MultiSimilarityMiner(p["epsilon"])
	}
	return f
}

// binomialDeviance is log(1 + SUM e^{-b(s-m)}) + log(1 + SUM e^{g(s-m)}).
func binomialDeviance(p map[string]float64) Form {
	b, g, m := p["beta"], p["gamma"], p["margin"]
	return Form{
		Positive: Part{Rho: Line(-b, m), Exponential: true, Sigma: LogOnePlus(1)},
		Negative: Part{Rho: Line(g, m), Exponential: true, Sigma: LogOnePlus(1)},
	}
}

// liftedStructure is [ log SUM e^{-s} + log SUM e^{s-m} ]+.
func liftedStructure(p map[string]float64) Form {
	return Form{
		Tau:      Hinge(1, 0),
		Positive: Part{Rho: Line(-1, 0), Exponential: true, Sigma: Log(1)},
		Negative: Part{Rho: Line(1, p["margin"]), Exponential: true, Sigma: Log(1)},
	}
}

// nca is -log SUM e^{s/T} + log SUM e^{s/T}. The table's second sum runs over the negatives; all =
// 1 makes it run over every candidate, as neighbourhood component analysis first had it.
func nca(p map[string]float64) Form {
	t := p["temperature"]
	return Form{
		Positive:         Part{Rho: Line(1/t, 0), Exponential: true, Sigma: Log(-1)},
		Negative:         Part{Rho: Line(1/t, 0), Exponential: true, Sigma: Log(1)},
		AllInDenominator: p["all"] != 0,
	}
}

// proxyAnchor is log(1 + SUM e^{-a(s-d)}) averaged over the proxies present in the batch, plus
// log(1 + SUM e^{a(s+d)}) averaged over all proxies.
func proxyAnchor(p map[string]float64) Form {
	a, d := p["alpha"], p["delta"]
	return Form{
		Anchors:         Proxy,
		Positive:        Part{Rho: Line(-a, d), Exponential: true, Sigma: LogOnePlus(1)},
		Negative:        Part{Rho: Line(a, -d), Exponential: true, Sigma: LogOnePlus(1)},
		MeanOverPresent: true,
	}
}

// proxyNCA is nca with examples as anchors and proxies as positives and negatives; T = 1/9 and all
// = 1 give ProxyNCA++, whose denominator holds every proxy.
func proxyNCA(p map[string]float64) Form {
	f := nca(p)
	f.Candidates = Proxy
	return f
}

// Forms returns the names NewForm knows, in the order of the table.
func Forms() []string {
	var names []string
	for _, r := range table() {
		names = append(names, r.name)
	}
	return names
}

// triplet is the margin loss over all triplets of an anchor, on Euclidean distance or, with cosine
// = 1, on minus the similarity.
func triplet(p map[string]float64) Form {
	return Form{Listwise: triplets(p["margin"], tripletDistance(p["cosine"] != 0), p["smooth"] != 0, p["swap"] != 0)}
}

// NewForm returns a row of the table with params in place of its default constants, reduced as the
// row is by default. The error names what is unknown or out of range and lists what is valid.
func NewForm(name string, params map[string]float64) (Form, error) {
	return NewFormReduced(name, params, "")
}

// NewFormReduced is NewForm with a reduction: "paper" (sum over the terms of an anchor, mean over
// all anchors), "nonzero" (mean over the strictly positive terms of the batch), "mean" (mean over
// all of its terms), or "" for the row's own. A term is a pair, a triplet, or for supcon an anchor
// with positives. The error lists the reductions that the row has a meaning for.
func NewFormReduced(name string, params map[string]float64, reduction string) (Form, error) {
	r, by, values, err := lookUp(name, params, reduction)
	if err != nil {
		return Form{}, err
	}
	f := r.build(values)
	f.Name, f.Reduction = name, by
	if name == "supcon" && by == MeanOverNonZero { // known from the labels
		f.Reduction, f.MeanOverPresent = MeanOverAnchors, true
	}
	return f, nil
}

// Constants returns all constants of the form that NewFormReduced makes of the same arguments, those
// that params leaves out among them: the form in numbers instead of functions.
func Constants(name string, params map[string]float64, reduction string) (map[string]float64, error) {
	_, _, values, err := lookUp(name, params, reduction)
	return values, err
}

// lookUp finds a row of the table, how it is reduced, and its constants.
func lookUp(name string, params map[string]float64, reduction string) (r row, by Reduction, values map[string]float64, err error) {
	rows := table()
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, 0, nil, fmt.Errorf("metrix: no loss form %q; choose one of %s", name, strings.Join(Forms(), ", "))
	}
	r = rows[i]
	if reduction == "" && name == "contrastive" && params["nonzero"] != 0 {
		reduction = MeanOverNonZero.String()
	}
	if name == "contrastive" && params["nonzero"] != 0 && reduction != MeanOverNonZero.String() {
		return row{}, 0, nil, fmt.Errorf("metrix: parameter nonzero of loss form contrastive contradicts reduction %q; leave one of the two out", reduction)
	}
	if by, err = r.reduction(reduction); err != nil {
		return row{}, 0, nil, err
	}
	values, err = r.values(params, by)
	return r, by, values, err
}

// reduction returns the reduction of that name, "" for the row's own.
func (r row) reduction(name string) (Reduction, error) {
	if name == "" {
		return r.reductions[0], nil
	}
	var valid []string
	for _, by := range r.reductions {
		if by.String() == name {
			return by, nil
		}
		valid = append(valid, by.String())
	}
	return 0, fmt.Errorf("metrix: loss form %s cannot be reduced by %q; it can by %s", r.name, name, strings.Join(valid, ", "))
}

// values merges params into the row's defaults.
func (r row) values(params map[string]float64, by Reduction) (map[string]float64, error) {
	values := map[string]float64{}
	for _, p := range r.params {
		values[p.name] = p.value
	}
	if r.name == "contrastive" && by != MeanOverAnchors {
		values["positive_margin"] = 1
	}
	for _, name := range sortedKeys(params) {
		i := slices.IndexFunc(r.params, func(p param) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("metrix: loss form %s has no parameter %q; it has %s", r.name, name, r.list())
		}
		p, v := r.params[i], params[name]
		if math.IsNaN(v) || v < p.min || v > p.max {
			return nil, fmt.Errorf("metrix: parameter %s of loss form %s is %v; it must lie in [%v, %v]", name, r.name, v, p.min, p.max)
		}
		values[name] = v
	}
	if r.name == "contrastive" && by != MeanOverAnchors {
		values["nonzero"] = 1
	}
	return values, nil
}

// list returns the row's parameters with their defaults, for messages.
func (r row) list() string {
	var out []string
	for _, p := range r.params {
		out = append(out, fmt.Sprintf("%s (%.4g)", p.name, p.value))
	}
	return strings.Join(out, ", ")
}

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
