package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/run"
)

func TestDrawMixIsAFunctionOfSeedAndStep(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	require.NoError(t, cfg.Validate())
	a, b := metrix.DrawMix(cfg, 7, 12), metrix.DrawMix(cfg, 7, 12)
	require.Equal(t, a, b)
	require.InDelta(t, 0.27894051975602968, a.Lambda, 1e-15) // Beta(2, 2), recorded in internal/draw
	require.NotEqual(t, a.Lambda, metrix.DrawMix(cfg, 7, 13).Lambda)
	require.NotEqual(t, a.Lambda, metrix.DrawMix(cfg, 8, 12).Lambda)

	types := map[metrix.PairType]int{}
	var mean float64
	for step := range run.Step(4000) {
		m := metrix.DrawMix(cfg, 1, step)
		types[m.Pairs]++
		mean += m.Lambda / 4000
	}
	require.InDelta(t, 2000, types[metrix.PositiveNegative], 150)
	require.InDelta(t, 2000, types[metrix.AnchorNegative], 150)
	require.InDelta(t, 0.5, mean, 0.02)
}

// Lambda of a pair depends on (seed, step, pair) and on nothing else: not on how many rows there
// are, and not on which rows were asked for before.
func TestDrawMixPerPair(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	cfg.Per, cfg.Pairs = "pair", "positive_negative"
	m := metrix.DrawMix(cfg, 7, 12)
	long, short := make([]float32, 50), make([]float32, 20)
	m.PerPair(long, 3)
	metrix.DrawMix(cfg, 7, 12).PerPair(short, 3)
	require.Equal(t, long[:20], short)
	m.PerPair(short, 4)
	require.NotEqual(t, long[:20], short)
	for _, x := range long {
		require.True(t, x > 0 && x < 1)
	}
}

func TestDrawMixFollowsItsConfig(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	cfg.Level = "none"
	require.Zero(t, metrix.DrawMix(cfg, 1, 1).Weight)
	cfg = metrix.DefaultMixConfig()
	cfg.Hardest, cfg.Weight = 3, 0.2
	for step := range run.Step(20) {
		cfg.Pairs = "anchor_negative"
		m := metrix.DrawMix(cfg, 1, step)
		require.Equal(t, metrix.AnchorNegative, m.Pairs)
		require.Equal(t, "anchor_negative", m.Pairs.String())
		require.Equal(t, 3, m.Hardest)
		require.Equal(t, 0.2, m.Weight)
		cfg.Pairs = "positive_negative"
		require.Equal(t, "positive_negative", metrix.DrawMix(cfg, 1, step).Pairs.String())
	}
}

func TestMixConfigMistakesAreSentences(t *testing.T) {
	err := metrix.MixConfig{Level: "pixel", Weight: -1, Alpha: 0, Pairs: "all", Per: "epoch", Hardest: -2}.Validate()
	for _, words := range []string{
		`mix level is "pixel"`, `mix pairs is "all"`, `mix per is "epoch"`,
		"mix weight is -1", "mix alpha is 0", "mix hardest is -2",
	} {
		require.ErrorContains(t, err, words)
	}
	cfg := metrix.DefaultMixConfig()
	require.NoError(t, metrix.CheckMix(form(t, "proxy_anchor", nil), cfg))
	cfg.Pairs = "anchor_negative"
	require.NoError(t, metrix.CheckMix(form(t, "nca", nil), cfg))
	require.ErrorContains(t, metrix.CheckMix(form(t, "proxy_anchor", nil), cfg), "positives with negatives only")
}

