package optim

import "golang.org/x/sys/cpu"

// updateAVX is updatePlain of n elements, a multiple of 8, eight at a time: each operation rounds as
// there, so that the bits are the same.
//
//go:noescape
func updateAVX(c *adamConstants, params, grads, mean, square *float32, n int)

func (c *adamConstants) update(params, grads, mean, square []float32) {
	done := 0
	if cpu.X86.HasAVX {
		if done = len(params) &^ 7; done > 0 {
			updateAVX(c, &params[0], &grads[:done][0], &mean[:done][0], &square[:done][0], done)
		}
	}
	c.updatePlain(params[done:], grads[done:], mean[done:], square[done:])
}
