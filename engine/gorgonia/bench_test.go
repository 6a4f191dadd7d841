package gorgonia

import (
	"fmt"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
)

// BenchmarkConv4Step is the engine's part of a training step: forward and backward of conv4 at 48
// pixels and 32 images.
func BenchmarkConv4Step(b *testing.B) {
	for _, e := range []struct {
		name    string
		options []Option
	}{{"found", nil}, {"go", []Option{PureGo()}}} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("blas=%s/threads=%d", e.name, threads), func(b *testing.B) {
				benchmarkStep(b, New(e.options...), model.Spec{Arch: "conv4", Side: 48, Dim: 128}, 32, threads)
			})
		}
	}
}

// BenchmarkResNet18Step is the same for ResNet-18 at 64 pixels.
func BenchmarkResNet18Step(b *testing.B) {
	benchmarkStep(b, New(), model.Spec{Arch: "resnet18", Side: 64, Dim: 128}, 16, 1)
}

func benchmarkStep(b *testing.B, e *Engine, spec model.Spec, n, threads int) {
	m, err := model.Build(spec)
	if err != nil {
		b.Fatal(err)
	}
	mem := engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
	m.Init(mem.Params, mem.Buffers, 1)
	net, err := e.Open(m, mem, engine.Options{Threads: threads})
	if err != nil {
		b.Fatal(err)
	}
	defer net.Close()
	r := draw.Of(1, draw.Test)
	x, dOut := noise(r, n*m.Input.Size()), noise(r, n*m.Dim)
	b.ReportAllocs()
	for b.Loop() {
		trunk, err := net.Forward(model.Trunk, engine.Train, x, n)
		if err != nil {
			b.Fatal(err)
		}
		head, err := net.Forward(model.Head, engine.Train, trunk.Out(), n)
		if err != nil {
			b.Fatal(err)
		}
		dFeatures, err := net.Backward(head, dOut, engine.Backward{Input: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := net.Backward(trunk, dFeatures, engine.Backward{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "images/s")
}

func noise(r *draw.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}
