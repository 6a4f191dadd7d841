// Package exact sums float32 vectors so that the result does not depend on the order or the
// grouping of the summands: the key to a run that gives the same bits with any number of workers.
//
// Floating-point addition is not associative, so a sum over workers depends on who computed which
// summand. Adam divides gradients by their own size, hence such differences, though of the size of
// rounding, can move single parameters by whole learning rates. Here summands are converted to
// 64-bit fixed point first, and integers add up to the same whatever the order. A summand is rounded
// once, to a multiple of Unit; the sum once more, to float32.
package exact

import (
	"errors"
	"math"
)

// Unit is the resolution: 2^-44, about 5.7e-14. It is a few millionths of the 1e-8 that Adam adds to
// its denominator; smaller gradients have no effect in float32 either.
const Unit = 1.0 / (1 << 44)

// limitBits is the size of the largest sum of n summands. Beside the sign a bit is left, for callers
// that add two values where they announced one.
const limitBits = 62

// ErrRange is returned for a summand that is not finite or too large to be summed exactly. In
// training it means that gradients have exploded.
var ErrRange = errors.New("a value is not finite or too large to be summed")

// Max is the largest magnitude that each of n summands may have: 2^62 units over all of them.
func Max(n int) float64 { return math.Ldexp(Unit, limitBits) / float64(max(n, 1)) }

// Set writes x, one of n summands, to dst. On ErrRange dst is of no more use.
func Set(dst []int64, x []float32, n int) error { return check(set(dst, x), n) }

// Add adds x to acc element by element, x being one of n summands. On ErrRange acc is of no more use.
func Add(acc []int64, x []float32, n int) error { return check(add(acc, x), n) }

// check compares the bits of the largest magnitude with what each of n summands may have.
func check(largest uint32, n int) error {
	if largest > math.Float32bits(float32(Max(n))) {
		return ErrRange
	}
	return nil
}

// Of converts one of n summands.
func Of(v float64, n int) (int64, error) {
	if limit := Max(n); !(v <= limit && v >= -limit) {
		return 0, ErrRange
	}
	return int64(v * (1 / Unit)), nil
}

// Value converts a sum back.
func Value(sum int64) float64 { return float64(sum) * Unit }

// Float32 writes the sums of acc to dst and returns the largest magnitude among them.
func Float32(dst []float32, acc []int64) (largest float32) {
	return math.Float32frombits(toFloat32(dst, acc))
}
