package gorgonia

import (
	"fmt"
	"testing"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

var transposes = []blas.Transpose{blas.NoTrans, blas.Trans}

// The native routines give gonum's results for every transposition, with strides wider than the
// matrices.
func TestNativeBLAS(t *testing.T) {
	b := FindBLAS()
	if b.native == nil {
		t.Skip("no native BLAS on this machine: install libopenblas0-pthread to test it")
	}
	const m, n, k, pad = 7, 5, 9, 2
	r := draw.Of(2, draw.Test)
	for _, ta := range transposes {
		for _, tb := range transposes {
			lda, ldb := k+pad, n+pad
			if ta == blas.Trans {
				lda = m + pad
			}
			if tb == blas.Trans {
				ldb = k + pad
			}
			x, y, c := noise(r, 20*lda), noise(r, 20*ldb), noise(r, m*(n+pad))
			want, got := clone(c), clone(c)
			gonum.Implementation{}.Sgemm(ta, tb, m, n, k, 0.5, x, lda, y, ldb, 2, want, n+pad)
			b.Sgemm(ta, tb, m, n, k, 0.5, x, lda, y, ldb, 2, got, n+pad)
			assert.InDeltaSlice(t, want, got, 1e-5)

			x64, y64, want64, got64 := widen(x), widen(y), widen(c), widen(c)
			gonum.Implementation{}.Dgemm(ta, tb, m, n, k, 0.5, x64, lda, y64, ldb, 2, want64, n+pad)
			b.Dgemm(ta, tb, m, n, k, 0.5, x64, lda, y64, ldb, 2, got64, n+pad)
			assert.InDeltaSlice(t, want64, got64, 1e-12)
		}
		a, x, y := noise(r, m*(n+pad)), noise(r, m), noise(r, m)
		want, got := clone(y), clone(y)
		gonum.Implementation{}.Sgemv(ta, m, n, 0.5, a, n+pad, x, 1, 2, want, 1)
		b.Sgemv(ta, m, n, 0.5, a, n+pad, x, 1, 2, got, 1)
		assert.InDeltaSlice(t, want, got, 1e-5)
	}
}

// Matrices that do not fit their slices must not reach native code.
func TestBLASChecksExtents(t *testing.T) {
	b := FindBLAS()
	x := make([]float32, 12)
	for name, call := range map[string]func(){
		"short A":  func() { b.Sgemm(blas.NoTrans, blas.NoTrans, 3, 4, 4, 1, x[:11], 4, make([]float32, 16), 4, 0, x, 4) },
		"short B":  func() { b.Sgemm(blas.NoTrans, blas.Trans, 3, 4, 4, 1, x, 4, make([]float32, 15), 4, 0, x, 4) },
		"short C":  func() { b.Sgemm(blas.Trans, blas.NoTrans, 3, 4, 4, 1, x, 3, make([]float32, 16), 4, 0, x[:11], 4) },
		"stride":   func() { b.Sgemm(blas.NoTrans, blas.NoTrans, 3, 4, 4, 1, x, 3, make([]float32, 16), 4, 0, x, 4) },
		"vector":   func() { b.Sgemv(blas.NoTrans, 3, 4, 1, x, 4, x[:3], 1, 0, x[:3], 1) },
		"negative": func() { b.Sgemm(blas.NoTrans, blas.NoTrans, -1, 4, 4, 1, x, 4, x, 4, 0, x, 4) },
	} {
		assert.Panics(t, call, name)
	}
	assert.NotPanics(t, func() { b.Sgemm(blas.NoTrans, blas.NoTrans, 0, 4, 4, 1, nil, 4, make([]float32, 16), 4, 0, nil, 4) })
}

func TestDescription(t *testing.T) {
	assert.Contains(t, New().Description(), FindBLAS().String())
	assert.Contains(t, New(PureGo()).Description(), "gonum (Go)")
	assert.Equal(t, "gorgonia", New().Name())
}

func clone[T any](x []T) []T { return append([]T(nil), x...) }

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// BenchmarkSgemm multiplies matrices of conv4's second, third and fourth layer at 48 pixels.
func BenchmarkSgemm(b *testing.B) {
	for _, s := range [][3]int{{64, 144, 288}, {128, 36, 576}, {128, 36, 1152}} {
		for name, g := range map[string]gemm{"found": FindBLAS(), "go": BLAS{}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, s[0], s[1], s[2]), func(b *testing.B) {
				r := draw.Of(2, draw.Test)
				x, y, c := noise(r, s[0]*s[2]), noise(r, s[2]*s[1]), make([]float32, s[0]*s[1])
				for b.Loop() {
					g.Sgemm(blas.NoTrans, blas.NoTrans, s[0], s[1], s[2], 1, x, s[2], y, s[1], 0, c, s[1])
				}
				b.ReportMetric(2e-9*float64(s[0]*s[1]*s[2]*b.N)/b.Elapsed().Seconds(), "GFLOPS")
			})
		}
	}
}

func TestArenaClasses(t *testing.T) {
	for n := 1; n < 5000; n++ {
		c := class(n)
		require.GreaterOrEqual(t, c, n)
		require.LessOrEqual(t, c, max(64, n+n/8+1))
		require.Equal(t, c, class(c))
	}
}
