package gorgonia

import (
	"sync"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func open(t testing.TB, e *Engine, m *model.Network) (*network, engine.Memory) {
	mem := engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
	m.Init(mem.Params, mem.Buffers, 1)
	net, err := e.Open(m, mem, engine.Options{Threads: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, net.Close()) })
	return net.(*network), mem
}

func small(t testing.TB) *model.Network {
	m, err := model.Build(model.Spec{Arch: "resnet18", Side: 32, Dim: 8, Width: 8, Norm: "group"})
	require.NoError(t, err)
	return m
}

// Buffers are recycled: an Eval forward needs little more than its two largest activations, a
// backward less than one buffer per node, although
// its products need room to sum in, and everything comes back.
func TestArenaIsReused(t *testing.T) {
	m, err := model.Build(model.Spec{Arch: "resnet18", Side: 64, Dim: 8, Width: 8})
	require.NoError(t, err)
	const n = 8
	x := noise(draw.Of(1, draw.Test), n*m.Input.Size())
	nodes := func(net *network) (floats int) {
		for _, list := range net.idle {
			for _, p := range list {
				for _, o := range p.ops {
					if o.into == nil {
						floats += o.out.TotalSize()
					}
				}
			}
		}
		return floats
	}
	for mode, share := range map[engine.Mode]float64{engine.Eval: 0.3, engine.Frozen: 0.8} {
		net, _ := open(t, New(), m)
		tape, err := net.Forward(model.Trunk, mode, x, n)
		require.NoError(t, err)
		if mode == engine.Eval {
			tape.Release()
		} else {
			_, err = net.Backward(tape, make([]float32, n*m.Features.Size()), engine.Backward{Input: true})
			require.NoError(t, err)
		}
		assert.Zero(t, net.arena.held)
		t.Logf("mode %d: %d floats for nodes of %d", mode, net.arena.peak, nodes(net))
		assert.Less(t, float64(net.arena.peak), share*float64(nodes(net)), "mode %d", mode)
	}
}

// The number of programs kept is bounded, whatever numbers of rows come.
func TestProgramsAreBounded(t *testing.T) {
	m := small(t)
	net, _ := open(t, New(), m)
	for n := 1; n <= 2*maxKeys; n++ {
		tape, err := net.Forward(model.Head, engine.Eval, make([]float32, n*m.Features.Size()), n)
		require.NoError(t, err)
		tape.Release()
	}
	assert.Len(t, net.idle, maxKeys)
	assert.Len(t, net.recent, maxKeys)
}

// Several networks may be built and run at the same time, each by one goroutine.
func TestNetworksAreIndependent(t *testing.T) {
	m := small(t)
	want := step(t, New(), m, 2)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { assert.Equal(t, want.Grads, step(t, New(), m, 2).Grads) })
	}
	wg.Wait()
}

// A kernel's error comes out as a sentence and leaves the network usable.
func TestKernelErrors(t *testing.T) {
	m, err := model.Assemble("bn", model.Shape{C: 3, H: 1, W: 1},
		[]model.Layer{&model.BatchNorm{Name: "bn", Channels: 3}}, []model.Layer{&model.L2Norm{}})
	require.NoError(t, err)
	net, _ := open(t, New(), m)
	_, err = net.Forward(model.Trunk, engine.Train, make([]float32, 3), 1)
	assert.ErrorContains(t, err, "live batch norm bn sees one value per channel")
	assert.Zero(t, net.arena.held)
	tape, err := net.Forward(model.Trunk, engine.Train, make([]float32, 6), 2)
	require.NoError(t, err)
	tape.Release()
}
