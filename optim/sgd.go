package optim

// sgd is stochastic gradient descent with momentum:
//
//	g <- grad + decay x p
//	b <- momentum x b + g
//	p <- p - lr x b
//
// The first buffer is the first gradient, as in PyTorch, because b starts at 0.
type sgd struct {
	flat
	momentum float32
}

func newSGD(c Config, f flat) Optimizer { return &sgd{f, float32(c.Momentum)} }

func (s *sgd) State() []Named {
	return []Named{{"momentum", s.moment(0)}, {"steps", s.steps()}}
}

func (s *sgd) Step(params, grads []float32, lr float64, active Range) error {
	lo, hi, err := s.begin(params, grads, active)
	if err != nil {
		return err
	}
	buffer := s.moment(0)
	s.each(lo, hi, func(i, from, to int) {
		g := s.groups[i]
		updateSGD(params[from:to], grads[from:to], buffer[from:to],
			float32(lr*g.LRScale), float32(g.WeightDecay), s.momentum)
	})
	return nil
}

func updateSGD(params, grads, buffer []float32, lr, decay, momentum float32) {
	grads, buffer = grads[:len(params)], buffer[:len(params)]
	for i, p := range params {
		b := momentum*buffer[i] + (grads[i] + decay*p)
		buffer[i] = b
		params[i] = p - lr*b
	}
}
