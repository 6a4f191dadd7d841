package kernels

// Transpose lists, for mix_transpose, what every one of the rows gets of the mixes of pairs (i, j) with
// the share lambda of i: row r gets share[k] of mix from[k] for k in [starts[r], starts[r+1]), in the
// order of the pairs, a pair's first row before its second.
func Transpose(pairs []int32, lambda []float32, rows int) (starts, from []int32, share []float32) {
	starts = make([]int32, rows+1)
	for _, row := range pairs {
		starts[row+1]++
	}
	for r := range rows {
		starts[r+1] += starts[r]
	}
	next := append([]int32(nil), starts[:rows]...)
	from, share = make([]int32, len(pairs)), make([]float32, len(pairs))
	for v, lam := range lambda {
		for side, s := range [2]float32{lam, 1 - lam} {
			at := &next[pairs[2*v+side]]
			from[*at], share[*at] = int32(v), s
			*at++
		}
	}
	return starts, from, share
}
