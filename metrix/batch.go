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

	// Memory holds M x Dim unit rows of earlier steps (cross-batch memory, Wang et al. 2020) and
	// MemoryLabels their classes. They are candidates of every anchor, positives or negatives like
	// rows of the batch, but no anchors, and get no gradient. They cost A x M x Dim multiply-adds
	// twice and A x M floats twice, A being the rows of the range's classes (or its proxies); they
	// are read in place, never copied.
	Memory       []float32
	MemoryLabels []int32
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
	Mixed      []float32 // V x Dim, by Mix.Rows.Embeddings; includes the weight w
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
	if err := checkUnit("embedding", b.Embeddings, b.Dim); err != nil {
		return err
	}
	if err := b.checkMemory(f); err != nil {
		return err
	}
	if f.UsesProxies() {
		return b.checkProxies(f, grad)
	}
	return nil
}

// checkUnit refuses rows that are not of unit length.
func checkUnit(what string, x []float32, dim int) error {
	for i := range len(x) / dim {
		norm := math.Sqrt(squared(x[i*dim:][:dim]))
		if math.IsNaN(norm) {
			return fmt.Errorf("metrix: %s row %d is not a number; training has diverged, lower the learning rate or clip gradients", what, i)
		}
		if math.Abs(norm-1) > unitTolerance {
			return fmt.Errorf("metrix: %s row %d has norm %v; rows must have unit length, call Normalize first", what, i, norm)
		}
	}
	return nil
}

func (b Batch) checkMemory(f Form) error {
	if len(b.Memory) != len(b.MemoryLabels)*b.Dim {
		return fmt.Errorf("metrix: %d memory labels of dimension %d need %d floats, got %d", len(b.MemoryLabels), b.Dim, len(b.MemoryLabels)*b.Dim, len(b.Memory))
	}
	if len(b.MemoryLabels) == 0 {
		return nil
	}
	if f.Candidates == Proxy {
		return fmt.Errorf("metrix: loss form %s compares examples with proxies only, so memory rows would not count; give it none", f.Name)
	}
	if f.Listwise != nil && f.Listwise.Between {
		return fmt.Errorf("metrix: loss form %s compares positives with negatives, which memory rows cannot be; give it none", f.Name)
	}
	return checkUnit("memory", b.Memory, b.Dim)
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
