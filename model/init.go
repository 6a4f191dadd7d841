package model

import (
	"math"

	"github.com/metrixml/metrix/internal/draw"
)

// Start says what a parameter or a statistic is before training.
type Start int

const (
	// Zero fills with 0.
	Zero Start = iota
	// One fills with 1.
	One
	// Kaiming draws from a normal distribution with variance 2 / fan_out, where fan_out is the
	// first extent of the shape times those after the second (He et al. 2015, as torchvision does).
	Kaiming
)

// Init fills the two flat blocks with the network's starting values. A parameter's values depend on
// seed and on the parameter's number only. It panics if a block is shorter than the network needs.
func (n *Network) Init(params, buffers []float32, seed uint64) {
	for i, p := range n.Params {
		p.fill(p.Slice(params), draw.Of(seed, draw.Init, uint64(i)))
	}
	for _, p := range n.Buffers {
		p.fill(p.Slice(buffers), nil)
	}
}

func (p Param) fill(dst []float32, r *draw.Rand) {
	switch p.Start {
	case Zero:
		clear(dst)
	case One:
		for i := range dst {
			dst[i] = 1
		}
	case Kaiming:
		std := math.Sqrt(2 / float64(p.fanOut()))
		for i := range dst {
			dst[i] = float32(std * r.Norm())
		}
	}
}

func (p Param) fanOut() int {
	fan := 1
	for i, d := range p.Shape {
		if i != 1 {
			fan *= d
		}
	}
	return fan
}
