package app

import (
	"fmt"
	"math"
	"sort"

	"github.com/metrixml/metrix/worker"
)

// dryRate is the learning rate of one step, where something about it changes.
type dryRate struct {
	Step  int64   `json:"step"` // updates done before
	Epoch float64 `json:"epoch"`
	Rate  float64 `json:"rate"`
	What  string  `json:"what"`
}

// maxMilestones bounds the list of a schedule with many small steps.
const maxMilestones = 24

// rates lists where the learning rate begins, turns and ends.
func (p *dryPlan) rates() []dryRate {
	s, per := worker.ScheduleOf(p.recipe), p.sampler.StepsPerEpoch()
	var out []dryRate
	add := func(step int64, what string) {
		if step >= 0 && step < p.total {
			out = append(out, dryRate{Step: step, Epoch: float64(step) / float64(per), Rate: s.LR(step, per), What: what})
		}
	}
	warm := int64(math.Round(s.WarmupEpochs * float64(per)))
	if warm > 1 {
		add(0, "warm-up begins")
		add(warm-1, "warm-up is done")
	} else {
		add(0, "begin")
	}
	switch s.Name {
	case "step":
		every := int64(s.EveryEpochs) * int64(per)
		for step := every; step < p.total; step += every {
			if len(out) == maxMilestones {
				add(step, fmt.Sprintf("and so on, every %d steps", every))
				break
			}
			add(step, fmt.Sprintf("times %g", s.Factor))
		}
	case "cosine":
		add(warm+(p.total-warm)/2, "half way down")
	}
	if last := p.total - 1; out[len(out)-1].Step < last {
		add(last, "last step")
	}
	return out
}

// headOnly is the number of steps in which the trunk rests.
func (p *dryPlan) headOnly() int64 {
	s, per := worker.ScheduleOf(p.recipe), p.sampler.StepsPerEpoch()
	limit := min(p.total, int64(s.HeadOnlyEpochs*float64(per))+2)
	return int64(sort.Search(int(limit), func(step int) bool { return !s.HeadOnly(int64(step), per) }))
}

// evaluations counts them: before the first step, after the last, and as often as the recipe says.
func (p *dryPlan) evaluations() int64 {
	t := p.recipe.Train
	return 2 + multiples(p.total-1, t.EvalEverySteps, p.evalPeriod())
}

// evalPeriod is the steps between the evaluations of eval_every_epochs, 0 for none.
func (p *dryPlan) evalPeriod() int64 {
	return int64(p.recipe.Train.EvalEveryEpochs) * int64(p.sampler.StepsPerEpoch())
}

// dryCheckpoint is what is written below checkpoints and best. A checkpoint is a model and an
// optimizer file; best keeps one model. The manifest's few kilobytes are left out.
type dryCheckpoint struct {
	Written   int64 `json:"written"`
	Kept      int   `json:"kept"`
	Model     int64 `json:"model_bytes"`
	Optimizer int64 `json:"optimizer_bytes"`
	Disk      int64 `json:"most_bytes_on_disk"` // while one is written, there is one more than are kept
}

func (p *dryPlan) checkpoints() dryCheckpoint {
	t := p.recipe.Train
	c := dryCheckpoint{
		// One after each evaluation but the first, and those of checkpoint_every_steps between.
		Written:   1 + multiples(p.total-1, t.EvalEverySteps, p.evalPeriod(), t.CheckpointEverySteps),
		Model:     4 * int64(p.weights()+p.network.NumBuffers()),
		Optimizer: p.optimizerBytes() + p.rememberedBytes(),
	}
	c.Kept = int(min(int64(t.Keep), c.Written))
	c.Disk = int64(min(int64(t.Keep)+1, c.Written))*(c.Model+c.Optimizer) + 2*c.Model
	return c
}

// multiples counts the numbers in [1, n] that are a multiple of at least one period; a period of 0
// has none. It includes and excludes: every set of periods counts the multiples of its least common
// multiple, added for sets of odd size.
func multiples(n int64, periods ...int64) (count int64) {
	for set := 1; set < 1<<len(periods); set++ {
		common, sign := int64(1), int64(-1)
		for i, period := range periods {
			if set>>i&1 == 0 {
				continue
			}
			sign = -sign
			if period <= 0 || common == 0 || common > n {
				common = 0
				continue
			}
			step := period / divisor(common, period)
			if step > n/common {
				common = 0 // above n
				continue
			}
			common *= step
		}
		if common > 0 {
			count += sign * (n / common)
		}
	}
	return count
}

// divisor is the greatest common one.
func divisor(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
