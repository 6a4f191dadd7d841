package metrix

import (
	"fmt"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// The levels at which two examples are mixed, as a recipe names them. One operator does it at each
// (Operator); what differs is what it is applied to.
const (
	LevelNone    = "none"    // nothing is mixed
	LevelInput   = "input"   // images, before the trunk
	LevelFeature = "feature" // feature maps, between trunk and head
	LevelEmbed   = "embed"   // embeddings, after the head: no row is materialised
	LevelRandom  = "random"  // one of the three per step
)

// PairType says which pairs M(a) of an anchor are mixed.
type PairType int

const (
	// PositiveNegative mixes every positive with every negative: P(a) x N(a).
	PositiveNegative PairType = iota
	// AnchorNegative mixes the anchor itself with every negative: {a} x N(a).
	AnchorNegative
	// SameClass mixes every two rows of a class, on the chord rather than on the sphere, and the
	// mixes join the batch as anchors and candidates of that class. It is the similarity mixup of
	// the recall@k surrogate and of no other form.
	SameClass
)

// String returns the recipe's word for t.
func (t PairType) String() string {
	switch t {
	case AnchorNegative:
		return "anchor_negative"
	case SameClass:
		return "same_class"
	}
	return "positive_negative"
}

// Mix is what one step mixes. The zero value mixes nothing.
type Mix struct {
	// Level is where the step mixes, never LevelRandom. At LevelInput and LevelFeature Rows holds
	// what the network made of the mixed examples; empty means LevelEmbed.
	Level string
	// Weight is w in l + w lm; 0 skips mixing.
	Weight float64
	// Pairs is the type of pair of this step. Forms with proxies mix positives with negatives
	// whatever it says: a proxy is never mixed with an example.
	Pairs PairType
	// Hardest keeps, per anchor, the k negatives most similar to it; 0 keeps all. It restricts the
	// mixed part only. Ties go to the lower index in the batch. Where Rows is given its pairs have
	// been chosen before (ChoosePairs), and Hardest is what they are chosen with.
	Hardest int
	// Lambda in [0, 1] is the share of the first row of every pair, and its label.
	Lambda float64
	// PerPair, if not nil, replaces Lambda: it fills dst[n] with the lambda of the pair (row, n),
	// in [0, 1], both indices in the global batch (or class numbers where the candidates are
	// proxies; memory rows count on from the batch). It must be a pure function and is called from
	// several goroutines.
	PerPair func(dst []float32, row int)
	// Memory also mixes with the negatives in Batch.Memory, at LevelEmbed. Positives from the
	// memory are never mixed.
	Memory bool
	// Rows, if not nil, are the mixed examples; V(a) is taken from them and nothing is mixed here.
	Rows *MixedRows
}

// DrawMix returns the mix of one step: a function of (cfg, seed, step) alone, so that every worker
// draws the same. Lambda per pair is drawn for the ordered pair (row, n) of the global batch from
// the n-th value of the row's own generator: all anchors that use a pair see the same mix.
func DrawMix(cfg MixConfig, seed uint64, step run.Step) Mix {
	level := cfg.Level
	if level == LevelRandom {
		level = levels()[draw.Of(seed, draw.MixLevel, uint64(step)).IntN(len(levels()))]
	}
	if level == LevelNone {
		return Mix{Level: LevelNone}
	}
	c := cfg.At(level)
	m := Mix{Level: level, Weight: c.Weight, Hardest: c.Hardest, Memory: cfg.Memory && level == LevelEmbed}
	switch c.Pairs {
	case "anchor_negative":
		m.Pairs = AnchorNegative
	case "same_class":
		m.Pairs = SameClass
	case "both":
		m.Pairs = PairType(draw.Of(seed, draw.PairType, uint64(step)).IntN(2))
	}
	if c.Per == "pair" {
		m.PerPair = func(dst []float32, row int) {
			r := draw.Of(seed, draw.Lambda, uint64(step), uint64(row))
			for n := range dst {
				dst[n] = float32(r.Beta(c.Alpha, c.Alpha))
			}
		}
		return m
	}
	m.Lambda = draw.Of(seed, draw.Lambda, uint64(step)).Beta(c.Alpha, c.Alpha)
	return m
}

// PairsOf returns the type of pair that a form mixes in this step: Pairs, but positives with negatives
// where the form has proxies.
func (m Mix) PairsOf(f Form) PairType {
	if f.UsesProxies() {
		return PositiveNegative
	}
	return m.Pairs
}

// Lambdas returns the lambda of each pair (first[i], second[i]) of a batch of size rows, as the
// step has drawn it.
func (m Mix) Lambdas(size int, first, second []int32) []float32 {
	out := make([]float32, len(first))
	var drawn []float32
	row := int32(-1)
	for i := range out {
		if m.PerPair == nil {
			out[i] = float32(m.Lambda)
			continue
		}
		if drawn == nil || first[i] != row {
			drawn, row = resize(drawn, size), first[i]
			m.PerPair(drawn, int(row))
		}
		out[i] = drawn[second[i]]
	}
	return out
}

// CheckMix refuses a mix that the form has no meaning for.
func CheckMix(f Form, c MixConfig) error {
	for _, level := range c.levels() {
		if err := f.checkPairs(level, c.At(level)); err != nil {
			return err
		}
	}
	if c.Memory && f.Candidates == Proxy {
		return fmt.Errorf("metrix: loss form %s compares with proxies and has no memory to mix with; set mix memory to false", f.Name)
	}
	return nil
}

func (f Form) checkPairs(level string, c LevelConfig) error {
	if f.Virtual {
		if level != LevelEmbed || c.Pairs != "same_class" || c.Weight != 1 {
			return fmt.Errorf("metrix: loss form %s mixes similarities of the same class only, and the mixes count as any row; "+
				"set mix level to embed, pairs to same_class and weight to 1", f.Name)
		}
		return nil
	}
	if c.Pairs == "same_class" {
		return fmt.Errorf("metrix: mix pairs same_class belongs to loss form recall_at_k; "+
			"loss form %s needs positive_negative, anchor_negative or both", f.Name)
	}
	if f.Listwise != nil && !f.Listwise.Soft {
		return fmt.Errorf("metrix: loss form %s weighs a positive against a negative and has no meaning for a row that is both; set mix level to none", f.Name)
	}
	if f.UsesProxies() && c.Pairs == "anchor_negative" {
		return fmt.Errorf("metrix: loss form %s mixes positives with negatives only; set mix pairs to positive_negative or both", f.Name)
	}
	return nil
}
