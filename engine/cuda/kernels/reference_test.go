package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/model"
)

// pass is what the reference engine makes of layers: rows are CHW.
type pass struct {
	params, buffers            []float32
	out, dIn, grads, bufferSum []float32
}

// reference runs layers as the trunk of a network, forward and backward.
func reference(t *testing.T, layers []model.Layer, shape model.Shape, mode engine.Mode, x, dOut []float32, n int) pass {
	t.Helper()
	m, err := model.Assemble("layers", shape, layers, []model.Layer{&model.AvgMaxPool{}, &model.L2Norm{}})
	require.NoError(t, err)
	p := pass{
		params: noise(11, m.NumParams()), buffers: noise(12, m.NumBuffers()),
		grads: make([]float32, m.NumParams()), bufferSum: make([]float32, m.NumBuffers()),
	}
	for i, b := range p.buffers { // variances are positive
		p.buffers[i] = b*b + 0.1
	}
	net, err := enginetest.Reference{}.Open(m, engine.Memory{Params: p.params, Grads: p.grads, Buffers: p.buffers, BufferSums: p.bufferSum}, engine.Options{Threads: 1})
	require.NoError(t, err)
	tape, err := net.Forward(model.Trunk, mode, x, n)
	require.NoError(t, err)
	p.out = append(p.out, tape.Out()...)
	dIn, err := net.Backward(tape, dOut, engine.Backward{Input: true})
	require.NoError(t, err)
	p.dIn = dIn
	return p
}

// toNHWC and toCHW change the layout of n rows of c channels.
func toNHWC(x []float32, c, n int) []float32 {
	y, area := make([]float32, len(x)), len(x)/(c*n)
	for i := range n {
		for k := range c {
			for p := range area {
				y[(i*area+p)*c+k] = x[(i*c+k)*area+p]
			}
		}
	}
	return y
}

func toCHW(y []float32, c, n int) []float32 {
	x, area := make([]float32, len(y)), len(y)/(c*n)
	for i := range n {
		for k := range c {
			for p := range area {
				x[(i*c+k)*area+p] = y[(i*area+p)*c+k]
			}
		}
	}
	return x
}
