package metrix

import "math"

// weight turns the label y of a mixed row into its weight in a sum: constant + slope * y.
type weight struct{ constant, slope float64 }

var (
	byLabel      = weight{0, 1}  // y, of positives
	byComplement = weight{1, -1} // 1-y, of negatives
	everyone     = weight{1, 0}  // 1, of a denominator that holds all candidates
)

// negativeWeight is what the form's negative sum weighs a row of label y with.
func (f *Form) negativeWeight() weight {
	if f.AllInDenominator {
		return everyone
	}
	return byComplement
}

// extent is the least and the greatest similarity of a sum.
type extent struct{ min, max float64 }

// nothing is the extent of no similarity at all.
func nothing() extent { return extent{math.Inf(1), math.Inf(-1)} }

func (e *extent) add(s []float64) {
	for _, x := range s {
		e.min, e.max = min(e.min, x), max(e.max, x)
	}
}

// join extends e by another extent.
func (e *extent) join(x extent) { e.min, e.max = min(e.min, x.min), max(e.max, x.max) }

// reference returns the greatest exponent over e, which sum takes out of every term. It is 0 for
// parts that are not sums of exponentials.
func (p *Part) reference(e extent) float64 {
	if !p.Exponential || e.min > e.max {
		return 0
	}
	atMin, _ := p.Rho(e.min)
	atMax, _ := p.Rho(e.max)
	return max(atMin, atMax)
}

// sum returns SUM_j w(y_j) rho(s_j) e^{-ref}.
func (p *Part) sum(s []float64, y []float32, w weight, ref float64) float64 {
	var total float64
	y = y[:len(s)]
	if !p.Exponential {
		for j, x := range s {
			v, _ := p.Rho(x)
			total += (w.constant + w.slope*float64(y[j])) * v
		}
		return total
	}
	for j, x := range s {
		v, _ := p.Rho(x)
		total += (w.constant + w.slope*float64(y[j])) * math.Exp(v-ref)
	}
	return total
}

// addSlope adds scale * w(y_j) rho'(s_j) e^{-ref} to c_j.
func (p *Part) addSlope(c, s []float64, y []float32, w weight, ref, scale float64) {
	y, c = y[:len(s)], c[:len(s)]
	if !p.Exponential {
		for j, x := range s {
			_, dv := p.Rho(x)
			c[j] += scale * (w.constant + w.slope*float64(y[j])) * dv
		}
		return
	}
	for j, x := range s {
		v, dv := p.Rho(x)
		c[j] += scale * (w.constant + w.slope*float64(y[j])) * math.Exp(v-ref) * dv
	}
}

// countPositive returns how many terms w(y_j) rho(s_j) are above zero.
func (p *Part) countPositive(s []float64, y []float32, w weight) int {
	n := 0
	for j, x := range s {
		v, _ := p.Rho(x)
		if p.Exponential || v > 0 {
			if w.constant+w.slope*float64(y[j]) > 0 {
				n++
			}
		}
	}
	return n
}
