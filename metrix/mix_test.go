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
