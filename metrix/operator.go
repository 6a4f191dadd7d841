package metrix

import "fmt"

// Pair is one row of an Operator: Lambda x_I + (1 - Lambda) x_J.
type Pair struct {
	I, J   int32
	Lambda float32
}

// Operator is a sparse matrix with two entries a row, Lambda and 1 - Lambda: the one way in which
// examples are mixed. Applied to images it is input mixing, to feature maps feature mixing, to
// embeddings (and then put back on the sphere) embedding mixing. It is linear, so its transpose
// takes the gradient of the mixes back to both partners.
type Operator []Pair

// Check refuses pairs of rows outside [0, rows) and shares outside [0, 1].
func (o Operator) Check(rows int) error {
	for v, p := range o {
		if p.I < 0 || int(p.I) >= rows || p.J < 0 || int(p.J) >= rows {
			return fmt.Errorf("metrix: mixed row %d is made of rows %d and %d; there are %d", v, p.I, p.J, rows)
		}
		if !(p.Lambda >= 0 && p.Lambda <= 1) {
			return fmt.Errorf("metrix: mixed row %d has lambda %v; it must lie in [0, 1]", v, p.Lambda)
		}
	}
	return nil
}

// Apply writes the mixes of the rows of x, each of width floats, to dst: row v of dst, len(o) rows,
// is Lambda x[I] + (1 - Lambda) x[J] of o[v]. Each float is one expression, so no order of
// evaluation changes it.
func (o Operator) Apply(dst, x []float32, width int) {
	for v, p := range o {
		out := dst[v*width:][:width]
		a, b := x[int(p.I)*width:][:width], x[int(p.J)*width:][:width]
		lam, rest := p.Lambda, 1-p.Lambda
		for k := range out {
			out[k] = float32(lam*a[k]) + float32(rest*b[k])
		}
	}
}

// Transpose adds to dst, the gradient by the rows that were mixed, what the gradient dy by the
// mixes says of them: Lambda dy[v] to row I and (1 - Lambda) dy[v] to row J of every pair, in the
// order of the pairs.
func (o Operator) Transpose(dst, dy []float32, width int) {
	for v, p := range o {
		d := dy[v*width:][:width]
		add := func(row int32, share float32) {
			to := dst[int(row)*width:][:width]
			for k, x := range d {
				to[k] += float32(share * x)
			}
		}
		add(p.I, p.Lambda)
		add(p.J, 1-p.Lambda)
	}
}
