package exact

import "math"

// The loops that every processor has. Magnitudes of floats are ordered like their bits, and NaN and
// infinities stand above all: largest is the bits of the largest magnitude of the float32.

func setPlain(dst []int64, x []float32) (largest uint32) {
	dst = dst[:len(x)]
	for i, v := range x {
		largest = max(largest, math.Float32bits(v)&math.MaxInt32)
		dst[i] = int64(float64(v) * (1 / Unit))
	}
	return largest
}

func addPlain(acc []int64, x []float32) (largest uint32) {
	acc = acc[:len(x)]
	for i, v := range x {
		largest = max(largest, math.Float32bits(v)&math.MaxInt32)
		acc[i] += int64(float64(v) * (1 / Unit))
	}
	return largest
}

func toFloat32Plain(dst []float32, acc []int64) (largest uint32) {
	dst = dst[:len(acc)]
	for i, v := range acc {
		dst[i] = float32(float64(v) * Unit)
		largest = max(largest, math.Float32bits(dst[i])&math.MaxInt32)
	}
	return largest
}
