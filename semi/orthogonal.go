package semi

import (
	"fmt"
	"math"
)

// minPivot is how small the part of a vector that is new to its predecessors may be, squared and
// relative to the vector: below, the matrix has lost a dimension and no retraction restores it.
const minPivot = 1e-12

// Retract puts the rows x cols matrix w, row-major, back on the Stiefel manifold: afterwards its rows
// are orthonormal, or its columns if it has more rows than columns. With the head's weights
// L^T = w (rows = d, cols = f features) this is L^T L = I. It is the QR retraction with a positive
// diagonal: vector i becomes what is new in it, normalised, so that a matrix which is orthonormal
// already stays where it is, and a small step is followed to first order.
//
// It is computed by Cholesky's factorisation of the Gram matrix, in float64 and in a fixed order:
// threads change no bit. Far from the manifold, as at the start, rounding is amplified by the squared
// condition of the matrix, and a second factorisation takes that away. With n the smaller side and m
// the larger it costs n^2 m multiply-adds (twice that from afar) and 8 n m bytes. A matrix without
// full rank is an error and stays as it was.
func Retract(w []float32, rows, cols, threads int) error {
	if err := checkMatrix(w, rows, cols); err != nil {
		return err
	}
	v := vectorsOf(w, rows, cols)
	for again := true; again; {
		g := v.gram(threads)
		r, err := g.cholesky()
		if err != nil {
			return err
		}
		v.divide(r, threads)
		again = !g.nearIdentity()
	}
	v.each(func(i, j, at int) { w[at] = float32(v.data[i*v.m+j]) })
	return nil
}

// Tangent makes grad, a gradient by the orthonormal matrix w, the Riemannian one:
//
//	grad <- grad - sym(grad w^T) w      (by columns if w has more rows than columns)
//
// what is left does not change the products of w's vectors to first order. A step of plain SGD
// along it, followed by Retract, is Riemannian gradient descent.
func Tangent(grad, w []float32, rows, cols, threads int) error {
	if err := checkMatrix(w, rows, cols); err != nil {
		return err
	}
	if len(grad) != len(w) {
		return fmt.Errorf("semi: the gradient of the weights has %d floats, the weights %d; they must be equal", len(grad), len(w))
	}
	v, d := vectorsOf(w, rows, cols), vectorsOf(grad, rows, cols)
	s := square{n: v.n, data: make([]float64, v.n*v.n)}
	parallel(threads, v.n, func(i int) {
		for j := range v.n {
			s.data[i*v.n+j] = 0.5 * (dot(d.row(i), v.row(j)) + dot(d.row(j), v.row(i)))
		}
	})
	d.subtract(s, v, 1, threads)
	d.each(func(i, j, at int) { grad[at] = float32(d.data[i*d.m+j]) })
	return nil
}

// Penalty is the soft form of the constraint: it returns weight |w w^T - I|^2 (Frobenius; w^T w if w
// has more rows than columns) and adds its gradient, 4 weight (w w^T - I) w, to grad unless that is
// nil.
func Penalty(grad, w []float32, rows, cols int, weight float64, threads int) (float64, error) {
	if err := checkMatrix(w, rows, cols); err != nil {
		return 0, err
	}
	if grad != nil && len(grad) != len(w) {
		return 0, fmt.Errorf("semi: the gradient of the weights has %d floats, the weights %d; they must be equal", len(grad), len(w))
	}
	v := vectorsOf(w, rows, cols)
	e := v.gram(threads)
	var sum float64
	for i := range e.n {
		e.data[i*e.n+i]--
		sum += dot(e.row(i), e.row(i))
	}
	if grad != nil {
		d := vectors{n: v.n, m: v.m, flipped: v.flipped, data: make([]float64, len(v.data))}
		d.subtract(e, v, -4*weight, threads)
		d.each(func(i, j, at int) { grad[at] += float32(d.data[i*d.m+j]) })
	}
	return weight * sum, nil
}

func checkMatrix(w []float32, rows, cols int) error {
	if rows < 1 || cols < 1 || len(w) != rows*cols {
		return fmt.Errorf("semi: %d floats are no matrix of %d x %d", len(w), rows, cols)
	}
	return nil
}

// vectors are the n rows of length m >= n of a matrix, or its columns (flipped), in float64.
type vectors struct {
	n, m    int
	flipped bool
	data    []float64
}

