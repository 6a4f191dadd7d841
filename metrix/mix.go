package metrix

import (
	"errors"
	"fmt"
	"math"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// PairType says which pairs M(a) of an anchor are mixed.
type PairType int

const (
	// PositiveNegative mixes every positive with every negative: P(a) x N(a).
	PositiveNegative PairType = iota
	// AnchorNegative mixes the anchor itself with every negative: {a} x N(a).
	AnchorNegative
)

// String returns the recipe's word for t.
func (t PairType) String() string {
	if t == AnchorNegative {
		return "anchor_negative"
	}
	return "positive_negative"
}

// Mix is what one step mixes. The zero value mixes nothing.
type Mix struct {
	// Weight is w in l + w lm; 0 skips mixing.
	Weight float64
	// Pairs is the type of pair of this step. Forms with proxies mix positives with negatives
	// whatever it says: a proxy is never mixed with an example.
	Pairs PairType
	// Hardest keeps, per anchor, the k negatives most similar to it; 0 keeps all. It restricts the
	// mixed part only. Ties go to the lower index in the batch.
	Hardest int
	// Lambda in [0, 1] is the share of the first row of every pair, and its label.
	Lambda float64
	// PerPair, if not nil, replaces Lambda: it fills dst[n] with the lambda of the pair (row, n),
	// in [0, 1], both indices in the global batch (or class numbers where the candidates are
	// proxies). It must be a pure function and is called from several goroutines.
	PerPair func(dst []float32, row int)
}

// MixConfig is a run's choice of mixing.
type MixConfig struct {
	Level   string  // "none" or "embed"
	Weight  float64 // w, >= 0
	Alpha   float64 // lambda ~ Beta(Alpha, Alpha), > 0
	Pairs   string  // "positive_negative", "anchor_negative" or "both": one of the two per step
	Per     string  // "step" or "pair": how often lambda is drawn
	Hardest int     // negatives per anchor that are mixed, 0 = all
}

// DefaultMixConfig returns the paper's setting at the embedding level: w = 0.4, lambda ~ Beta(2, 2)
// once per step, one of the two pair types per step, all negatives.
func DefaultMixConfig() MixConfig {
	return MixConfig{Level: "embed", Weight: 0.4, Alpha: 2, Pairs: "both", Per: "step"}
}

// Validate refuses what DrawMix cannot draw, with one sentence per mistake.
func (c MixConfig) Validate() error {
	var errs []error
	word := func(name, value string, valid ...string) {
		for _, v := range valid {
			if v == value {
				return
			}
		}
		errs = append(errs, fmt.Errorf("metrix: mix %s is %q; it must be one of %q", name, value, valid))
	}
	word("level", c.Level, "none", "embed")
	word("pairs", c.Pairs, "positive_negative", "anchor_negative", "both")
	word("per", c.Per, "step", "pair")
	if !(c.Weight >= 0) || math.IsInf(c.Weight, 1) {
		errs = append(errs, fmt.Errorf("metrix: mix weight is %v; it must be a finite number >= 0", c.Weight))
	}
	if !(c.Alpha > 0) || math.IsInf(c.Alpha, 1) {
		errs = append(errs, fmt.Errorf("metrix: mix alpha is %v; it must be a finite number > 0", c.Alpha))
	}
	if c.Hardest < 0 {
		errs = append(errs, fmt.Errorf("metrix: mix hardest is %d; it must be >= 0 (0 = all negatives)", c.Hardest))
	}
	return errors.Join(errs...)
}

// CheckMix refuses a mix that the form has no meaning for.
func CheckMix(f Form, c MixConfig) error {
	if f.UsesProxies() && c.Level != "none" && c.Pairs == "anchor_negative" {
		return fmt.Errorf("metrix: loss form %s mixes positives with negatives only; set mix pairs to positive_negative or both", f.Name)
	}
	return nil
}

// DrawMix returns the mix of one step: a function of (cfg, seed, step) alone, so that every worker
// draws the same. Lambda per pair is drawn for the ordered pair (row, n) of the global batch from
// the n-th value of the row's own generator: all anchors that use a pair see the same mix.
func DrawMix(cfg MixConfig, seed uint64, step run.Step) Mix {
	if cfg.Level == "none" {
		return Mix{}
	}
	m := Mix{Weight: cfg.Weight, Hardest: cfg.Hardest}
	switch cfg.Pairs {
	case "anchor_negative":
		m.Pairs = AnchorNegative
	case "both":
		m.Pairs = PairType(draw.Of(seed, draw.PairType, uint64(step)).IntN(2))
	}
	if cfg.Per == "pair" {
		m.PerPair = func(dst []float32, row int) {
			r := draw.Of(seed, draw.Lambda, uint64(step), uint64(row))
			for n := range dst {
				dst[n] = float32(r.Beta(cfg.Alpha, cfg.Alpha))
			}
		}
		return m
	}
	m.Lambda = draw.Of(seed, draw.Lambda, uint64(step)).Beta(cfg.Alpha, cfg.Alpha)
	return m
}
