package metrix

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// row is a named form with its parameters, in the order of the table.
type row struct {
	name   string
	params []param
	build  func(p map[string]float64) Form
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

// table lists the rows of the paper's table of losses (Table 1 of arXiv 2106.04990). Constants are
// the published ones for contrastive, multi-similarity and proxy anchor; the paper names none for
// the others, so their defaults are those of the papers that proposed them, or 1.
func table() []row {
	return []row{
		{"contrastive", []param{shift("margin", 0.5), shift("positive_margin", 0), flag("nonzero")}, contrastive},
		{"multi_similarity", []param{positive("beta", 18), positive("gamma", 75), shift("margin", 0.77)}, multiSimilarity},
		{"binomial_deviance", []param{positive("beta", 2), positive("gamma", 50), shift("margin", 0.5)}, binomialDeviance},
		{"lifted_structure", []param{shift("margin", 1)}, liftedStructure},
		{"nca", []param{positive("temperature", 1), flag("all")}, nca},
		{"proxy_anchor", []param{positive("alpha", 32), shift("delta", 0.1)}, proxyAnchor},
		{"proxy_nca", []param{positive("temperature", 1.0/9), flag("all")}, proxyNCA},
	}
}

// contrastive is row 1: rho+ = -s, rho- = [s-m]+, sums over pairs, mean over anchors. With nonzero
// = 1 it is the usual other reading: rho+ = [m+ - s]+ with m+ = 1, each part averaged over its
// strictly positive terms.
func contrastive(p map[string]float64) Form {
	f := Form{
		Positive: Part{Rho: Line(-1, p["positive_margin"]), Sigma: Identity},
		Negative: Part{Rho: Hinge(1, p["margin"]), Sigma: Identity},
	}
	if p["nonzero"] != 0 {
		f.Positive.Rho = Hinge(-1, p["positive_margin"])
		f.Reduction = MeanOverNonZero
	}
	return f
}

// multiSimilarity is (1/b) log(1 + SUM e^{-b(s-m)}) + (1/g) log(1 + SUM e^{g(s-m)}).
func multiSimilarity(p map[string]float64) Form {
	b, g, m := p["beta"], p["gamma"], p["margin"]
	return Form{
		Positive: Part{Rho: Line(-b, m), Exponential: true, Sigma: LogOnePlus(1 / b)},
		Negative: Part{Rho: Line(g, m), Exponential: true, Sigma: LogOnePlus(1 / g)},
	}
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

// NewForm returns a row of the table with params in place of its default constants. The error
// names what is unknown or out of range and lists what is valid.
func NewForm(name string, params map[string]float64) (Form, error) {
	rows := table()
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return Form{}, fmt.Errorf("metrix: no loss form %q; choose one of %s", name, strings.Join(Forms(), ", "))
	}
	values, err := rows[i].values(params)
	if err != nil {
		return Form{}, err
	}
	f := rows[i].build(values)
	f.Name = name
	return f, nil
}

// values merges params into the row's defaults.
func (r row) values(params map[string]float64) (map[string]float64, error) {
	values := map[string]float64{}
	for _, p := range r.params {
		values[p.name] = p.value
	}
	if r.name == "contrastive" && params["nonzero"] != 0 {
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
