package semi

// Labelled returns the rows that have a label, ascending. Losses that know nothing of unlabelled rows
// see these alone: Gather makes their batch, Scatter takes its gradient back. In batches of
// sampler.Semi every shard has as many of them, so shard i of S has the same part of their list as it
// has of all rows: the anchors [n i/S, n (i+1)/S).
func Labelled(labels []int32) []int {
	var at []int
	for i, label := range labels {
		if label >= 0 {
			at = append(at, i)
		}
	}
	return at
}

// Gather writes row at[i] of src to row i of dst; a row has dim elements.
func Gather[T any](dst, src []T, at []int, dim int) {
	for i, row := range at {
		copy(dst[i*dim:(i+1)*dim], src[row*dim:(row+1)*dim])
	}
}

// Scatter adds row i of src to row at[i] of dst.
func Scatter(dst, src []float32, at []int, dim int) {
	for i, row := range at {
		to := dst[row*dim : (row+1)*dim]
		for c, v := range src[i*dim : (i+1)*dim] {
			to[c] += v
		}
	}
}
