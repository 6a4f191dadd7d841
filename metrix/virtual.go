package metrix

// virtual is the batch that SameClass mixing adds its mixes to: row i, then the mixes of i with
// every later row of its class, then row i+1 and so on, so that a range of anchors of the batch is
// a range of the enlarged one.
//
//	batch      0        1     2           rows 0 and 2 of one class
//	enlarged   0  0&2   1     2
//
// A mix is lam x_i + (1-lam) x_j and is not put back on the sphere: its similarity to anything is
// the mix of theirs, which is what the recall@k surrogate calls similarity mixup. It is an anchor
// and a candidate of its class like any other row, its two makers among its positives. The loss is
// the mean over the enlarged batch, K (K-1)/2 rows more for a class of K.
type virtual struct {
	operator        Operator
	starts          []int // first row of each row of the batch; one more at the end
	embeddings      []float32
	gradient        []float32
	labels          []int32
	lambda          []float32
	groups          map[int32][]int32
	firsts, seconds []int32
}

// build lists the rows of the enlarged batch.
func (v *virtual) build(b Batch, mix Mix) {
	if v.groups == nil {
		v.groups = map[int32][]int32{}
	}
	clear(v.groups)
	for i, class := range b.Labels {
		v.groups[class] = append(v.groups[class], int32(i))
	}
	v.firsts, v.seconds = v.firsts[:0], v.seconds[:0]
	v.starts, v.labels = resize(v.starts, b.Size()+1), v.labels[:0]
	for i, class := range b.Labels {
		v.starts[i] = len(v.labels)
		for _, j := range v.groups[class] {
			if int(j) < i {
				continue
			}
			v.firsts, v.seconds = append(v.firsts, int32(i)), append(v.seconds, j)
			v.labels = append(v.labels, class)
		}
	}
	v.starts[b.Size()] = len(v.labels)
	v.lambda = mix.Lambdas(b.Size(), v.firsts, v.seconds)
	v.operator = v.operator[:0]
	for n, i := range v.firsts {
		lambda := v.lambda[n]
		if i == v.seconds[n] {
			lambda = 1
		}
		v.operator = append(v.operator, Pair{i, v.seconds[n], lambda})
	}
}

// evaluateVirtual evaluates the anchors [lo, hi) and their mixes in the enlarged batch.
func (l *Loss) evaluateVirtual(grad Gradient, b Batch, mix Mix, lo, hi int) Value {
	v := &l.virtual
	v.build(b, mix)
	n := len(v.labels) * b.Dim
	v.embeddings = resize(v.embeddings, n)
	v.operator.Apply(v.embeddings, b.Embeddings, b.Dim)
	large := b
	large.Embeddings, large.Labels = v.embeddings, v.labels
	inner := Gradient{}
	if grad.Embeddings != nil {
		v.gradient = resize(v.gradient, n)
		clear(v.gradient)
		inner.Embeddings = v.gradient
	}
	value := l.evaluate(inner, large, Mix{}, v.starts[lo], v.starts[hi])
	if grad.Embeddings != nil {
		v.operator.Transpose(grad.Embeddings, v.gradient, b.Dim)
	}
	return value
}
