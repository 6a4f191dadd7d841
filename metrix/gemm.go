package metrix

import (
	"sync"
	"sync/atomic"
)

// matrix is a row-major view: row i is data[i*stride : i*stride+cols].
type matrix struct {
	data               []float32
	rows, cols, stride int
}

// dense returns a matrix without gaps between its rows.
func dense(data []float32, rows, cols int) matrix { return matrix{data, rows, cols, cols} }

func (m matrix) row(i int) []float32 { return m.data[i*m.stride:][:m.cols] }

// from returns columns [j, cols).
func (m matrix) from(j int) matrix { return m.columns(j, m.cols) }

// columns returns columns [lo, hi).
func (m matrix) columns(lo, hi int) matrix {
	if m.rows == 0 || lo == hi {
		return matrix{nil, m.rows, hi - lo, m.stride}
	}
	return matrix{m.data[lo:], m.rows, hi - lo, m.stride}
}

// Block sizes of multiply: a block of b (64 rows of 512 floats, 128 KB) stays in the second-level
// cache while the rows of a pass over it, three at a time.
const (
	blockRows  = 24  // rows of dst per task
	blockCols  = 64  // rows of b per block
	blockInner = 512 // inner length per block
)

// multiply adds a b^T to dst, whose size is a.rows x b.rows. Every element is summed in an order
// that depends on its inner length alone, so neither threads nor its place in dst change its bits.
func multiply(threads int, dst, a, b matrix) {
	tasks := (a.rows + blockRows - 1) / blockRows
	parallel(threads, tasks, func(_, task int) {
		lo := task * blockRows
		multiplyRows(dst, a, b, lo, min(lo+blockRows, a.rows), 0)
	})
}

// gram writes to dst the product of the first dst.rows rows of x with all rows of x. The square
// part is symmetric: only its upper half is computed, and mirrored.
func gram(threads int, dst, x matrix) {
	tasks := (dst.rows + blockRows - 1) / blockRows
	parallel(threads, tasks, func(_, task int) {
		lo := task * blockRows
		hi := min(lo+blockRows, dst.rows)
		for i := lo; i < hi; i++ {
			clear(dst.row(i)[lo:])
		}
		multiplyRows(dst, x, x, lo, hi, lo)
		for i := lo; i < hi; i++ {
			from := dst.row(i)
			for j := hi; j < dst.rows; j++ {
				dst.data[j*dst.stride+i] = from[j]
			}
		}
	})
}

// multiplyRows adds rows [lo, hi) of a times rows [first, b.rows) of b to dst.
func multiplyRows(dst, a, b matrix, lo, hi, first int) {
	for k := 0; k < a.cols; k += blockInner {
		kn := min(blockInner, a.cols-k)
		for j := first; j < b.rows; j += blockCols {
			jn := min(j+blockCols, b.rows)
			for i := lo; i < hi; i += 3 {
				tile(dst, a, b, i, min(i+3, hi), j, jn, k, kn)
			}
		}
	}
}

// tile multiplies up to three rows of a with a block of rows of b, two at a time.
func tile(dst, a, b matrix, i, iEnd, j, jEnd, k, kn int) {
	at := func(m matrix, r int) []float32 { return m.data[r*m.stride+k:][:kn] }
	if iEnd-i == 3 {
		a0, a1, a2 := at(a, i), at(a, i+1), at(a, i+2)
		d0, d1, d2 := dst.row(i), dst.row(i+1), dst.row(i+2)
		for ; j+2 <= jEnd; j += 2 {
			s00, s01, s10, s11, s20, s21 := dot32(a0, a1, a2, at(b, j), at(b, j+1))
			d0[j] += s00
			d0[j+1] += s01
			d1[j] += s10
			d1[j+1] += s11
			d2[j] += s20
			d2[j+1] += s21
		}
	}
	for ; i < iEnd; i++ {
		d, ai := dst.row(i), at(a, i)
		for q := j; q < jEnd; q++ {
			d[q] += dot(ai, at(b, q))
		}
	}
}

// dot32 returns the products of three rows with two, each summed from left to right as dot does.
// Six sums and five loads are what sixteen registers hold: a larger tile spills and is slower.
func dot32(a0, a1, a2, b0, b1 []float32) (s00, s01, s10, s11, s20, s21 float32) {
	n := len(a0)
	a1, a2, b0, b1 = a1[:n], a2[:n], b0[:n], b1[:n]
	for k, x0 := range a0 {
		y0, y1 := b0[k], b1[k]
		s00 += x0 * y0
		s01 += x0 * y1
		x1 := a1[k]
		s10 += x1 * y0
		s11 += x1 * y1
		x2 := a2[k]
		s20 += x2 * y0
		s21 += x2 * y1
	}
	return s00, s01, s10, s11, s20, s21
}

// dot returns the inner product of two rows, summed from left to right.
func dot(a, b []float32) float32 {
	var s float32
	b = b[:len(a)]
	for k, x := range a {
		s += x * b[k]
	}
	return s
}

// transpose writes the transpose of src to dst, by squares that fit the first-level cache.
func transpose(threads int, dst, src matrix) {
	const side = 32
	tasks := (src.rows + side - 1) / side
	parallel(threads, tasks, func(_, task int) {
		lo := task * side
		hi := min(lo+side, src.rows)
		for j := 0; j < src.cols; j += side {
			for q := j; q < min(j+side, src.cols); q++ {
				to := dst.data[q*dst.stride:]
				for i := lo; i < hi; i++ {
					to[i] = src.data[i*src.stride+q]
				}
			}
		}
	})
}

// symmetrize replaces the leading n x n square M of m by M + M^T.
func symmetrize(m matrix, n int) {
	const side = 64
	for i0 := 0; i0 < n; i0 += side {
		for j0 := i0; j0 < n; j0 += side {
			for i := i0; i < min(i0+side, n); i++ {
				for j := max(j0, i); j < min(j0+side, n); j++ {
					s := m.data[i*m.stride+j] + m.data[j*m.stride+i]
					m.data[i*m.stride+j], m.data[j*m.stride+i] = s, s
				}
			}
		}
	}
}

// parallel calls work(thread, i) for every i in [0, n), on up to threads goroutines, and returns
// when all calls have returned. Tasks are taken in order; which thread gets which is not fixed.
func parallel(threads, n int, work func(thread, i int)) {
	threads = min(threads, n)
	if threads <= 1 {
		for i := range n {
			work(0, i)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for t := range threads {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(t, i)
			}
		})
	}
	all.Wait()
}
