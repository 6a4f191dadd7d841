package gorgonia

import "math/bits"

// arena lends float32 buffers and takes them back. Sizes are rounded up to an eighth of their power
// of two, so that a buffer serves several layers. It belongs to one network, which is used from one
// goroutine at a time.
type arena struct {
	free map[int][][]float32
	held int // floats lent out
	peak int // most floats ever lent out at once
}

// class rounds n up to a multiple of an eighth of its largest power of two.
func class(n int) int {
	if n <= 64 {
		return 64
	}
	step := 1 << (bits.Len(uint(n-1)) - 4)
	return (n + step - 1) / step * step
}

// get lends a buffer of n floats with arbitrary content.
func (a *arena) get(n int) []float32 {
	c := class(n)
	a.held += c
	a.peak = max(a.peak, a.held)
	list := a.free[c]
	if len(list) == 0 {
		return make([]float32, c)[:n]
	}
	b := list[len(list)-1]
	list[len(list)-1] = nil
	a.free[c] = list[:len(list)-1]
	return b[:n]
}

// put takes back a buffer that get lent.
func (a *arena) put(b []float32) {
	if a.free == nil {
		a.free = map[int][][]float32{}
	}
	c := cap(b)
	a.held -= c
	a.free[c] = append(a.free[c], b)
}

// trim drops all idle buffers, so that sizes no longer in use cost nothing.
func (a *arena) trim() { clear(a.free) }
