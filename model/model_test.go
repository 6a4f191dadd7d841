package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func build(t *testing.T, s Spec) *Network {
	t.Helper()
	n, err := Build(s)
	require.NoError(t, err)
	return n
}

// Parameter counts of torchvision's trunks (11 689 512, 21 797 672, 25 557 032 and 44 549 160 less the
// classifiers), plus the embedding layer.
func TestResNetsAreTorchvisions(t *testing.T) {
	r18 := build(t, Spec{Arch: "resnet18", Side: 224, Dim: 512})
	assert.Equal(t, 11_176_512+512*512+512, r18.NumParams())
	assert.Equal(t, Shape{512, 7, 7}, r18.Features)
	r50 := build(t, Spec{Arch: "resnet50", Side: 224, Dim: 512})
	assert.Equal(t, 23_508_032+2048*512+512, r50.NumParams())
	assert.Equal(t, Shape{2048, 7, 7}, r50.Features)
	assert.Equal(t, 53_120, r50.NumBuffers())
	r34 := build(t, Spec{Arch: "resnet34", Side: 224, Dim: 512})
	assert.Equal(t, 21_284_672+512*512+512, r34.NumParams())
	r101 := build(t, Spec{Arch: "resnet101", Side: 224, Dim: 512})
	assert.Equal(t, 42_500_160+2048*512+512, r101.NumParams())

	names := map[string][]int{}
	for _, p := range r50.Params {
		names[p.Name] = p.Shape
	}
	assert.Equal(t, []int{64, 3, 7, 7}, names["conv1.weight"])
	assert.Equal(t, []int{64}, names["bn1.bias"])
	assert.Equal(t, []int{256, 64, 1, 1}, names["layer1.0.downsample.0.weight"])
	assert.Equal(t, []int{128, 128, 3, 3}, names["layer2.0.conv2.weight"])
	assert.Equal(t, []int{2048, 512, 1, 1}, names["layer4.2.conv3.weight"])
	assert.Equal(t, []int{512, 2048}, names["embedding.weight"])
	assert.NotContains(t, names, "layer1.1.downsample.0.weight")
	assert.Equal(t, "layer4.2.bn3.running_var", r50.Buffers[len(r50.Buffers)-1].Name)
}

// The stride of a downsampling bottleneck is on its 3x3 convolution (torchvision's v1.5).
func TestBottleneckStride(t *testing.T) {
	r50 := build(t, Spec{Arch: "resnet50", Side: 64, Dim: 8})
	for _, l := range r50.Trunk {
		if r, ok := l.(*Residual); ok && r.Name == "layer2.0" {
			assert.Equal(t, 1, r.Main[0].(*Conv).Stride)
			assert.Equal(t, 2, r.Main[3].(*Conv).Stride)
			return
		}
	}
	t.Fatal("layer2.0 is missing")
}

// The blocks are gapless, trunk before head, and StageRange cuts them.
func TestLayout(t *testing.T) {
	for _, s := range []Spec{
		{Arch: "conv4", Side: 48, Dim: 128}, {Arch: "conv4", Side: 33, Dim: 16, Norm: "batch", Width: 16},
		{Arch: "resnet18", Side: 64, Dim: 32, Norm: "group", Width: 16}, {Arch: "resnet50", Side: 32, Dim: 8, Width: 8},
	} {
		n := build(t, s)
		at := 0
		for _, p := range n.Params {
			assert.Equal(t, at, p.Offset, p.Name)
			size := 1
			for _, d := range p.Shape {
				size *= d
			}
			assert.Equal(t, size, p.Size, p.Name)
			assert.Equal(t, p.Start == Kaiming, p.Decay, p.Name)
			at += p.Size
		}
		lo, mid := n.StageRange(Trunk)
		mid2, hi := n.StageRange(Head)
		assert.Equal(t, []int{0, mid, at}, []int{lo, mid2, hi})
		assert.Equal(t, at, n.NumParams())
		assert.Equal(t, n.Features.C*s.Dim+s.Dim, hi-mid)
		assert.Equal(t, Shape{s.Dim, 1, 1}, n.StageOutput(Head))
		assert.Equal(t, s.Norm == "group" || s.Arch == "conv4" && s.Norm == "", n.NumBuffers() == 0)
	}
}

