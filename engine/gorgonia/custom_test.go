package gorgonia

import (
	"errors"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gg "gorgonia.org/gorgonia"
)

// A layer written in Gorgonia's own operations gives what the engine's own kernel gives, shared
// weights and a use of its input in two places included.
func TestCustomAgreesWithOwnKernels(t *testing.T) {
	in := model.Shape{C: 6, H: 1, W: 1}
	head := func() []model.Layer { return []model.Layer{&model.L2Norm{}} }
	own, err := model.Assemble("own", in, []model.Layer{
		&model.Residual{Name: "r", Main: []model.Layer{&model.Linear{Name: "l", In: 6, Out: 6}, &model.ReLU{}}},
	}, head())
	require.NoError(t, err)
	custom, err := model.Assemble("custom", in, []model.Layer{
		&model.External{Name: "l", Params: []model.Declared{{Name: "weight", Shape: []int{6, 6}, Start: model.Kaiming}}, Out: in},
	}, head())
	require.NoError(t, err)
	build := func(g Graph) (*gg.Node, error) {
		x := gg.Must(gg.Reshape(g.X, []int{g.X.Shape()[0], 6}))
		h := gg.Must(gg.Mul(x, gg.Must(gg.Transpose(g.Params["weight"]))))
		return gg.Add(gg.Must(gg.Rectify(h)), x)
	}
	e := New(Custom("l", build))
	const n = 5
	r := draw.Of(4, draw.Test)
	x, d := noise(r, n*6), noise(r, n*6)
	for range 2 { // the second pass reuses the graph
		wantOut, wantIn, want := customStep(t, e, own, x, d)
		out, dIn, got := customStep(t, e, custom, x, d)
		assert.InDeltaSlice(t, wantOut, out, 1e-6)
		assert.InDeltaSlice(t, wantIn, dIn, 1e-6)
		assert.InDeltaSlice(t, want, got, 1e-5)
	}
}

// customStep runs the trunk twice with the same input in one opened network and returns the sum of
// gradients.
func customStep(t *testing.T, e *Engine, m *model.Network, x, d []float32) (out, dIn, grads []float32) {
	mem := engine.Memory{Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams())}
	m.Init(mem.Params, nil, 1)
	params := clone(mem.Params)
	net, err := e.Open(m, mem, engine.Options{Threads: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, net.Close()) }()
	for range 2 {
		tape, err := net.Forward(model.Trunk, engine.Train, x, len(x)/6)
		require.NoError(t, err)
		out = clone(tape.Out())
		var calls int
		dIn, err = net.Backward(tape, d, engine.Backward{Input: true, Ready: func(lo, hi int) { calls++ }})
		require.NoError(t, err)
		assert.Equal(t, 1, calls)
		dIn = clone(dIn)
	}
	assert.Equal(t, params, mem.Params, "the graph must not write to the parameters")
	return out, dIn, mem.Grads
}

func TestCustomErrors(t *testing.T) {
	in := model.Shape{C: 6, H: 1, W: 1}
	m, err := model.Assemble("custom", in, []model.Layer{
		&model.External{Name: "l", Params: []model.Declared{{Name: "w", Shape: []int{6, 6}}}, Out: in},
	}, []model.Layer{&model.L2Norm{}})
	require.NoError(t, err)
	mem := engine.Memory{Params: make([]float32, 36), Grads: make([]float32, 36)}
	opt := engine.Options{Threads: 1}

	_, err = New().Open(m, mem, opt)
	assert.ErrorContains(t, err, `layer l is external: create the engine with gorgonia.Custom("l", ...)`)
	_, err = enginetest.Reference{}.Open(m, mem, opt)
	assert.NoError(t, err)

	for want, build := range map[string]Builder{
		"layer l: no idea":                   func(Graph) (*gg.Node, error) { return nil, errors.New("no idea") },
		"must return 2 rows of 6x1x1":        func(Graph) (*gg.Node, error) { return nil, nil },
		"parameter w of layer l is not used": func(g Graph) (*gg.Node, error) { return g.X, nil },
		"building the trunk: index out":      func(Graph) (*gg.Node, error) { panic("index out") },
	} {
		net, err := New(Custom("l", build)).Open(m, mem, opt)
		require.NoError(t, err)
		_, err = net.Forward(model.Trunk, engine.Train, make([]float32, 12), 2)
		assert.ErrorContains(t, err, want)
		require.NoError(t, net.Close())
	}
}
