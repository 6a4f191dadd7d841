package semi

import (
	"fmt"
	"math"
)

// truncation is the relative error at which Propagate stops.
const truncation = 1e-12

// Affinity holds the affinities of all pairs of N rows, from -1 (different) to 1 (the same). It is
// kept as a factor of N x C numbers, C being the classes that have labels in the batch.
type Affinity struct {
	labels []int32
	width  int       // C
	reach  []float64 // N x C: how much of the labels of each class arrives at a row
	mass   []float64 // N: their sum
}

// Propagate carries what the labels say about pairs of labelled rows along the graph to all pairs:
//
//	F = A W0 A^T,   A = (1-gamma) (I - gamma S)^-1,   W0[i,j] = 1, -1 or 0
//
// for labels that are equal, that differ, or of which one is unknown (negative). W0 is 2 Y Y^T - 1 1^T
// over labelled rows, Y their classes one-hot, so with H = A Y
//
//	F[i,j] = 2 SUM_c H[i,c] H[j,c] - SUM_c H[i,c] SUM_c H[j,c]
//
// and only A Y is needed: C right-hand sides, not N. They are solved by the Chebyshev iteration for
// the spectrum of I - gamma S, which lies in [1-gamma, 1+gamma]: a number of products with S that
// gamma alone decides (Iterations), no inner products, hence one order of summation. Gamma, how far
// labels reach, is in [0, 1); 0 carries nothing. It costs about 2 k N C multiply-adds an iteration.
func Propagate(g *Graph, labels []int32, gamma float64, threads int) (*Affinity, error) {
	n := g.Rows()
	if len(labels) != n {
		return nil, fmt.Errorf("semi: %d labels given for a graph of %d rows; unlabelled rows have label -1", len(labels), n)
	}
	if !(gamma >= 0 && gamma < 1) {
		return nil, fmt.Errorf("semi: the damping of the propagation is %v; it must be at least 0 and below 1", gamma)
	}
	a := &Affinity{labels: labels}
	columns := map[int32]int{}
	for _, label := range labels {
		if _, ok := columns[label]; label >= 0 && !ok {
			columns[label] = len(columns)
		}
	}
	a.width = len(columns)
	source := make([]float64, n*a.width)
	for i, label := range labels {
		if label >= 0 {
			source[i*a.width+columns[label]] = 1 - gamma
		}
	}
	a.reach = solve(g, source, a.width, gamma, threads)
	a.mass = make([]float64, n)
	for i := range n {
		for _, h := range a.reach[i*a.width : (i+1)*a.width] {
			a.mass[i] += h
		}
	}
	return a, nil
}

// Iterations returns the number of products with S that Propagate makes.
func Iterations(gamma float64) int {
	if gamma == 0 {
		return 0
	}
	rate := gamma / (1 + math.Sqrt(1-gamma*gamma))
	return int(math.Ceil(math.Log(truncation/2) / math.Log(rate)))
}

// solve returns x with (I - gamma S) x = b, of width columns, by the Chebyshev iteration (Golub and
// Varga 1961):
//
//	x <- omega (gamma S x + b - previous) + previous,   omega <- 1 / (1 - gamma^2 omega / 4)
func solve(g *Graph, b []float64, width int, gamma float64, threads int) []float64 {
	n := g.Rows()
	x, previous := append([]float64(nil), b...), make([]float64, len(b))
	omega := 1.0 // the first step, from x = b, has weight 1 and no predecessor
	for step := range Iterations(gamma) {
		if step == 1 {
			omega = 1 / (1 - gamma*gamma/2)
		} else if step > 1 {
			omega = 1 / (1 - gamma*gamma*omega/4)
		}
		parallel(threads, n, func(i int) {
			old := previous[i*width : (i+1)*width] // becomes row i of the next x
			for c := range old {
				old[c] = float64((1 - omega) * old[c])
				old[c] += float64(omega * b[i*width+c])
			}
			for e := g.start[i]; e < g.start[i+1]; e++ {
				scale := omega * gamma * g.weight[e]
				from := x[int(g.column[e])*width:][:width]
				for c, v := range from {
					old[c] += float64(scale * v)
				}
			}
		})
		x, previous = previous, x
	}
	return x
}

// Between returns the affinity of two rows: what their labels say if both are known, else F[i,j].
func (a *Affinity) Between(i, j int) float64 {
	if a.labels[i] >= 0 && a.labels[j] >= 0 {
		if a.labels[i] == a.labels[j] {
			return 1
		}
		return -1
	}
	return max(-1, min(a.Propagated(i, j), 1))
}

// Propagated returns F[i,j], also where both labels are known. It costs C multiply-adds.
func (a *Affinity) Propagated(i, j int) float64 {
	var same float64
	p, q := a.reach[i*a.width:(i+1)*a.width], a.reach[j*a.width:(j+1)*a.width]
	for c := range p {
		same += float64(p[c] * q[c])
	}
	return 2*same - float64(a.mass[i]*a.mass[j])
}
