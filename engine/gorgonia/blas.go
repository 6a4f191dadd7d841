package gorgonia

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	gg "gorgonia.org/gorgonia"
)

// BLAS is a gg.BLAS whose matrix products run in a native library if one was found, and in gonum's
// Go code if not. The zero value is gonum's.
//
// The library is loaded when the program runs, without cgo. It is told to use one thread, because
// the engine runs several products at once instead, which scales better and gives the same bits for
// any number of threads.
type BLAS struct {
	gonum.Implementation
	native *native
}

// native holds the functions of a loaded library; cblas passes matrices by row.
type native struct {
	path string

	sgemm func(order, ta, tb, m, n, k int32, alpha float32, a unsafe.Pointer, lda int32, b unsafe.Pointer, ldb int32, beta float32, c unsafe.Pointer, ldc int32)
	dgemm func(order, ta, tb, m, n, k int32, alpha float64, a unsafe.Pointer, lda int32, b unsafe.Pointer, ldb int32, beta float64, c unsafe.Pointer, ldc int32)
	sgemv func(order, t, m, n int32, alpha float32, a unsafe.Pointer, lda int32, x unsafe.Pointer, incX int32, beta float32, y unsafe.Pointer, incY int32)
}

// FindBLAS returns the BLAS of this machine. The search is done once per process.
func FindBLAS() BLAS { return found() }

var found = sync.OnceValue(func() BLAS { return BLAS{native: load()} })

// useGorgonia gives the BLAS to Gorgonia's own matrix products, which have one for the process.
var useGorgonia = sync.OnceFunc(func() { gg.Use(FindBLAS()) })

// String says which library does the matrix products.
func (b BLAS) String() string {
	if b.native == nil {
		return "gonum (Go); install libopenblas0-pthread for a faster one"
	}
	return "OpenBLAS (" + b.native.path + ")"
}

const rowMajor = 101

// order translates gonum's names of transposition into cblas numbers.
func order(t blas.Transpose) int32 {
	switch t {
	case blas.NoTrans:
		return 111
	case blas.Trans:
		return 112
	default:
		return 113
	}
}

// extent panics, as gonum does, if a matrix of r rows of c with leading dimension ld does not fit
// into n elements: native code would read past the end.
func extent(name string, r, c, ld, n int) {
	if ld < max(1, c) || (r > 0 && n < (r-1)*ld+c) {
		panic(fmt.Sprintf("blas: matrix %s of %d x %d with stride %d does not fit into %d elements", name, r, c, ld, n))
	}
}

func gemmExtents(ta, tb blas.Transpose, m, n, k, lda, ldb, ldc, na, nb, nc int) {
	if ta == blas.NoTrans {
		extent("A", m, k, lda, na)
	} else {
		extent("A", k, m, lda, na)
	}
	if tb == blas.NoTrans {
		extent("B", k, n, ldb, nb)
	} else {
		extent("B", n, k, ldb, nb)
	}
	extent("C", m, n, ldc, nc)
}

// Sgemm computes C = alpha op(A) op(B) + beta C, where op(A) is m x k and op(B) k x n.
func (b BLAS) Sgemm(ta, tb blas.Transpose, m, n, k int, alpha float32, x []float32, ldx int, y []float32, ldy int, beta float32, c []float32, ldc int) {
	if b.native == nil || m <= 0 || n <= 0 || k <= 0 {
		b.Implementation.Sgemm(ta, tb, m, n, k, alpha, x, ldx, y, ldy, beta, c, ldc)
		return
	}
	gemmExtents(ta, tb, m, n, k, ldx, ldy, ldc, len(x), len(y), len(c))
	b.native.sgemm(rowMajor, order(ta), order(tb), int32(m), int32(n), int32(k), alpha,
		unsafe.Pointer(&x[0]), int32(ldx), unsafe.Pointer(&y[0]), int32(ldy), beta, unsafe.Pointer(&c[0]), int32(ldc))
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	runtime.KeepAlive(c)
}

// Dgemm is Sgemm in double precision.
func (b BLAS) Dgemm(ta, tb blas.Transpose, m, n, k int, alpha float64, x []float64, ldx int, y []float64, ldy int, beta float64, c []float64, ldc int) {
	if b.native == nil || m <= 0 || n <= 0 || k <= 0 {
		b.Implementation.Dgemm(ta, tb, m, n, k, alpha, x, ldx, y, ldy, beta, c, ldc)
		return
	}
	gemmExtents(ta, tb, m, n, k, ldx, ldy, ldc, len(x), len(y), len(c))
	b.native.dgemm(rowMajor, order(ta), order(tb), int32(m), int32(n), int32(k), alpha,
		unsafe.Pointer(&x[0]), int32(ldx), unsafe.Pointer(&y[0]), int32(ldy), beta, unsafe.Pointer(&c[0]), int32(ldc))
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	runtime.KeepAlive(c)
}

// Sgemv computes y = alpha op(A) x + beta y, where A is m x n.
func (b BLAS) Sgemv(t blas.Transpose, m, n int, alpha float32, a []float32, lda int, x []float32, incX int, beta float32, y []float32, incY int) {
	if b.native == nil || m <= 0 || n <= 0 || incX != 1 || incY != 1 {
		b.Implementation.Sgemv(t, m, n, alpha, a, lda, x, incX, beta, y, incY)
		return
	}
	extent("A", m, n, lda, len(a))
	lenX, lenY := n, m
	if t != blas.NoTrans {
		lenX, lenY = m, n
	}
	extent("x", 1, lenX, lenX, len(x))
	extent("y", 1, lenY, lenY, len(y))
	b.native.sgemv(rowMajor, order(t), int32(m), int32(n), alpha, unsafe.Pointer(&a[0]), int32(lda),
		unsafe.Pointer(&x[0]), 1, beta, unsafe.Pointer(&y[0]), 1)
	runtime.KeepAlive(a)
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
}
