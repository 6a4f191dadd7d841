package semi

import (
	"fmt"
	"slices"
)

// Config chooses the loss of mined triplets.
type Config struct {
	Neighbors int     // k of the graph and of the mining, >= 2
	Damping   float64 // gamma of the propagation, in [0, 1)
	Form      string  // Angular or Margin
	Angle     float64 // alpha of Angular, in degrees, in (0, 90)
	Margin    float64 // m of Margin, a distance of unit rows, >= 0
	Signed    bool    // positives must have an affinity above 0, negatives below
}

// DefaultConfig returns the margin loss on 10 neighbours by halves, gamma = 0.5: what did best with
// few labels on synthetic data (docs/semi.md). The paper's loss is Angular, here at 45 degrees.
func DefaultConfig() Config {
	return Config{Neighbors: 10, Damping: 0.5, Form: Margin, Angle: 45, Margin: 0.2}
}

// Validate reports the first impossible value as a sentence.
func (c Config) Validate() error {
	switch {
	case c.Neighbors < 2:
		return fmt.Errorf("semi: triplets are mined among %d neighbours; there must be at least 2, one to attract and one to repel", c.Neighbors)
	case !(c.Damping >= 0 && c.Damping < 1):
		return fmt.Errorf("semi: the damping of the propagation is %v; it must be at least 0 and below 1", c.Damping)
	}
	_, err := newConstraint(c)
	return err
}

// Loss is the mean loss of the triplets mined from one batch: Prepare mines, Evaluate returns shares
// of ranges of anchors. It is used by one goroutine at a time.
type Loss struct {
	cfg      Config
	threads  int
	form     constraint
	rows     []float32 // of the prepared batch
	dim      int
	triplets []Triplet
	gradient []float64 // workspace of Evaluate
}

// New returns the loss that c describes; threads >= 1 changes no bit.
func New(c Config, threads int) (*Loss, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	form, err := newConstraint(c)
	if err != nil {
		return nil, err
	}
	return &Loss{cfg: c, threads: max(threads, 1), form: form}, nil
}

// Prepare mines the triplets of a batch of unit rows, N x dim, where labels[i] < 0 says that row i
// has none. Rows are kept, not copied, until the next call. A batch of k or fewer rows is joined
// completely. Every worker that holds the same rows mines the same triplets.
func (l *Loss) Prepare(rows []float32, labels []int32, dim int) error {
	l.rows, l.dim, l.triplets = rows, dim, nil
	if len(labels)*dim != len(rows) {
		return fmt.Errorf("semi: %d labels of dimension %d need %d floats, got %d", len(labels), dim, len(labels)*dim, len(rows))
	}
	if len(labels) < 3 {
		return nil // no triplets
	}
	g, err := NewGraph(rows, dim, min(l.cfg.Neighbors, len(labels)-1), l.threads)
	if err != nil {
		return err
	}
	a, err := Propagate(g, labels, l.cfg.Damping, l.threads)
	if err != nil {
		return err
	}
	l.triplets = Mine(g, a, l.cfg.Signed)
	return nil
}

// Triplets returns what Prepare has mined, ordered by anchor.
func (l *Loss) Triplets() []Triplet { return l.triplets }

// Evaluate returns the share of the anchors [lo, hi) in
//
//	weight x mean over all triplets of the batch
//
// (0 without triplets) and adds its gradient by all rows to grad, N x dim, unless grad is nil. Values
// and gradients of ranges that cover all rows sum to the whole. Triplets count as constants: neither
// graph nor affinities are differentiated. A share is summed in float64 in the order of the triplets
// and rounded once.
func (l *Loss) Evaluate(grad []float32, lo, hi int, weight float64) (float64, error) {
	n := len(l.rows) / max(l.dim, 1)
	if lo < 0 || hi < lo || hi > n {
		return 0, fmt.Errorf("semi: anchors [%d, %d) are no range of the %d rows that Prepare was given", lo, hi, n)
	}
	if grad != nil && len(grad) != len(l.rows) {
		return 0, fmt.Errorf("semi: the gradient has %d floats, the rows %d; they must be equal", len(grad), len(l.rows))
	}
	own := l.triplets[l.firstOf(lo):l.firstOf(hi)]
	if len(own) == 0 || weight == 0 {
		return 0, nil
	}
	scale := weight / float64(len(l.triplets))
	if grad == nil {
		return scale * l.sum(nil, own, 0), nil
	}
	l.gradient = slices.Grow(l.gradient[:0], len(grad))[:len(grad)]
	clear(l.gradient)
	value := scale * l.sum(l.gradient, own, scale)
	for i, v := range l.gradient {
		grad[i] += float32(v)
	}
	return value, nil
}

// firstOf returns the index of the first triplet whose anchor is not below a row.
func (l *Loss) firstOf(row int) int {
	at, _ := slices.BinarySearchFunc(l.triplets, row, func(t Triplet, row int) int { return int(t.Anchor) - row })
	return at
}

// sum returns the loss of triplets and adds scale times its gradient.
func (l *Loss) sum(grad []float64, triplets []Triplet, scale float64) float64 {
	row := func(i int32) []float32 { return l.rows[int(i)*l.dim:][:l.dim] }
	by := func(i int32) []float64 {
		if grad == nil {
			return nil
		}
		return grad[int(i)*l.dim:][:l.dim]
	}
	var value float64
	for _, t := range triplets {
		value += l.form(by(t.Anchor), by(t.Positive), by(t.Negative), row(t.Anchor), row(t.Positive), row(t.Negative), scale)
	}
	return value
}
