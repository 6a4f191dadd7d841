package metrix

// compareMemory writes the similarities of rows x, the first of dst, to the columns of the memory.
func (l *Loss) compareMemory(dst, x matrix) {
	if l.e.memory == 0 {
		return
	}
	to := dst.columns(len(l.e.order), dst.cols)
	for i := range to.rows {
		clear(to.row(i))
	}
	multiply(l.threads, to, x, l.rows.memory)
}

// backwardMemory adds to the first rows of dx what the memory's columns of d, dL by similarities
// of those rows, say of them: d M. The memory is transposed block by block, so that it needs no
// second copy.
func (l *Loss) backwardMemory(dx, d matrix) {
	e, r := &l.e, &l.rows
	if e.memory == 0 || d.rows == 0 {
		return
	}
	d = d.columns(len(e.order), d.cols)
	for lo := 0; lo < e.memory; lo += blockInner {
		hi := min(lo+blockInner, e.memory)
		t := claim(&r.memoryTransposed, dx.cols, hi-lo)
		transpose(l.threads, t, dense(r.memory.data[lo*dx.cols:hi*dx.cols], hi-lo, dx.cols))
		multiply(l.threads, dx, d.columns(lo, hi), t)
	}
}
