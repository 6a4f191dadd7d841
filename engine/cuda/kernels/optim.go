package kernels

import "math"

// AdamOf returns the constants of a group for its steps-th update (Adam, or AdamW where decoupled), with
// lr the group's own learning rate: the arithmetic of package optim.
func AdamOf(betas [2]float64, eps, lr, weightDecay, steps float64, decoupled bool) AdamGroup {
	g := AdamGroup{
		Shrink: 1, Decay: float32(weightDecay),
		Keep1: float32(betas[0]), New1: float32(1 - betas[0]),
		Keep2: float32(betas[1]), New2: float32(1 - betas[1]),
		Rate:       float32(lr / (1 - math.Pow(betas[0], steps))),
		Correction: float32(math.Sqrt(1 - math.Pow(betas[1], steps))),
		Eps:        float32(eps),
	}
	if decoupled {
		g.Shrink, g.Decay = float32(1-lr*weightDecay), 0
	}
	return g
}
