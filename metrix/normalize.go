package metrix

import "math"

// Normalize writes the rows of x, each divided by its Euclidean norm, to dst; dst may be x. A row
// of zeros stays zero.
func Normalize(dst, x []float32, dim int) {
	for i := 0; i+dim <= len(x); i += dim {
		scale := inverseNorm(x[i : i+dim])
		for j, v := range x[i : i+dim] {
			dst[i+j] = float32(float64(v) * scale)
		}
	}
}

// NormalizeBackward adds to dst the gradient by x of a scalar whose gradient by Normalize(x) is
// grad. With y = x/|x|: dx = (dy - y (y . dy)) / |x|, so the radial part of dy has no effect. A row
// of zeros gets none.
func NormalizeBackward(dst, grad, x []float32, dim int) {
	for i := 0; i+dim <= len(x); i += dim {
		row, dy := x[i:i+dim], grad[i:i+dim]
		scale := inverseNorm(row)
		var radial float64
		for j, v := range row {
			radial += float64(v) * scale * float64(dy[j])
		}
		for j, v := range row {
			dst[i+j] += float32((float64(dy[j]) - float64(v)*scale*radial) * scale)
		}
	}
}

// inverseNorm returns 1/|x|, or 0 for a row of zeros.
func inverseNorm(x []float32) float64 {
	n := squared(x)
	if n == 0 {
		return 0
	}
	return 1 / math.Sqrt(n)
}