// The level is drawn from (seed, step) alone, about a third each, and each level has its own
// settings, or the config's where it has none.
func TestDrawMixOfARandomLevel(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	cfg.Level, cfg.Hardest, cfg.Memory = metrix.LevelRandom, 2, true
	cfg.Input = &metrix.LevelConfig{Weight: 0.1, Alpha: 1, Pairs: "positive_negative", Per: "step", Hardest: 1}
	cfg.Embed = &metrix.LevelConfig{Weight: 0.9, Alpha: 2, Pairs: "anchor_negative", Per: "pair"}
	require.NoError(t, cfg.Validate())
	count := map[string]int{}
	for step := range run.Step(3000) {
		m := metrix.DrawMix(cfg, 4, step)
		count[m.Level]++
		require.Equal(t, m.Level == metrix.LevelEmbed, m.Memory)
		switch m.Level {
		case metrix.LevelInput:
			require.Equal(t, 0.1, m.Weight)
			require.Equal(t, 1, m.Hardest)
			require.Equal(t, metrix.PositiveNegative, m.Pairs)
		case metrix.LevelFeature:
			require.Equal(t, 0.4, m.Weight)
			require.Equal(t, 2, m.Hardest)
			require.Equal(t, m.Lambda, metrix.DrawMix(cfg, 4, step).Lambda)
		case metrix.LevelEmbed:
			require.Equal(t, 0.9, m.Weight)
			require.Zero(t, m.Hardest)
			require.NotNil(t, m.PerPair)
			require.Equal(t, metrix.AnchorNegative, m.Pairs)
		}
	}
	for level, n := range count {
		require.InDelta(t, 1000, n, 120, level)
	}
	require.Len(t, count, 3)
	require.Equal(t, metrix.LevelNone, metrix.DrawMix(metrix.MixConfig{Level: metrix.LevelNone}, 1, 1).Level)
	var levels []string
	for step := range run.Step(8) { // part of what a seed means
		levels = append(levels, metrix.DrawMix(cfg, 4, step).Level)
	}
	require.Equal(t, []string{"embed", "embed", "embed", "feature", "embed", "input", "embed", "input"}, levels)
}

// Lambdas are those of the ordered pairs, however they are asked for.
func TestLambdasOfPairs(t *testing.T) {
	first, second := []int32{0, 0, 3, 2, 3}, []int32{1, 4, 2, 0, 1}
	require.Equal(t, []float32{0.25, 0.25, 0.25, 0.25, 0.25}, metrix.Mix{Lambda: 0.25}.Lambdas(5, first, second))
	got := metrix.Mix{PerPair: perPair}.Lambdas(5, first, second)
	for i := range first {
		row := make([]float32, 5)
		perPair(row, int(first[i]))
		require.Equal(t, row[second[i]], got[i])
	}
}

func TestLevelsAreValidated(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	cfg.Level = metrix.LevelFeature
	require.ErrorContains(t, cfg.Validate(), "mix hardest is 0, all negatives, at level feature")
	own := metrix.DefaultLevelConfig(metrix.LevelFeature)
	cfg.Feature = &own
	require.NoError(t, cfg.Validate())
	require.Equal(t, 1, own.Hardest)
	require.Zero(t, metrix.DefaultLevelConfig(metrix.LevelEmbed).Hardest)
	cfg.Level = metrix.LevelRandom
	require.ErrorContains(t, cfg.Validate(), "at level input")
	own.Pairs = "none"
	require.ErrorContains(t, cfg.Validate(), `mix feature pairs is "none"`)
}

func TestCheckMixOfEveryForm(t *testing.T) {
	cfg := metrix.DefaultMixConfig()
	check := func(name string) error { return metrix.CheckMix(form(t, name, nil), cfg) }
	for _, name := range metrix.Forms() {
		cfg.Level = metrix.LevelNone
		require.NoError(t, check(name))
	}
	cfg.Level, cfg.Hardest = metrix.LevelRandom, 1
	require.NoError(t, check("supcon"))
	require.ErrorContains(t, check("triplet"), "set mix level to none")
	require.ErrorContains(t, check("recall_at_k"), "pairs to same_class and weight to 1")
	cfg.Level, cfg.Pairs, cfg.Weight = metrix.LevelEmbed, "same_class", 1
	require.NoError(t, check("recall_at_k"))
	require.ErrorContains(t, check("nca"), "same_class belongs to loss form recall_at_k")
	cfg.Pairs, cfg.Memory = "both", true
	require.NoError(t, check("proxy_anchor"))
	require.ErrorContains(t, check("proxy_nca"), "no memory to mix with")
}
