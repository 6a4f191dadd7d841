package semi

import (
	"fmt"
	"math"
	"sync"
)

// Graph is the symmetric graph of the k nearest neighbours of N rows.
type Graph struct {
	// Neighbors[i*K:(i+1)*K] are the rows nearest to row i, nearest first; ties go to the lower row.
	Neighbors []int32
	K         int
	// Width is sigma^2 of the weights, the mean squared distance of a row to its neighbours.
	Width float64

	// The symmetrically normalised weights S = D^-1/2 W D^-1/2, row i in [start[i], start[i+1]),
	// columns ascending.
	start  []int
	column []int32
	weight []float64
}

// NewGraph joins each of the N x dim rows with its k nearest others by Euclidean distance (of unit
// rows: by cosine), 1 <= k < N. An edge is there if either end chose the other; its weight is
//
//	W[i,j] = exp( -|x_i - x_j|^2 / sigma^2 )
//
// where sigma^2 is the mean over all chosen edges, so that the graph does not change when all
// distances are scaled: embeddings are close together at the start of a run and spread later. Rows
// are compared in float64 in a fixed order; threads change no bit. It costs N^2 dim / 2
// multiply-adds and 8 N^2 bytes while it runs.
func NewGraph(rows []float32, dim, k, threads int) (*Graph, error) {
	if dim < 1 || len(rows)%dim != 0 {
		return nil, fmt.Errorf("semi: %d floats are no rows of dimension %d", len(rows), dim)
	}
	n := len(rows) / dim
	if k < 1 || k >= n {
		return nil, fmt.Errorf("semi: %d neighbours of each of %d rows asked for; there must be at least 1 and fewer than rows", k, n)
	}
	distances := squaredDistances(rows, n, dim, threads)
	for _, d := range distances {
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return nil, fmt.Errorf("semi: a row is not finite; training has diverged, lower the learning rate or clip gradients")
		}
	}
	g := &Graph{Neighbors: make([]int32, n*k), K: k}
	parallel(threads, n, func(i int) { nearest(g.Neighbors[i*k:(i+1)*k], distances[i*n:(i+1)*n], i) })
	for i := range n {
		for _, j := range g.of(i) {
			g.Width += distances[i*n+int(j)]
		}
	}
	g.Width /= float64(n * k)
	g.connect(distances, n)
	return g, nil
}

// Rows returns N.
func (g *Graph) Rows() int { return len(g.Neighbors) / g.K }

// of returns the neighbours that row i chose.
func (g *Graph) of(i int) []int32 { return g.Neighbors[i*g.K : (i+1)*g.K] }

// squaredDistances returns the n x n squared distances. Each is computed once, so the matrix is
// symmetric to the bit.
func squaredDistances(rows []float32, n, dim, threads int) []float64 {
	d := make([]float64, n*n)
	parallel(threads, n, func(i int) {
		x := rows[i*dim : (i+1)*dim]
		for j := range i {
			d[i*n+j] = squaredDistance(x, rows[j*dim:(j+1)*dim])
		}
	})
	parallel(threads, n, func(i int) {
		for j := i + 1; j < n; j++ {
			d[i*n+j] = d[j*n+i]
		}
	})
	return d
}

// squaredDistance sums in four chains, always the same. The conversions keep a compiler from fusing
// product and sum, which some architectures do.
func squaredDistance(x, y []float32) float64 {
	y = y[:len(x)]
	var s [4]float64
	for i := range x {
		d := float64(x[i]) - float64(y[i])
		s[i&3] += float64(d * d)
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// nearest fills dst with the len(dst) smallest entries of distances other than self, in order.
func nearest(dst []int32, distances []float64, self int) {
	count := 0
	for j, d := range distances {
		if j == self || count == len(dst) && d >= distances[dst[count-1]] {
			continue
		}
		count = min(count+1, len(dst))
		at := count - 1
		for ; at > 0 && d < distances[dst[at-1]]; at-- {
			dst[at] = dst[at-1]
		}
		dst[at] = int32(j)
	}
}

// connect builds the normalised weights.
func (g *Graph) connect(distances []float64, n int) {
	edge := make([]bool, n*n)
	for i := range n {
		for _, j := range g.of(i) {
			edge[i*n+int(j)], edge[int(j)*n+i] = true, true
		}
	}
	g.start = make([]int, 1, n+1)
	root := make([]float64, n) // 1/sqrt(degree)
	for i := range n {
		var degree float64
		for j := range n {
			if !edge[i*n+j] {
				continue
			}
			w := 1.0 // where all rows coincide
			if g.Width > 0 {
				w = math.Exp(-distances[i*n+j] / g.Width)
			}
			degree += w
			g.column, g.weight = append(g.column, int32(j)), append(g.weight, w)
		}
		g.start = append(g.start, len(g.column))
		if degree > 0 { // weights of a row far from everything may be 0
			root[i] = 1 / math.Sqrt(degree)
		}
	}
	for i := range n {
		for e := g.start[i]; e < g.start[i+1]; e++ {
			g.weight[e] *= root[i] * root[g.column[e]]
		}
	}
}

// parallel calls work(0) ... work(n-1), each once, from up to threads goroutines, and waits. Work
// that grows with i is dealt evenly.
func parallel(threads, n int, work func(i int)) {
	threads = min(threads, n)
	if threads <= 1 {
		for i := range n {
			work(i)
		}
		return
	}
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() {
			for i := t; i < n; i += threads {
				work(i)
			}
		})
	}
	wg.Wait()
}
