package allreduce

import (
	"context"
	"unsafe"

	"github.com/metrixml/metrix/run"
)

// ReduceScatterInt64 is ReduceScatter of integers; parts are in integers. Integer sums do not depend
// on World: this is what sums that must have the same bits for any number of workers are made of. A
// sum that overflows wraps around. A rank sends 8 bytes for each integer of the others' parts.
func (r *Ring) ReduceScatterInt64(ctx context.Context, step run.Step, phase string, x []int64, parts []int) error {
	words := make([]int, len(parts))
	for i, p := range parts {
		words[i] = 2 * p
	}
	c := r.call(opReduceScatterInt64, step, phase, pairs(x), words)
	c.chunk &^= 1 // a chunk holds whole integers
	c.add, c.hostOrder = addInt64, hostOrderInt64
	c.reduce(int(r.cfg.Rank), r.cfg.World)
	return r.do(ctx, c)
}

// pairs views integers as the pairs of 32-bit words that collectives move.
func pairs(x []int64) []float32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// integers is the inverse of pairs. Chunks are of even length and payloads aligned, so x lies on a
// multiple of 8.
func integers(x []float32) []int64 {
	if len(x) < 2 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}

func addInt64(dst, src []float32) {
	d := integers(dst)
	for i, v := range integers(src)[:len(d)] {
		d[i] += v
	}
}

func hostOrderInt64(payload []byte) {
	if littleEndian() {
		return
	}
	for b := payload; len(b) >= 8; b = b[8:] {
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = b[7], b[6], b[5], b[4], b[3], b[2], b[1], b[0]
	}
}
