package metrix

import (
	"fmt"
	"slices"
)

// PairChoice says which pairs of the batch are mixed before or inside the network.
type PairChoice struct {
	// Hardest is how many negatives each row is mixed with, its most similar ones; >= 1.
	Hardest int
	// Blocks, if above 1, divides the rows into as many equal parts, in order, and chooses the
	// negatives of a row from its own part: partners that need not travel. It changes what is
	// learnt: the hardest negatives of a part are not those of the batch.
	Blocks int
	// Threads is the number of goroutines, >= 1; it changes no pair.
	Threads int
}

// ChoosePairs returns the pairs to mix: for every row of the batch, in their order, the row with
// each of its Hardest most similar negatives, hardest first, ties to the lower index; Hardest x B
// pairs, fewer where a row has fewer negatives. They serve both pair types, as an anchor uses the
// pairs of its positives or its own (MixedRows), and every form, proxies taking no part. (An
// anchor's own hardest negatives are thus those of the row that is mixed, not of the anchor, which
// is what lets one mixed row serve all anchors of its class.)
//
// The choice is a function of the rows' bits alone: similarities are ranked in float64, where
// products of float32 are exact, so that ranks on different processors choose the same. It costs
// B^2 Dim multiply-adds in float32 and memory for a block of 48 rows of similarities a thread.
func ChoosePairs(b Batch, c PairChoice) (first, second []int32, err error) {
	if err := checkChoice(b, c); err != nil {
		return nil, nil, err
	}
	size, blocks := b.Size(), max(c.Blocks, 1)
	chosen := make([]int32, size*c.Hardest)
	x := dense(b.Embeddings, size, b.Dim)
	const rows = 48
	part := size / blocks
	perBlock := (part + rows - 1) / rows
	scores := make([][]float32, c.Threads)
	heaps := make([]scratch, c.Threads)
	parallel(c.Threads, blocks*perBlock, func(thread, task int) {
		from := task / perBlock * part
		lo := from + task%perBlock*rows
		hi := min(lo+rows, from+part)
		s := claim(&scores[thread], hi-lo, part)
		clear(s.data)
		slice := matrix{x.data[from*x.stride:], part, x.cols, x.stride}
		multiply(1, s, matrix{x.data[lo*x.stride:], hi - lo, x.cols, x.stride}, slice)
		for i := lo; i < hi; i++ {
			chooseRow(chosen[i*c.Hardest:][:c.Hardest], &heaps[thread], b, i, from, s.row(i-lo))
		}
	})
	for i := range size {
		for _, j := range chosen[i*c.Hardest:][:c.Hardest] {
			if j >= 0 {
				first, second = append(first, int32(i)), append(second, j)
			}
		}
	}
	return first, second, nil
}

func checkChoice(b Batch, c PairChoice) error {
	if c.Hardest < 1 {
		return fmt.Errorf("metrix: the %d hardest negatives of each row are to be mixed; it must be >= 1 where every pair goes through the network", c.Hardest)
	}
	if c.Threads < 1 {
		return fmt.Errorf("metrix: threads is %d; it must be >= 1", c.Threads)
	}
	if c.Blocks < 0 || b.Size()%max(c.Blocks, 1) != 0 {
		return fmt.Errorf("metrix: %d rows cannot be divided into %d equal blocks; choose a number that divides them", b.Size(), c.Blocks)
	}
	if b.Dim < 1 || len(b.Embeddings) != b.Size()*b.Dim {
		return fmt.Errorf("metrix: %d labels of dimension %d do not fit %d embedding floats", b.Size(), b.Dim, len(b.Embeddings))
	}
	return checkUnit("embedding", b.Embeddings, b.Dim)
}

// chooseRow writes the hardest negatives of row i among the rows from, from+1, ... whose float32
// similarities are s, and -1 where there are no more. A similarity in float32 is off by at most
// slack, so whatever belongs to the k hardest lies within twice that of the k-th in float32.
func chooseRow(dst []int32, sc *scratch, b Batch, i, from int, s []float32) {
	slack := float32(b.Dim+2) / (1 << 23)
	sc.heap = sc.heap[:0]
	for j, x := range s {
		if b.Labels[from+j] != b.Labels[i] {
			sc.keep(hit{x, j, from + j}, len(dst))
		}
	}
	for k := range dst {
		dst[k] = -1
	}
	if len(sc.heap) == 0 {
		return
	}
	type exact struct {
		similarity float64
		index      int32
	}
	var near []exact
	row := func(j int) []float32 { return b.Embeddings[j*b.Dim:][:b.Dim] }
	least := sc.heap[0].similarity - 2*slack
	for j, x := range s {
		if x >= least && b.Labels[from+j] != b.Labels[i] {
			near = append(near, exact{dot64(row(i), row(from+j)), int32(from + j)})
		}
	}
	slices.SortStableFunc(near, func(a, b exact) int {
		switch {
		case a.similarity > b.similarity:
			return -1
		case a.similarity < b.similarity:
			return 1
		}
		return 0
	})
	for k := range min(len(dst), len(near)) {
		dst[k] = near[k].index
	}
}
