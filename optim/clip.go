package optim

import "math"

// ClipValue clamps every value of x to [-limit, limit]; a limit that is not above 0 does nothing.
// NaN stays NaN.
func ClipValue(x []float32, limit float64) {
	if !(limit > 0) {
		return
	}
	hi := float32(limit)
	lo := -hi
	for i, v := range x {
		if v > hi {
			x[i] = hi
		} else if v < lo {
			x[i] = lo
		}
	}
}

// ClipNorm returns the L2 norm of x and, if it is finite and above limit, scales x down to norm
// limit; a limit that is not above 0 only measures. A norm that is not finite (x holds NaN or an
// infinity) leaves x as it is: the caller has to refuse such gradients.
func ClipNorm(x []float32, limit float64) float64 {
	norm := math.Sqrt(sumSquares(x))
	if !(limit > 0) || !(norm > limit) || math.IsInf(norm, 0) {
		return norm
	}
	scale := float32(limit / norm)
	for i := range x {
		x[i] *= scale
	}
	return norm
}

// sumSquares adds in float64, in four interleaved sums: a fixed order that does not wait for each
// addition.
func sumSquares(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d := float64(x[0]), float64(x[1]), float64(x[2]), float64(x[3])
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for _, v := range x {
		s0 += float64(v) * float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}