// conv4 at its usual size costs what its comment says.
func TestConv4Cost(t *testing.T) {
	n := build(t, Spec{Arch: "conv4", Side: 48, Dim: 128})
	assert.Equal(t, Shape{128, 6, 6}, n.Features)
	assert.Equal(t, 12_607_488, products(n.Trunk, n.Input))
}

func products(layers []Layer, in Shape) (sum int) {
	for _, l := range layers {
		out := l.Output(in)
		switch l := l.(type) {
		case *Conv:
			sum += out.Size() * l.In * l.Kernel * l.Kernel
		case *Residual:
			sum += products(l.Main, in) + products(l.Shortcut, in)
		}
		in = out
	}
	return sum
}

func TestInit(t *testing.T) {
	n := build(t, Spec{Arch: "resnet18", Side: 32, Dim: 64, Width: 16})
	params, buffers := make([]float32, n.NumParams()), make([]float32, n.NumBuffers())
	n.Init(params, buffers, 1)
	for _, p := range n.Params {
		mean, std := moments(p.Slice(params))
		switch p.Start {
		case Kaiming: // variance 2 / fan_out, fan_out = out x kernel area
			fan := float64(p.Size / p.Shape[1])
			want := math.Sqrt(2 / fan)
			spread := 4 / math.Sqrt(float64(p.Size))
			assert.InDelta(t, 0, mean/want, spread, p.Name)
			assert.InDelta(t, 1, std/want, spread, p.Name)
		case One:
			assert.Equal(t, []float64{1, 0}, []float64{mean, std}, p.Name)
		case Zero:
			assert.Equal(t, []float64{0, 0}, []float64{mean, std}, p.Name)
		}
	}
	mean, _ := moments(n.Buffers[0].Slice(buffers))
	variance, _ := moments(n.Buffers[1].Slice(buffers))
	assert.Equal(t, []float64{0, 1}, []float64{mean, variance})

	again := make([]float32, len(params))
	n.Init(again, buffers, 1)
	assert.Equal(t, params, again)
	n.Init(again, buffers, 2)
	assert.NotEqual(t, params, again)
}

// The values that seed 1 gives are part of what a recipe means.
func TestInitIsFixed(t *testing.T) {
	n := build(t, Spec{Arch: "conv4", Side: 48, Dim: 128})
	params := make([]float32, n.NumParams())
	n.Init(params, nil, 1)
	assert.InDeltaSlice(t, []float32{-0.02708365, 0.0037929036, 0.11490578, -0.09018371}, params[:4], 1e-8)
}

func moments(x []float32) (mean, std float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		std += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(std)
}

func TestSpecErrors(t *testing.T) {
	for want, s := range map[string]Spec{
		`the architecture "vgg" is unknown: use conv4, resnet18, resnet34, resnet50 or resnet101`: {Arch: "vgg", Side: 32, Dim: 8},
		"conv4 takes images of 16 to 1024 pixels a side, not 8":                                   {Arch: "conv4", Side: 8, Dim: 8},
		"resnet18 takes images of 32 to 1024 pixels a side, not 16":                               {Arch: "resnet18", Side: 16, Dim: 8},
		"an embedding has 1 to 8192 dimensions, not 0":                                            {Arch: "conv4", Side: 32},
		`the norm "layer" is unknown: use group or batch`:                                         {Arch: "conv4", Side: 32, Dim: 8, Norm: "layer"},
		"the width is a multiple of 8 from 8 to 512, not 20":                                      {Arch: "conv4", Side: 32, Dim: 8, Width: 20},
	} {
		_, err := Build(s)
		assert.EqualError(t, err, "model: "+want)
	}
}

