//go:build !amd64

package optim

func (c *adamConstants) update(params, grads, mean, square []float32) {
	c.updatePlain(params, grads, mean, square)
}
