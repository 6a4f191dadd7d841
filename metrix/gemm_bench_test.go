package metrix

import "testing"

// BenchmarkMultiply reports the speed of the blocked product on one core.
func BenchmarkMultiply(b *testing.B) {
	const m, n, k = 256, 512, 1024
	x, y, z := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	for i := range y {
		y[i] = float32(i%5) - 2
	}
	for b.Loop() {
		multiply(1, dense(z, m, n), dense(x, m, k), dense(y, n, k))
	}
	b.ReportMetric(2*m*n*k*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
}
