package optim

import (
	"fmt"
	"math"
	"slices"
)

// Schedule is the learning rate as a function of the step. Epochs count from the start of the run,
// warm-up included, so that "every 10 epochs" means the 10th, 20th, ... of the run.
type Schedule struct {
	Name           string  // "constant", "step" or "cosine"
	Base           float64 // peak learning rate, > 0
	WarmupEpochs   float64 // the rate rises linearly to what it would be; >= 0
	EveryEpochs    int     // of step, >= 1
	Factor         float64 // of step, > 0
	HeadOnlyEpochs float64 // >= 0
	MinLR          float64 // where cosine ends, in [0, Base]
	Epochs         int     // length of the run, >= 1 unless Steps > 0
	Steps          int64   // wins over Epochs when > 0
}

// Validate says which value is impossible.
func (s Schedule) Validate() error {
	switch {
	case !slices.Contains([]string{"constant", "step", "cosine"}, s.Name):
		return fmt.Errorf("optim: the schedule is %q; it must be one of constant, step, cosine", s.Name)
	case !(s.Base > 0):
		return fmt.Errorf("optim: the learning rate is %v; it must be above 0", s.Base)
	case !(s.WarmupEpochs >= 0) || !(s.HeadOnlyEpochs >= 0):
		return fmt.Errorf("optim: warm-up is %v epochs and head-only %v; both must be at least 0", s.WarmupEpochs, s.HeadOnlyEpochs)
	case s.Name == "step" && (s.EveryEpochs < 1 || !(s.Factor > 0)):
		return fmt.Errorf("optim: the step schedule multiplies by %v every %d epochs; it needs a factor above 0 and at least 1 epoch", s.Factor, s.EveryEpochs)
	case !(s.MinLR >= 0 && s.MinLR <= s.Base):
		return fmt.Errorf("optim: the smallest learning rate is %v; it must be from 0 to the peak, %v", s.MinLR, s.Base)
	case s.Epochs < 1 && s.Steps < 1:
		return fmt.Errorf("optim: the run lasts %d epochs and %d steps; one of them must be at least 1", s.Epochs, s.Steps)
	}
	return nil
}

// Total is the number of steps of the run.
func (s Schedule) Total(stepsPerEpoch int) int64 {
	if s.Steps > 0 {
		return s.Steps
	}
	return int64(s.Epochs) * int64(stepsPerEpoch)
}

// LR is the learning rate of the update that follows `step` updates. The first warm-up update has
// 1/w of the rate, the w-th all of it.
func (s Schedule) LR(step int64, stepsPerEpoch int) float64 {
	stepsPerEpoch = max(1, stepsPerEpoch)
	warmup := stepsOf(s.WarmupEpochs, stepsPerEpoch)
	lr := s.Base
	switch s.Name {
	case "step":
		lr *= math.Pow(s.Factor, float64(step/(int64(max(1, s.EveryEpochs))*int64(stepsPerEpoch))))
	case "cosine":
		if span := s.Total(stepsPerEpoch) - warmup; span > 0 && step > warmup {
			part := math.Min(1, float64(step-warmup)/float64(span))
			lr = s.MinLR + (s.Base-s.MinLR)*0.5*(1+math.Cos(math.Pi*part))
		}
	}
	if step < warmup {
		lr *= float64(step+1) / float64(warmup)
	}
	return lr
}

// HeadOnly reports whether the update that follows `step` updates moves only the embedding layer
// and the proxies.
func (s Schedule) HeadOnly(step int64, stepsPerEpoch int) bool {
	return step < stepsOf(s.HeadOnlyEpochs, stepsPerEpoch)
}

// stepsOf rounds a number of epochs to steps.
func stepsOf(epochs float64, stepsPerEpoch int) int64 {
	return int64(math.Round(epochs * float64(stepsPerEpoch)))
}
