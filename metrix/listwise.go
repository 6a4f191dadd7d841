package metrix

import "math"

// Listwise is the loss of an anchor as one function of all its similarities at once, for losses
// that are not sig+ of a sum plus sig- of a sum: those that weigh every positive against the
// negatives. It is reduced, mixed, cut into ranges and differentiated like any other form.
type Listwise struct {
	// Loss returns the loss of one anchor, 0 where there is nothing to compare, and how many of
	// its terms are above zero (what MeanOverNonZero counts). It is called from several goroutines.
	Loss func(n Neighbors) (value float64, nonzero int)
	// Terms returns how many terms an anchor has (what MeanOverTerms counts); nil if it has one.
	Terms func(positives, negatives int) int
	// Soft says that Loss has a meaning for labels between 0 and 1, so that it can be mixed.
	Soft bool
	// Between says that Loss needs Neighbors.Between.
	Between bool
}

// Neighbors is what one anchor is compared with.
type Neighbors struct {
	S []float64 // s(a, x)
	Y []float32 // label of each x: 1 positive, 0 negative, and lambda for mixes
	// Positives is how many of S, its first, are positives; -1 among mixes.
	Positives int
	// DS receives dLoss/dS, zero when Loss is called; nil where it is not wanted.
	DS []float64
	// Between returns the similarities of positive number p, in [0, Positives), with all
	// negatives, in the order of S; they are valid until the next call. AddBetween adds the
	// derivative by them. nil unless Listwise.Between is set.
	Between    func(p int) []float64
	AddBetween func(p int, ds []float64)
}

// softplus returns log(1 + e^x) and its derivative, the logistic function of x.
func softplus(x float64) (y, dy float64) {
	if x > 0 {
		e := math.Exp(-x)
		return x + math.Log1p(e), 1 / (1 + e)
	}
	e := math.Exp(x)
	return math.Log1p(e), e / (1 + e)
}

// logSum returns log SUM_k w(y_k) e^{s_k / t}, minus infinity for a sum without weight.
func logSum(s []float64, y []float32, w weight, t float64) float64 {
	top := math.Inf(-1)
	for k, x := range s {
		if w.of(y[k]) > 0 {
			top = max(top, x)
		}
	}
	if math.IsInf(top, -1) {
		return top
	}
	var sum float64
	for k, x := range s {
		sum += w.of(y[k]) * math.Exp((x-top)/t)
	}
	return top/t + math.Log(sum)
}

// of returns the weight of a row of label y.
func (w weight) of(y float32) float64 { return w.constant + w.slope*float64(y) }

// ntXent is the loss of SimCLR for any number of positives (Chen et al. 2020):
//
//	SUM_p y_p log( 1 + SUM_n (1 - y_n) e^{(s_n - s_p)/t} )
//
// that is, -log of the softmax of each positive among itself and the negatives. A mix is compared
// as a positive with weight y and is in the sum with weight 1-y. Its terms are the positives.
func ntXent(t float64) *Listwise {
	return &Listwise{Soft: true, Terms: func(positives, _ int) int { return positives }, Loss: func(n Neighbors) (value float64, nonzero int) {
		level := logSum(n.S, n.Y, byComplement, t)
		if math.IsInf(level, -1) {
			return 0, 0
		}
		var all float64
		for j, s := range n.S {
			y := float64(n.Y[j])
			if y == 0 {
				continue
			}
			l, dl := softplus(level - s/t)
			value += y * l
			if l > 0 {
				nonzero++
			}
			if n.DS != nil {
				n.DS[j] -= y * dl / t
				all += y * dl
			}
		}
		for k := range n.DS {
			n.DS[k] += all / t * byComplement.of(n.Y[k]) * math.Exp(n.S[k]/t-level)
		}
		return value, nonzero
	}}
}

// supCon is the supervised contrastive loss, its sum outside the logarithm (Khosla et al. 2020, L_out):
//
//	(1 / SUM_p y_p) SUM_p y_p ( log SUM_x e^{s_x/t} - s_p/t )
//
// with x over all candidates. A mix is a positive with weight y and is in the inner sum whole. Its
// term is the anchor.
func supCon(t float64) *Listwise {
	return &Listwise{Soft: true, Loss: func(n Neighbors) (value float64, nonzero int) {
		var weight, mean float64
		for j, s := range n.S {
			weight += float64(n.Y[j])
			mean += float64(n.Y[j]) * s
		}
		if weight == 0 {
			return 0, 0
		}
		level := logSum(n.S, n.Y, everyone, t)
		value = level - mean/weight/t
		for k := range n.DS {
			n.DS[k] += (math.Exp(n.S[k]/t-level) - float64(n.Y[k])/weight) / t
		}
		if value > 0 {
			nonzero = 1
		}
		return value, nonzero
	}}
}
