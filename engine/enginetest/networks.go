package enginetest

import (
	"math"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/require"
)

// Networks returns small networks that between them hold every layer kind but External, with odd
// shapes, biases, overlapping pools, both kinds of residual and both norms.
func Networks(t testing.TB) []*model.Network {
	specs := []model.Spec{
		{Arch: "conv4", Side: 16, Dim: 6, Width: 8},
		{Arch: "conv4", Side: 17, Dim: 6, Width: 8, Norm: "batch"},
		{Arch: "resnet18", Side: 64, Dim: 5, Width: 8},
		{Arch: "conv4", Side: 18, Dim: 6, Width: 8, Norm: "batch", Cut: "conv2"},
	}
	networks := []*model.Network{pieces(t), bottlenecks(t)}
	for _, s := range specs {
		m, err := model.Build(s)
		require.NoError(t, err)
		networks = append(networks, m)
	}
	return append(networks, windows(t))
}

// windows is a network of windows of 3 x 3 pixels, which engines have special ways for: with every
// padding, over pictures and channels that fill no tile and no vector.
func windows(t testing.TB) *model.Network {
	trunk := []model.Layer{
		&model.Conv{Name: "outside", In: 5, Out: 20, Kernel: 3, Stride: 1, Pad: 2, Bias: true},
		&model.GroupNorm{Name: "gn1", Channels: 20, Groups: 4},
		&model.ReLU{},
		&model.Conv{Name: "inside", In: 20, Out: 17, Kernel: 3, Stride: 1, Bias: true},
		&model.Residual{Name: "same", Main: []model.Layer{
			&model.Conv{Name: "up", In: 17, Out: 33, Kernel: 3, Stride: 1, Pad: 1},
			&model.BatchNorm{Name: "bn1", Channels: 33},
			&model.ReLU{},
			&model.Conv{Name: "down", In: 33, Out: 17, Kernel: 3, Stride: 1, Pad: 1},
		}},
		&model.Conv{Name: "stride", In: 17, Out: 18, Kernel: 3, Stride: 2, Pad: 1, Bias: true},
	}
	head := []model.Layer{&model.AvgMaxPool{}, &model.Linear{Name: "embedding", In: 18, Out: 5, Bias: true}, &model.L2Norm{}}
	m, err := model.Assemble("windows", model.Shape{C: 5, H: 13, W: 18}, trunk, head)
	require.NoError(t, err)
	return m
}

// pieces is a network of what the built architectures do not have.
func pieces(t testing.TB) *model.Network {
	trunk := []model.Layer{
		&model.Conv{Name: "wide", In: 2, Out: 6, Kernel: 5, Stride: 3, Pad: 2, Bias: true},
		&model.ReLU{},
		&model.GroupNorm{Name: "gn", Channels: 6, Groups: 3},
		&model.Residual{Name: "plain", Main: []model.Layer{
			&model.Conv{Name: "even", In: 6, Out: 4, Kernel: 2, Stride: 1},
			&model.BatchNorm{Name: "bn", Channels: 4},
		}, Shortcut: []model.Layer{
			&model.MaxPool{Name: "shrink", Kernel: 2, Stride: 1},
			&model.Conv{Name: "point", In: 6, Out: 4, Kernel: 1, Stride: 1},
		}},
		&model.MaxPool{Name: "overlap", Kernel: 3, Stride: 2, Pad: 1},
		&model.Residual{Name: "identity", Main: []model.Layer{
			&model.Conv{Name: "skip", In: 4, Out: 4, Kernel: 3, Stride: 1, Pad: 1},
		}},
	}
	head := []model.Layer{
		&model.AvgMaxPool{},
		&model.Linear{Name: "hidden", In: 4, Out: 7},
		&model.ReLU{},
		&model.BatchNorm{Name: "headbn", Channels: 7},
		&model.Linear{Name: "embedding", In: 7, Out: 5, Bias: true},
		&model.L2Norm{},
	}
	m, err := model.Assemble("pieces", model.Shape{C: 2, H: 19, W: 14}, trunk, head)
	require.NoError(t, err)
	return m
}

// bottlenecks is the beginning of a narrow ResNet-50 with group norm: deep enough to have both kinds
// of shortcut, small enough for the reference.
func bottlenecks(t testing.TB) *model.Network {
	m, err := model.Build(model.Spec{Arch: "resnet50", Side: 32, Dim: 5, Width: 8, Norm: "group"})
	require.NoError(t, err)
	const untilLayer2 = 4 + 2*3 // stem and the three blocks of layer1, each with its ReLU
	m, err = model.Assemble("bottlenecks", m.Input, m.Trunk[:untilLayer2+2], model.EmbeddingHead(64, 5))
	require.NoError(t, err)
	return m
}

// bench is a network opened in an engine, with memory filled for a test.
type bench struct {
	model *model.Network
	mem   engine.Memory
	net   engine.Net
}

func openBench(t testing.TB, e engine.Engine, m *model.Network, threads int) *bench {
	b := &bench{model: m, mem: memory(m)}
	n, err := e.Open(m, b.mem, engine.Options{Threads: threads})
	require.NoError(t, err)
	b.net = n
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return b
}

// memory fills parameters and statistics such that no term of a layer's gradient vanishes: norms
// with scales other than 1, biases and means other than 0.
func memory(m *model.Network) engine.Memory {
	mem := engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
	m.Init(mem.Params, mem.Buffers, 3)
	r := draw.Of(3, draw.Test)
	unsettle(r, m.Params, mem.Params)
	unsettle(r, m.Buffers, mem.Buffers)
	return mem
}

func unsettle(r *draw.Rand, views []model.Param, block []float32) {
	for _, p := range views {
		view := p.Slice(block)
		for i := range view {
			switch p.Start {
			case model.Zero:
				view[i] = float32(0.2 * r.Norm())
			case model.One:
				view[i] = float32(r.Range(0.6, 1.4))
			}
		}
	}
}

// noise returns n normal values that depend on seed.
func noise(seed uint64, n int) []float32 {
	r := draw.Of(seed, draw.Test, 7)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// distance is |a - b| / |b|, the relative difference of two vectors; |a| if b is 0.
func distance(a, b []float32) float64 {
	var diff, size float64
	for i := range b {
		d := float64(a[i]) - float64(b[i])
		diff += d * d
		size += float64(b[i]) * float64(b[i])
	}
	if size == 0 {
		size = 1
	}
	return math.Sqrt(diff / size)
}
