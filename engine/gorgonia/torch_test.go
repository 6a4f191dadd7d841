package gorgonia

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is what bench/peers/resnet18_golden.py records.
type golden struct {
	Torch string
	Cases []struct {
		Name, Mode            string
		Output                []float64
		InputGradient         float64 `json:"input_gradient"`
		Gradients, Statistics map[string]float64
	}
}

// Narrow ResNet-18, ResNet-50 and conv4 give PyTorch's embeddings, gradients and statistics.
func TestAgreesWithTorch(t *testing.T) {
	raw, err := os.ReadFile("testdata/torch.json")
	require.NoError(t, err)
	var recorded golden
	require.NoError(t, json.Unmarshal(raw, &recorded))
	for _, c := range recorded.Cases {
		t.Run(c.Name+"/"+c.Mode, func(t *testing.T) {
			m, mem := formulaNetwork(t, c.Name)
			mode := engine.Train
			if c.Mode == "frozen" {
				mode = engine.Frozen
			}
			out, dIn := formulaStep(t, m, mem, mode)
			for i, want := range c.Output {
				assert.InDelta(t, want, out[i], 2e-5, "output %d", i)
			}
			near(t, "input", c.InputGradient, dIn)
			require.Len(t, c.Gradients, len(m.Params))
			for _, p := range m.Params {
				near(t, p.Name, c.Gradients[p.Name], p.Slice(mem.Grads))
			}
			for name := range c.Statistics {
				near(t, name, c.Statistics[name], bufferNamed(t, m, name).Slice(mem.BufferSums))
			}
		})
	}
}

// near compares a recorded norm, to 1e-4 of its value.
func near(t *testing.T, name string, want float64, x []float32) {
	t.Helper()
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	assert.InDelta(t, want, math.Sqrt(sum), 1e-4*max(want, 1e-3), name)
}

func bufferNamed(t *testing.T, m *model.Network, name string) model.Param {
	for _, b := range m.Buffers {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("there is no statistic called %s", name)
	return model.Param{}
}

// uniform gives count values in [-0.5, 0.5), as the script does.
func uniform(count, number int) []float64 {
	u := make([]float64, count)
	for i := range u {
		v := math.Sin(float64(i)*12.9898+float64(number)*78.233+0.5) * 43758.5453
		u[i] = v - math.Floor(v) - 0.5
	}
	return u
}

func formulaNetwork(t *testing.T, name string) (*model.Network, engine.Memory) {
	spec := model.Spec{Arch: name, Side: 64, Dim: 8, Width: 8}
	if name == "conv4" {
		spec.Side, spec.Width = 48, 16
	}
	m, err := model.Build(spec)
	require.NoError(t, err)
	mem := engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
	for number, p := range m.Params {
		fillByFormula(p, p.Slice(mem.Params), number)
	}
	for number, b := range m.Buffers {
		fillByFormula(b, b.Slice(mem.Buffers), 1000+number)
	}
	return m, mem
}

func fillByFormula(p model.Param, dst []float32, number int) {
	for i, u := range uniform(len(dst), number) {
		switch p.Start {
		case model.Kaiming:
			fanOut := float64(len(dst) / p.Shape[1])
			dst[i] = float32(u * math.Sqrt(12*2/fanOut))
		case model.One:
			dst[i] = float32(1 + 0.6*u)
		case model.Zero:
			dst[i] = float32(0.4 * u)
		}
	}
}

func formulaStep(t *testing.T, m *model.Network, mem engine.Memory, mode engine.Mode) (out, dIn []float32) {
	const n = 4
	net, err := New().Open(m, mem, engine.Options{Threads: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, net.Close()) }()
	x, d := make([]float32, n*m.Input.Size()), make([]float32, n*m.Dim)
	for i, u := range uniform(len(x), 2000) {
		x[i] = float32(4 * u)
	}
	for i, u := range uniform(len(d), 2001) {
		d[i] = float32(2 * u)
	}
	trunk, err := net.Forward(model.Trunk, mode, x, n)
	require.NoError(t, err)
	head, err := net.Forward(model.Head, mode, trunk.Out(), n)
	require.NoError(t, err)
	out = append(out, head.Out()...)
	dFeatures, err := net.Backward(head, d, engine.Backward{Input: true})
	require.NoError(t, err)
	dIn, err = net.Backward(trunk, dFeatures, engine.Backward{Input: true})
	require.NoError(t, err)
	return out, append([]float32(nil), dIn...)
}
