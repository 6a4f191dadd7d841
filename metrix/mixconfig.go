package metrix

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// LevelConfig is how examples are mixed at one level.
type LevelConfig struct {
	Weight  float64 // w, >= 0
	Alpha   float64 // lambda ~ Beta(Alpha, Alpha), > 0; 1 is uniform
	Pairs   string  // "positive_negative", "anchor_negative", "both" (one of the two per step) or "same_class"
	Per     string  // "step" or "pair": how often lambda is drawn
	Hardest int     // negatives per row that are mixed; 0 = all, at the embedding level only
}

// MixConfig is a run's choice of mixing. Its own five settings hold at every level that has none of
// its own in Input, Feature or Embed.
type MixConfig struct {
	Level   string // "none", "input", "feature", "embed" or "random"
	Weight  float64
	Alpha   float64
	Pairs   string
	Per     string
	Hardest int

	// Input, Feature and Embed, where not nil, replace the five settings at their level.
	Input, Feature, Embed *LevelConfig
	// Memory also mixes with memory rows (Mix.Memory), at the embedding level.
	Memory bool
}

// DefaultMixConfig returns the paper's setting at the embedding level: w = 0.4, lambda ~ Beta(2, 2)
// once per step, one of the two pair types per step, all negatives.
func DefaultMixConfig() MixConfig {
	return MixConfig{Level: LevelEmbed, Weight: 0.4, Alpha: 2, Pairs: "both", Per: "step"}
}

// DefaultLevelConfig returns the paper's setting at a level: that of DefaultMixConfig, with the one
// hardest negative of each row where mixed examples go through the network. (The authors mix all
// negatives of feature maps on one machine; between machines every map is a transfer.)
func DefaultLevelConfig(level string) LevelConfig {
	c := DefaultMixConfig().At(LevelEmbed)
	if level != LevelEmbed {
		c.Hardest = 1
	}
	return c
}

// At returns the settings that hold at a level.
func (c MixConfig) At(level string) LevelConfig {
	own := map[string]*LevelConfig{LevelInput: c.Input, LevelFeature: c.Feature, LevelEmbed: c.Embed}[level]
	if own != nil {
		return *own
	}
	return LevelConfig{Weight: c.Weight, Alpha: c.Alpha, Pairs: c.Pairs, Per: c.Per, Hardest: c.Hardest}
}

// levels are those of which LevelRandom draws one, in the order of the draw.
func levels() []string { return []string{LevelInput, LevelFeature, LevelEmbed} }

// levels returns those at which c may mix.
func (c MixConfig) levels() []string {
	if c.Level == LevelRandom {
		return levels()
	}
	if slices.Contains(levels(), c.Level) {
		return []string{c.Level}
	}
	return nil
}

// Validate refuses what DrawMix cannot draw, with one sentence per mistake.
func (c MixConfig) Validate() error {
	var errs []error
	errs = word(errs, "mix level", c.Level, LevelNone, LevelInput, LevelFeature, LevelEmbed, LevelRandom)
	errs = c.At("").validate(errs, "mix")
	for _, l := range levels() {
		if own := map[string]*LevelConfig{LevelInput: c.Input, LevelFeature: c.Feature, LevelEmbed: c.Embed}[l]; own != nil {
			errs = own.validate(errs, "mix "+l)
		}
	}
	for _, l := range c.levels() {
		if l != LevelEmbed && c.At(l).Hardest == 0 {
			errs = append(errs, fmt.Errorf("metrix: mix hardest is 0, all negatives, at level %s, where every pair goes through the network; it must be >= 1", l))
		}
	}
	return errors.Join(errs...)
}

func (c LevelConfig) validate(errs []error, at string) []error {
	errs = word(errs, at+" pairs", c.Pairs, "positive_negative", "anchor_negative", "both", "same_class")
	errs = word(errs, at+" per", c.Per, "step", "pair")
	if !(c.Weight >= 0) || math.IsInf(c.Weight, 1) {
		errs = append(errs, fmt.Errorf("metrix: %s weight is %v; it must be a finite number >= 0", at, c.Weight))
	}
	if !(c.Alpha > 0) || math.IsInf(c.Alpha, 1) {
		errs = append(errs, fmt.Errorf("metrix: %s alpha is %v; it must be a finite number > 0", at, c.Alpha))
	}
	if c.Hardest < 0 {
		errs = append(errs, fmt.Errorf("metrix: %s hardest is %d; it must be >= 0 (0 = all negatives)", at, c.Hardest))
	}
	return errs
}

// word adds a sentence to errs unless value is one of the valid words.
func word(errs []error, name, value string, valid ...string) []error {
	if slices.Contains(valid, value) {
		return errs
	}
	return append(errs, fmt.Errorf("metrix: %s is %q; it must be one of %q", name, value, valid))
}
