package engine

// Comparer is a Net that evaluates a loss where its rows are made. What it gives is that of package
// metrix to within its own rounding, so the workers of a run either all compare there or none.
type Comparer interface {
	Net
	// Comparison prepares a loss. The error is the sentence why this Net does not compute it; the
	// caller evaluates it on the host then.
	Comparison(loss Loss) (Comparison, error)
}

// Comparison is a loss on a device. It is used like the Net that it is of, and ends with it.
type Comparison interface {
	// Begin takes the global batch of a step to the device, once for any number of Shares. Its slices
	// must stay as they are until the last of them. It checks sizes and indices alone.
	Begin(b Batch) error
	// Share returns the share of the anchors [lo, hi) in the two parts of the batch's loss, the mixed
	// one before its weight, and adds the gradient of clean + weight x mixed to grad. It depends on
	// the batch and the range alone, not on other shares. Anchors are rows of the batch, or proxies
	// where Loss.ProxyAnchors is set.
	Share(grad Gradients, lo, hi int) (clean, mixed float64, err error)
}

// Summer is a Comparison that sums gradients exactly (package internal/exact) where it computes them: what
// comes to the host is one block of integers a step instead of a block of floats a share.
type Summer interface {
	Comparison
	// Sum is Share, but every gradient is a summand, of n in the whole batch, of sums that begin with Begin.
	Sum(lo, hi, n int) (clean, mixed float64, err error)
	// Collect adds the sums to acc. The error is exact.ErrRange if a summand was too large; the sums are of
	// no more use then.
	Collect(acc Sums) error
}

// Sums are where exact sums are added to, in units of exact.Unit, as large as what they are by; nil ones are
// left out.
type Sums struct{ Rows, Proxies, Mixed []int64 }

// Loss names a loss of package metrix.
type Loss struct {
	Form            string             // as metrix.NewForm takes it
	Params          map[string]float64 // all of its constants, see metrix.Constants
	Reduction       string             // "paper", "nonzero" or "mean"
	ProxyAnchors    bool               // anchors are proxies instead of rows of the batch
	ProxyCandidates bool               // candidates are
	OverPresent     bool               // positives are averaged over the anchors that have any
}

// Batch is what is compared: the rows of all workers, in the same order everywhere.
type Batch struct {
	Rows    []float32 // B x Dim, unit rows
	Labels  []int32   // B class numbers
	Dim     int
	Proxies []float32 // C x Dim, raw, one for each class; nil for losses without
	Mix     Mix
}

// Mix is what a step mixes, of the fields of metrix.Mix those that a Comparison has.
type Mix struct {
	Weight         float64 // 0 for nothing
	AnchorNegative bool    // the anchor with every negative, instead of every positive with every negative
	Hardest        int     // negatives of an anchor that are mixed, 0 for all; not with Rows
	Lambda         float64
	PerPair        func(dst []float32, row int) // in place of Lambda, if not nil
	Rows           *MixedRows                   // nil where embeddings are mixed
}

// MixedRows are V mixed examples that went through the network. First and Second are rows of the batch.
type MixedRows struct {
	Rows          []float32 // V x Dim, unit rows
	First, Second []int32
	Lambda        []float32 // share of First
}

// Gradients are where a share's gradients are added to, as large as what they are by; nil ones are left
// out.
type Gradients struct{ Rows, Proxies, Mixed []float32 }
