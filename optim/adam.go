package optim

import "math"

// adam is Adam (Kingma and Ba 2015) and, if decoupled, AdamW (Loshchilov and Hutter 2019):
//
//	p <- p - lr x decay x p                  AdamW only
//	g <- grad [+ decay x p]                  Adam only
//	m <- b1 m + (1 - b1) g
//	v <- b2 v + (1 - b2) g^2
//	p <- p - lr / (1 - b1^t) x m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//
// with t the group's own count of steps.
type adam struct {
	flat
	beta1, beta2, eps float64
	decoupled         bool
}

func newAdam(c Config, f flat) Optimizer {
	return &adam{f, c.Betas[0], c.Betas[1], c.Eps, c.Name == "adamw"}
}

func (a *adam) State() []Named {
	return []Named{{"mean", a.moment(0)}, {"square", a.moment(1)}, {"steps", a.steps()}}
}

func (a *adam) Step(params, grads []float32, lr float64, active Range) error {
	lo, hi, err := a.begin(params, grads, active)
	if err != nil {
		return err
	}
	mean, square, steps := a.moment(0), a.moment(1), a.steps()
	a.each(lo, hi, func(i, from, to int) {
		c := a.constants(a.groups[i], lr, float64(steps[i]))
		c.update(params[from:to], grads[from:to], mean[from:to], square[from:to])
	})
	return nil
}

// adamConstants are the scalars of one group's update. adam_amd64.s reads them in this order.
type adamConstants struct {
	shrink, decay         float32 // p *= shrink; g += decay x p
	keep1, new1           float32 // b1, 1 - b1
	keep2, new2           float32 // b2, 1 - b2
	rate, correction, eps float32 // lr / (1 - b1^t), sqrt(1 - b2^t)
}

func (a *adam) constants(g Group, lr, t float64) adamConstants {
	lr *= g.LRScale
	c := adamConstants{
		shrink: 1, decay: float32(g.WeightDecay),
		keep1: float32(a.beta1), new1: float32(1 - a.beta1),
		keep2: float32(a.beta2), new2: float32(1 - a.beta2),
		rate:       float32(lr / (1 - math.Pow(a.beta1, t))),
		correction: float32(math.Sqrt(1 - math.Pow(a.beta2, t))),
		eps:        float32(a.eps),
	}
	if a.decoupled {
		c.shrink, c.decay = float32(1-lr*g.WeightDecay), 0
	}
	return c
}

// updatePlain is the update that the vector one must equal bit by bit.
func (c *adamConstants) updatePlain(params, grads, mean, square []float32) {
	n := len(params)
	grads, mean, square = grads[:n], mean[:n], square[:n]
	shrink, decay, keep1, new1, keep2, new2 := c.shrink, c.decay, c.keep1, c.new1, c.keep2, c.new2
	rate, correction, eps := c.rate, c.correction, c.eps
	for i, p := range params {
		g := grads[i] + decay*p
		p *= shrink
		m := keep1*mean[i] + new1*g
		v := keep2*square[i] + new2*g*g
		mean[i], square[i] = m, v
		params[i] = p - rate*m/(float32(math.Sqrt(float64(v)))/correction+eps)
	}
}
