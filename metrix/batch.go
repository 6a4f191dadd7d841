package metrix

import (
	"fmt"
	"math"
)

// Batch is the global batch of one step: the rows of all workers, in the same order everywhere.
type Batch struct {
	Embeddings []float32 // B x Dim, unit rows
	Labels     []int32   // B class numbers; with proxies, 0 <= label < C
	Dim        int
	Proxies    []float32 // C x Dim, raw: normalised inside; only for forms that use them
}

// Size returns B.
func (b Batch) Size() int { return len(b.Labels) }

// Classes returns C, the number of proxies.
func (b Batch) Classes() int { return len(b.Proxies) / max(b.Dim, 1) }

// Gradient receives gradients; Evaluate adds into it, so that ranges of anchors can be summed in
// place. A nil field is skipped; with both nil only the value is computed.
type Gradient struct {
	Embeddings []float32 // B x Dim
	Proxies    []float32 // C x Dim, by the raw proxies
}

// Value is a range of anchors' share of the loss of the global batch: the shares of ranges that
// cover all anchors add up to the loss.
type Value struct {
	Clean float64 // mean of l(a)
	Mixed float64 // mean of lm(a), before its weight w
	Total float64 // Clean + w Mixed
}

// Add returns the sum of two shares.
func (v Value) Add(u Value) Value {
	return Value{v.Clean + u.Clean, v.Mixed + u.Mixed, v.Total + u.Total}
}

// NumAnchors returns how many anchors the form has on a batch: B, or C where proxies are anchors.
func NumAnchors(f Form, b Batch) int {
	if f.Anchors == Proxy {
		return b.Classes()
	}
	return b.Size()
}

// unitTolerance is how far from 1 the norm of a row may be: rounding of half-precision engines
// stays below it, a forgotten normalisation does not.
const unitTolerance = 2e-2

// check refuses inputs whose shapes or values would make the result wrong.
func (b Batch) check(f Form, grad Gradient) error {
	if b.Dim < 1 {
		return fmt.Errorf("metrix: batch dimension is %d; it must be >= 1", b.Dim)
	}
	if len(b.Embeddings) != b.Size()*b.Dim {
		return fmt.Errorf("metrix: %d labels of dimension %d need %d embedding floats, got %d", b.Size(), b.Dim, b.Size()*b.Dim, len(b.Embeddings))
	}
	if grad.Embeddings != nil && len(grad.Embeddings) != len(b.Embeddings) {
		return fmt.Errorf("metrix: the embedding gradient has %d floats, the embeddings %d; they must be equal", len(grad.Embeddings), len(b.Embeddings))
	}
	for i := range b.Labels {
		norm := math.Sqrt(squared(b.Embeddings[i*b.Dim:][:b.Dim]))
		if math.IsNaN(norm) {
			return fmt.Errorf("metrix: embedding row %d is not a number; training has diverged, lower the learning rate or clip gradients", i)
		}
		if math.Abs(norm-1) > unitTolerance {
			return fmt.Errorf("metrix: embedding row %d has norm %v; rows must have unit length, call Normalize first", i, norm)
		}
	}
	if f.UsesProxies() {
		return b.checkProxies(f, grad)
	}
	return nil
}

func (b Batch) checkProxies(f Form, grad Gradient) error {
	classes := b.Classes()
	if classes == 0 || len(b.Proxies) != classes*b.Dim {
		return fmt.Errorf("metrix: loss form %s needs one proxy row of %d floats per class, got %d floats", f.Name, b.Dim, len(b.Proxies))
	}
	if grad.Proxies != nil && len(grad.Proxies) != len(b.Proxies) {
		return fmt.Errorf("metrix: the proxy gradient has %d floats, the proxies %d; they must be equal", len(grad.Proxies), len(b.Proxies))
	}
	for i, label := range b.Labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("metrix: label %d of row %d has no proxy; loss form %s was given %d proxies", label, i, f.Name, classes)
		}
	}
	for c := range classes {
		n := squared(b.Proxies[c*b.Dim:][:b.Dim])
		if !(n > 0) || math.IsInf(n, 1) {
			return fmt.Errorf("metrix: proxy %d has squared norm %v; it must be positive and finite", c, n)
		}
	}
	return nil
}

// squared returns the squared norm of a row.
func squared(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}
