package gorgonia

import (
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConforms(t *testing.T) {
	t.Log(New().Description())
	enginetest.Run(t, func() engine.Engine { return New() }, enginetest.Single())
}

// With gonum's products the engine computes the same as with a native library.
func TestPureGoAgrees(t *testing.T) {
	if New().blas.native == nil {
		t.Skip("no native BLAS on this machine: TestConforms has run with gonum's")
	}
	for _, m := range enginetest.Networks(t)[:3] {
		want, got := step(t, New(), m, 3), step(t, New(PureGo()), m, 3)
		assert.InDeltaSlice(t, want.Grads, got.Grads, 2e-3)
		assert.InDeltaSlice(t, want.BufferSums, got.BufferSums, 1e-4)
	}
}

// step runs one forward and backward of both stages and returns the memory.
func step(t testing.TB, e *Engine, m *model.Network, n int) engine.Memory {
	mem := engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
	m.Init(mem.Params, mem.Buffers, 1)
	net, err := e.Open(m, mem, engine.Options{Threads: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, net.Close()) }()
	r := draw.Of(1, draw.Test)
	trunk, err := net.Forward(model.Trunk, engine.Train, noise(r, n*m.Input.Size()), n)
	require.NoError(t, err)
	head, err := net.Forward(model.Head, engine.Train, trunk.Out(), n)
	require.NoError(t, err)
	dFeatures, err := net.Backward(head, noise(r, n*m.Dim), engine.Backward{Input: true})
	require.NoError(t, err)
	_, err = net.Backward(trunk, dFeatures, engine.Backward{})
	require.NoError(t, err)
	return mem
}
