package optim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const perEpoch = 10

func TestConstantWithWarmup(t *testing.T) {
	s := Schedule{Name: "constant", Base: 1, WarmupEpochs: 0.5, Epochs: 3}
	require.NoError(t, s.Validate())
	for step, want := range []float64{0.2, 0.4, 0.6, 0.8, 1, 1, 1} {
		require.InDelta(t, want, s.LR(int64(step), perEpoch), 1e-12, "step %d", step)
	}
}

// The paper's schedule on SOP for contrastive: 3e-5, x 0.25 every 10 epochs.
func TestStepOfThePaper(t *testing.T) {
	s := Schedule{Name: "step", Base: 3e-5, EveryEpochs: 10, Factor: 0.25, Epochs: 60}
	require.InEpsilon(t, 3e-5, s.LR(0, perEpoch), 1e-12)
	require.InEpsilon(t, 3e-5, s.LR(99, perEpoch), 1e-12)
	require.InEpsilon(t, 7.5e-6, s.LR(100, perEpoch), 1e-12)
	require.InEpsilon(t, 3e-5/1024, s.LR(599, perEpoch), 1e-12)
}

func TestCosine(t *testing.T) {
	s := Schedule{Name: "cosine", Base: 1, MinLR: 0.1, WarmupEpochs: 1, Epochs: 3}
	require.InDelta(t, 0.1, s.LR(0, perEpoch), 1e-12, "first warm-up step")
	require.InDelta(t, 1, s.LR(9, perEpoch), 1e-12)
	require.InDelta(t, 1, s.LR(10, perEpoch), 1e-12)
	require.InDelta(t, 0.55, s.LR(20, perEpoch), 1e-12, "half way")
	require.InDelta(t, 0.1, s.LR(30, perEpoch), 1e-12)
	require.InDelta(t, 0.1, s.LR(31, perEpoch), 1e-12, "stays at the end")
	for step := int64(10); step < 30; step++ {
		require.Greater(t, s.LR(step, perEpoch), s.LR(step+1, perEpoch))
	}
	s.Steps = 20 // wins over epochs
	require.Equal(t, int64(20), s.Total(perEpoch))
	require.InDelta(t, 0.55, s.LR(15, perEpoch), 1e-12)
}

func TestHeadOnly(t *testing.T) {
	s := Schedule{HeadOnlyEpochs: 1.5}
	require.True(t, s.HeadOnly(14, perEpoch))
	require.False(t, s.HeadOnly(15, perEpoch))
	require.False(t, Schedule{}.HeadOnly(0, perEpoch))
}

func TestEmptyEpochsDoNotDivideByZero(t *testing.T) {
	require.InDelta(t, 1, Schedule{Name: "step", Base: 1, Factor: 1}.LR(5, 0), 0)
}

func TestScheduleRefusals(t *testing.T) {
	good := Schedule{Name: "step", Base: 1, EveryEpochs: 1, Factor: 0.5, Epochs: 1}
	require.NoError(t, good.Validate())
	for sentence, change := range map[string]func(*Schedule){
		"one of constant, step, cosine": func(s *Schedule) { s.Name = "poly" },
		"learning rate is 0":            func(s *Schedule) { s.Base = 0 },
		"warm-up is -1":                 func(s *Schedule) { s.WarmupEpochs = -1 },
		"every 0 epochs":                func(s *Schedule) { s.EveryEpochs = 0 },
		"smallest learning rate is 2":   func(s *Schedule) { s.MinLR = 2 },
		"lasts 0 epochs":                func(s *Schedule) { s.Epochs = 0 },
	} {
		bad := good
		change(&bad)
		require.ErrorContains(t, bad.Validate(), sentence)
	}
}
