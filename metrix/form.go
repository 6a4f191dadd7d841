package metrix

import (
	"fmt"
	"math"
)

// Scalar is a function of one variable with its derivative.
type Scalar func(x float64) (y, dy float64)

// Sum is the number Value * e^Log: a sum of exponentials kept in range by taking the greatest
// exponent out of it. Log is 0 where the terms are not exponentials.
type Sum struct{ Value, Log float64 }

// Part is one side of a row of the table: sig(SUM rho(s)) over positives or over negatives.
type Part struct {
	// Rho is rho(s), or log rho(s) where Exponential is set; then it must be monotone in s. Giving
	// the exponent rather than the exponential is what keeps e^(75 (s-m)) in range.
	Rho         Scalar
	Exponential bool
	// Sigma returns sig(x) and its derivative by x.Value. The sum over no pairs is Sum{}, and
	// sig of it must be (0, any finite number): a missing part adds nothing.
	Sigma func(x Sum) (y, dy float64)
}

// Kind says what stands at one end of a pair.
type Kind int

// The two kinds.
const (
	Example Kind = iota // a row of Batch.Embeddings
	Proxy               // a row of Batch.Proxies; its class is its index
)

// Reduction says how terms become one number.
type Reduction int

const (
	// MeanOverAnchors is the paper's: sum over the pairs of an anchor, mean over all anchors.
	MeanOverAnchors Reduction = iota
	// MeanOverNonZero averages the strictly positive terms of each part over the whole batch and
	// adds the two averages, the default of pytorch-metric-learning's pair losses. It needs parts
	// whose Sigma is the identity, or a Listwise. The terms of all anchors have to be counted, so
	// every range of anchors costs the similarities of the whole batch.
	MeanOverNonZero
	// MeanOverTerms averages all terms of each part over the whole batch. Their number follows
	// from the labels, so a range costs no more than with MeanOverAnchors.
	MeanOverTerms
)

// String returns the recipe's word for r.
func (r Reduction) String() string {
	switch r {
	case MeanOverNonZero:
		return "nonzero"
	case MeanOverTerms:
		return "mean"
	}
	return "paper"
}

// Form is a row of the table in the package comment: everything that tells one loss from another.
// A user's own loss is a literal of this type; the rows of the paper come from NewForm.
type Form struct {
	Name string
	// Anchors and Candidates say what is compared. (Example, Example) leaves the anchor itself out
	// of its candidates. (Proxy, Proxy) is refused.
	Anchors, Candidates Kind
	// Tau is the outermost function; nil is the identity.
	Tau                Scalar
	Positive, Negative Part
	// AllInDenominator makes the negative sum run over positives too: weight 1 in place of 1-y.
	AllInDenominator bool
	// MeanOverPresent divides the positive part by the number of anchors that have a positive
	// in the global batch, in place of the number of all anchors (proxy anchor). A Listwise is
	// divided so as a whole.
	MeanOverPresent bool
	Reduction       Reduction
	// Miner, if set, drops pairs from the clean part. The mixed part has Mix.Hardest.
	Miner Miner
	// Listwise, if set, takes the place of Tau, Positive and Negative.
	Listwise *Listwise
	// Virtual lets Mix.Pairs SameClass add rows to the batch; then nothing else is mixed.
	Virtual bool
}

// UsesProxies reports whether the form needs Batch.Proxies.
func (f Form) UsesProxies() bool { return f.Anchors == Proxy || f.Candidates == Proxy }

// validate refuses a literal that cannot be evaluated.
func (f Form) validate() error {
	if f.Anchors == Proxy && f.Candidates == Proxy {
		return fmt.Errorf("metrix: form %q compares proxies with proxies; one end of a pair must be an example", f.Name)
	}
	if f.Listwise != nil {
		return f.validateListwise()
	}
	for _, p := range []struct {
		side string
		part Part
	}{{"positive", f.Positive}, {"negative", f.Negative}} {
		if p.part.Rho == nil || p.part.Sigma == nil {
			return fmt.Errorf("metrix: form %q: the %s part lacks Rho or Sigma; set both", f.Name, p.side)
		}
	}
	pairs := !f.Positive.Exponential && !f.Negative.Exponential && !f.AllInDenominator
	if f.Reduction != MeanOverAnchors && !pairs {
		return fmt.Errorf("metrix: form %q: a mean over terms needs parts that are plain sums over pairs", f.Name)
	}
	if f.Miner != nil && f.AllInDenominator {
		return fmt.Errorf("metrix: form %q: a miner cannot drop pairs of a sum over all candidates; unset one of the two", f.Name)
	}
	return nil
}

func (f Form) validateListwise() error {
	if f.Listwise.Loss == nil {
		return fmt.Errorf("metrix: form %q: its Listwise lacks Loss; set it", f.Name)
	}
	if f.Reduction == MeanOverTerms && f.Listwise.Terms == nil {
		return fmt.Errorf("metrix: form %q: a mean over terms needs Listwise.Terms, which counts them", f.Name)
	}
	if f.Miner != nil {
		return fmt.Errorf("metrix: form %q: a miner drops pairs of sums and has no use for a Listwise; leave it nil", f.Name)
	}
	if f.Listwise.Between && f.UsesProxies() {
		return fmt.Errorf("metrix: form %q compares candidates with each other, which needs examples at both ends", f.Name)
	}
	return nil
}

// tau applies the outermost function.
func (f Form) tau(x float64) (y, dy float64) {
	if f.Tau == nil {
		return x, 1
	}
	return f.Tau(x)
}

// Line returns rho(s) = slope (s - shift), which is also the exponent of every exponential rho.
func Line(slope, shift float64) Scalar {
	return func(s float64) (float64, float64) { return slope * (s - shift), slope }
}

// Hinge returns [slope (s - shift)]+, with derivative 0 at the kink.
func Hinge(slope, shift float64) Scalar {
	return func(s float64) (float64, float64) {
		if y := slope * (s - shift); y > 0 {
			return y, slope
		}
		return 0, 0
	}
}

// Identity is sig(x) = x.
func Identity(x Sum) (y, dy float64) {
	e := math.Exp(x.Log)
	return x.Value * e, e
}

// LogOnePlus returns sig(x) = scale log(1 + x), finite for every x that a Sum can hold.
func LogOnePlus(scale float64) func(Sum) (float64, float64) {
	return func(x Sum) (float64, float64) {
		if x.Log > 0 { // 1 + v e^L = e^L (e^-L + v)
			rest := math.Exp(-x.Log) + x.Value
			return scale * (x.Log + math.Log(rest)), scale / rest
		}
		e := math.Exp(x.Log)
		return scale * math.Log1p(x.Value*e), scale * e / (1 + x.Value*e)
	}
}

// Log returns sig(x) = scale log x, and 0 for a sum without weight: the part is missing.
func Log(scale float64) func(Sum) (float64, float64) {
	return func(x Sum) (float64, float64) {
		if x.Value <= 0 {
			return 0, 0
		}
		return scale * (x.Log + math.Log(x.Value)), scale / x.Value
	}
}
