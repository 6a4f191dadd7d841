package allreduce

import (
	"context"
	"unsafe"

	"github.com/metrixml/metrix/run"
)

// Integers is a vector of integers that a rank makes where they are sent and takes where they are
// summed, so that they need not lie in memory of their own. Every element is asked for once: by Load or
// Add if it is of another rank's part, by Finish if it is of the own. Calls come from two goroutines, for
// different elements. Their errors end the collective.
type Integers interface {
	// Load writes the elements from lo on to dst.
	Load(dst []int64, lo int) error
	// Add adds them to dst.
	Add(dst []int64, lo int) error
	// Finish takes what the elements from lo on of all other ranks add up to. It may change others.
	Finish(others []int64, lo int) error
}

// ReduceScatterInt64 is ReduceScatter of integers; parts are in integers. Integer sums do not depend
// on World: this is what sums that must have the same bits for any number of workers are made of. A
// sum that overflows wraps around. For each integer of the others' parts a rank sends as many bytes as the
// largest one of the chunk needs, 1 to 8, and 8 through shared memory.
func (r *Ring) ReduceScatterInt64(ctx context.Context, step run.Step, phase string, x []int64, parts []int) error {
	return r.reduceIntegers(ctx, step, phase, integerVector(x), len(x), parts)
}

// ReduceScatterIntegers is ReduceScatterInt64 of integers that x makes: the sums of the own part go to
// x.Finish, with World 1 too.
func (r *Ring) ReduceScatterIntegers(ctx context.Context, step run.Step, phase string, x Integers, parts []int) error {
	n := 0
	for _, p := range parts {
		n += p
	}
	return r.reduceIntegers(ctx, step, phase, x, n, parts)
}

func (r *Ring) reduceIntegers(ctx context.Context, step run.Step, phase string, x Integers, n int, parts []int) error {
	words := make([]int, len(parts))
	for i, p := range parts {
		words[i] = 2 * p
	}
	c := r.callOf(opReduceScatterInt64, step, phase, halves{x}, 2*n, words)
	c.chunk &^= 1 // a chunk holds whole integers
	c.hostOrder, c.packs = func([]byte) {}, true
	c.reduce(int(r.cfg.Rank), r.cfg.World)
	if r.cfg.World == 1 {
		c.work = func(context.Context) error { return alone(x, n) }
	}
	return r.do(ctx, c)
}

// alone finishes n integers to which nobody else adds anything.
func alone(x Integers, n int) error {
	var others [1 << 10]int64
	for lo := 0; lo < n; lo += len(others) {
		clear(others[:])
		if err := x.Finish(others[:min(len(others), n-lo)], lo); err != nil {
			return err
		}
	}
	return nil
}

// halves is the operand that sees each integer as two floats.
type halves struct{ Integers }

func (x halves) load(payload []float32, lo int) error { return x.Load(integers(payload), lo/2) }

func (x halves) add(payload []float32, lo int) error { return x.Add(integers(payload), lo/2) }

func (x halves) finish(payload []float32, lo int) error { return x.Finish(integers(payload), lo/2) }

// store is for gathers, which integers do not take part in.
func (x halves) store([]float32, int) {}

// integerVector is integers that lie in memory.
type integerVector []int64

func (x integerVector) Load(dst []int64, lo int) error {
	copy(dst, x[lo:])
	return nil
}

func (x integerVector) Add(dst []int64, lo int) error {
	addInt64(dst, x[lo:])
	return nil
}

func (x integerVector) Finish(others []int64, lo int) error {
	addInt64(x[lo:lo+len(others)], others)
	return nil
}

// addInt64 adds src, or as much of it as dst has room for, to dst.
func addInt64(dst, src []int64) {
	for i, v := range src[:len(dst)] {
		dst[i] += v
	}
}

// integers views pairs of words as integers. Chunks are of even length and payloads aligned, so x lies
// on a multiple of 8.
func integers(x []float32) []int64 {
	if len(x) < 2 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}