func vectorsOf(w []float32, rows, cols int) vectors {
	v := vectors{n: rows, m: cols, data: make([]float64, len(w))}
	if rows > cols {
		v = vectors{n: cols, m: rows, flipped: true, data: v.data}
	}
	v.each(func(i, j, at int) { v.data[i*v.m+j] = float64(w[at]) })
	return v
}

// each calls visit with every element of every vector and its place in the matrix.
func (v vectors) each(visit func(i, j, at int)) {
	for i := range v.n {
		for j := range v.m {
			at := i*v.m + j
			if v.flipped {
				at = j*v.n + i
			}
			visit(i, j, at)
		}
	}
}

func (v vectors) row(i int) []float64 { return v.data[i*v.m : (i+1)*v.m] }

// gram returns the products of all pairs of vectors.
func (v vectors) gram(threads int) square {
	s := square{n: v.n, data: make([]float64, v.n*v.n)}
	parallel(threads, v.n, func(i int) {
		for j := range i + 1 {
			s.data[i*v.n+j] = dot(v.row(i), v.row(j))
		}
	})
	for i := range v.n {
		for j := i + 1; j < v.n; j++ {
			s.data[i*v.n+j] = s.data[j*v.n+i]
		}
	}
	return s
}

// block is the number of columns that a goroutine of divide takes at once.
const block = 64

// divide makes v what it is in the basis of the lower triangle r: it solves r x = v.
func (v vectors) divide(r square, threads int) {
	parallel(threads, (v.m+block-1)/block, func(b int) {
		lo, hi := b*block, min((b+1)*block, v.m)
		for i := range v.n {
			x := v.row(i)[lo:hi]
			for k := range i {
				axpy(x, -r.data[i*r.n+k], v.row(k)[lo:hi])
			}
			scale := 1 / r.data[i*r.n+i]
			for j := range x {
				x[j] *= scale
			}
		}
	})
}

// subtract takes scale s u away from v.
func (v vectors) subtract(s square, u vectors, scale float64, threads int) {
	parallel(threads, v.n, func(i int) {
		for k, c := range s.row(i) {
			axpy(v.row(i), -scale*c, u.row(k))
		}
	})
}

// square is an n x n matrix.
type square struct {
	n    int
	data []float64
}

func (s square) row(i int) []float64 { return s.data[i*s.n : (i+1)*s.n] }

// nearIdentity reports whether s differs from I by less than 1/2 in its 2-norm, which its largest row
// sum bounds: the vectors' condition is then below 2.
func (s square) nearIdentity() bool {
	for i := range s.n {
		var sum float64
		for j, v := range s.row(i) {
			if i == j {
				v--
			}
			sum += math.Abs(v)
		}
		if sum >= 0.5 {
			return false
		}
	}
	return true
}

// cholesky returns the lower triangle r with r r^T = s.
func (s square) cholesky() (square, error) {
	r := square{n: s.n, data: make([]float64, len(s.data))}
	for i := range s.n {
		for j := range i {
			r.data[i*s.n+j] = (s.data[i*s.n+j] - dot(r.row(i)[:j], r.row(j)[:j])) / r.data[j*s.n+j]
		}
		length := s.data[i*s.n+i]
		pivot := length - dot(r.row(i)[:i], r.row(i)[:i])
		if !(pivot > minPivot*length) || math.IsInf(pivot, 1) {
			return square{}, fmt.Errorf("semi: vector %d of the matrix depends on those before it (or is not finite), "+
				"so it cannot be made orthogonal to them; training has diverged, lower the learning rate", i)
		}
		r.data[i*s.n+i] = math.Sqrt(pivot)
	}
	return r, nil
}

// dot sums in four chains, always the same.
func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var a, b, c, d float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a += float64(x[i] * y[i])
		b += float64(x[i+1] * y[i+1])
		c += float64(x[i+2] * y[i+2])
		d += float64(x[i+3] * y[i+3])
	}
	for ; i < len(x); i++ {
		a += float64(x[i] * y[i])
	}
	return (a + b) + (c + d)
}

// axpy adds c x to y.
func axpy(y []float64, c float64, x []float64) {
	x = x[:len(y)]
	for i := range y {
		y[i] += float64(c * x[i])
	}
}
