package exact

import (
	"slices"

	"golang.org/x/sys/cpu"
)

// stride is the step in elements of the loops below, which compute what the plain ones do, bit by bit.
const stride = 16

// The vector loops over n elements, a multiple of stride; largest collects the bits of the largest
// magnitudes.

//go:noescape
func setAVX512(dst *int64, x *float32, n int, largest *[stride]uint32)

//go:noescape
func addAVX512(acc *int64, x *float32, n int, largest *[stride]uint32)

//go:noescape
func float32AVX512(dst *float32, acc *int64, n int, largest *[stride]uint32)

// whole is how many of n elements the vector loops do: they need conversions of 64-bit integers.
func whole(n int) int {
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512DQ {
		return 0
	}
	return n &^ (stride - 1)
}

func set(dst []int64, x []float32) (largest uint32) {
	n := whole(len(x))
	if n > 0 {
		var lanes [stride]uint32
		setAVX512(&dst[:n][0], &x[0], n, &lanes)
		largest = slices.Max(lanes[:])
	}
	return max(largest, setPlain(dst[n:len(x)], x[n:]))
}

func add(acc []int64, x []float32) (largest uint32) {
	n := whole(len(x))
	if n > 0 {
		var lanes [stride]uint32
		addAVX512(&acc[:n][0], &x[0], n, &lanes)
		largest = slices.Max(lanes[:])
	}
	return max(largest, addPlain(acc[n:len(x)], x[n:]))
}

func toFloat32(dst []float32, acc []int64) (largest uint32) {
	n := whole(len(acc))
	if n > 0 {
		var lanes [stride]uint32
		float32AVX512(&dst[:n][0], &acc[0], n, &lanes)
		largest = slices.Max(lanes[:])
	}
	return max(largest, toFloat32Plain(dst[n:len(acc)], acc[n:]))
}
