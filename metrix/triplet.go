package metrix

import "math"

// coincident is the squared distance of unit rows below which they are taken as one: their
// distance is 0 and has no derivative.
const coincident = 1e-9

// tripletDistance is the Euclidean distance sqrt(2 - 2s) of unit rows, or -s.
func tripletDistance(cosine bool) Scalar {
	if cosine {
		return Line(-1, 0)
	}
	return func(s float64) (y, dy float64) {
		squared := 2 - 2*s
		if squared < coincident {
			return 0, 0
		}
		d := math.Sqrt(squared)
		return d, -1 / d
	}
}

// triplets is the margin loss over all triplets of an anchor,
//
//	SUM_p SUM_n phi( d(a,p) - min(d(a,n), d(p,n)) + m ),  phi = [x]+ or log(1 + e^x),
//
// where d(p,n) takes part only with swap. Its terms are the triplets. It costs P x N per anchor.
func triplets(margin float64, distance Scalar, smooth, swap bool) *Listwise {
	phi := Hinge(1, 0)
	if smooth {
		phi = softplus
	}
	return &Listwise{
		Between: swap,
		Terms:   func(positives, negatives int) int { return positives * negatives },
		Loss: func(n Neighbors) (value float64, nonzero int) {
			for p := range n.Positives {
				v, k := tripletsOf(n, p, margin, distance, phi)
				value, nonzero = value+v, nonzero+k
			}
			return value, nonzero
		},
	}
}

// tripletsOf sums the triplets of one positive.
func tripletsOf(n Neighbors, p int, margin float64, distance, phi Scalar) (value float64, nonzero int) {
	toPositive, byPositive := distance(n.S[p])
	var between, dBetween []float64
	if n.Between != nil {
		between = n.Between(p)
		dBetween = make([]float64, len(between))
	}
	for j, s := range n.S[n.Positives:] {
		d, dd := distance(s)
		swapped := false
		if between != nil {
			if e, de := distance(between[j]); e < d {
				d, dd, swapped = e, de, true
			}
		}
		v, dv := phi(toPositive - d + margin)
		value += v
		if v > 0 {
			nonzero++
		}
		if n.DS == nil || dv == 0 {
			continue
		}
		n.DS[p] += dv * byPositive
		if swapped {
			dBetween[j] -= dv * dd
		} else {
			n.DS[n.Positives+j] -= dv * dd
		}
	}
	if n.DS != nil && between != nil {
		n.AddBetween(p, dBetween)
	}
	return value, nonzero
}