func TestAssembleErrors(t *testing.T) {
	in := Shape{3, 8, 8}
	for want, trunk := range map[string][]Layer{
		"a convolution from 4 to 8 channels cannot take 3x8x8":    {&Conv{Name: "c", In: 4, Out: 8, Kernel: 3, Stride: 1}},
		"kernel 0, stride 1, padding 0 are impossible":            {&Conv{Name: "c", In: 3, Out: 8, Stride: 1}},
		"a window of 9 does not fit into 3x8x8":                   {&MaxPool{Name: "p", Kernel: 9, Stride: 1}},
		"a batch norm of 4 channels cannot take 3x8x8":            {&BatchNorm{Name: "n", Channels: 4}},
		"a group norm of 3 channels in 2 groups cannot":           {&GroupNorm{Name: "n", Channels: 3, Groups: 2}},
		"a linear layer from 5 to 2 values cannot take":           {&Linear{Name: "l", In: 5, Out: 2}},
		"an L2 norm takes a vector, not 3x8x8":                    {&L2Norm{}},
		"layer 0 of the trunk is nil":                             {nil},
		`two views are called "n.weight"`:                         {&BatchNorm{Name: "n", Channels: 3}, &BatchNorm{Name: "n", Channels: 3}},
		"the main branch gives 3x8x8 and the shortcut 3x4x4":      {&Residual{Name: "r", Shortcut: []Layer{&MaxPool{Name: "p", Kernel: 2, Stride: 2}}}},
		"the head ends in 3x8x8, but an embedding is a vector":    {},
		"parameter e.w has the impossible shape [-1]":             {&External{Name: "e", Params: []Declared{{Name: "w", Shape: []int{-1}}}}},
		"turns 3x8x8 into 0x0x0, which is empty":                  {&External{Name: "e"}},
		"parameter e.w makes the network larger than":             {&External{Name: "e", Out: in, Params: []Declared{{Name: "v", Shape: []int{1 << 31}}, {Name: "w", Shape: []int{1}}}}},
		"parameter e.w has the impossible shape [65536 65536 65]": {&External{Name: "e", Params: []Declared{{Name: "w", Shape: []int{65536, 65536, 65}}}}},
	} {
		_, err := Assemble("net", in, trunk, nil)
		assert.ErrorContains(t, err, want)
	}
	_, err := Assemble("net", Shape{3, 0, 8}, nil, nil)
	assert.ErrorContains(t, err, "the input shape 3x0x8 must be at least 1")
}

// A cut moves layers from the trunk to the head; it changes neither their order nor the parameters.
func TestCut(t *testing.T) {
	spec := Spec{Arch: "resnet18", Side: 64, Dim: 8, Width: 16}
	require.Equal(t, []string{
		"conv1", "layer1.0", "layer1.1", "layer1", "layer2.0", "layer2.1", "layer2", "layer3.0", "layer3.1", "layer3", "layer4.0", "layer4.1", "layer4",
	}, spec.Cuts())
	whole, err := Build(spec)
	require.NoError(t, err)
	for name, features := range map[string]Shape{"conv1": {16, 16, 16}, "layer2": {32, 8, 8}, "layer3.0": {64, 4, 4}, "layer4": {128, 2, 2}} {
		spec.Cut = name
		n, err := Build(spec)
		require.NoError(t, err)
		require.Equal(t, features, n.Features, name)
		require.Equal(t, len(whole.Trunk)+len(whole.Head), len(n.Trunk)+len(n.Head))
		require.Equal(t, len(whole.Params), len(n.Params))
		for i, p := range n.Params {
			p.Stage = whole.Params[i].Stage
			require.Equal(t, whole.Params[i], p)
		}
		lo, hi := n.StageRange(Head)
		require.Equal(t, n.NumParams(), hi)
		require.Equal(t, name != "layer4", lo < first(whole.StageRange(Head)), name)
	}
	spec.Cut = "layer5"
	_, err = Build(spec)
	require.ErrorContains(t, err, `resnet18 has no layer "layer5" to cut after: use one of conv1, layer1.0`)
}

func first(lo, _ int) int { return lo }
