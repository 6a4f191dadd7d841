package weights

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/model"
)

func network(t testing.TB, s model.Spec) (n *model.Network, params, buffers []float32) {
	t.Helper()
	n, err := model.Build(s)
	require.NoError(t, err)
	params, buffers = make([]float32, n.NumParams()), make([]float32, n.NumBuffers())
	n.Init(params, buffers, 1)
	for i := range buffers {
		buffers[i] += float32(i%7) / 16
	}
	return n, params, buffers
}

var small = model.Spec{Arch: "resnet18", Side: 32, Dim: 8, Width: 8}

// torchvision is what its file would hold: no head of ours, its own classifier, counters.
func torchvision(t testing.TB) []checkpoint.Tensor {
	n, params, buffers := network(t, small)
	tensors := slices.DeleteFunc(Tensors(n, params, buffers), func(x checkpoint.Tensor) bool { return root(x.Name) == "embedding" })
	return append(tensors,
		checkpoint.Tensor{Name: "fc.weight", Shape: []int{10, 64}, Data: make([]float32, 640)},
		checkpoint.Tensor{Name: "fc.bias", Shape: []int{10}, Data: make([]float32, 10)},
		checkpoint.Tensor{Name: "bn1.num_batches_tracked", Data: []float32{3}})
}

func TestApply(t *testing.T) {
	n, want, wantBuffers := network(t, small)
	params, buffers := make([]float32, len(want)), make([]float32, len(wantBuffers))
	report, err := Apply(n, params, buffers, torchvision(t))
	require.NoError(t, err)
	lo, hi := n.StageRange(model.Head)
	assert.Equal(t, want[:lo], params[:lo])
	assert.Equal(t, make([]float32, hi-lo), params[lo:], "the head is not touched")
	assert.Equal(t, wantBuffers, buffers)
	assert.Equal(t, Report{
		Loaded: 100, Kept: []string{"embedding.weight", "embedding.bias"},
		Ignored: []string{"fc.bias", "fc.weight"}, Counters: 1,
	}, report)
	assert.Equal(t, "100 tensors; embedding.weight, embedding.bias not there or of another shape, at the random start; ignored fc.bias, fc.weight; counters of batches ignored: 1", report.String())
}

func TestApplyHead(t *testing.T) {
	n, want, wantBuffers := network(t, small)
	params, buffers := make([]float32, len(want)), make([]float32, len(wantBuffers))
	report, err := Apply(n, params, buffers, Tensors(n, want, wantBuffers))
	require.NoError(t, err)
	assert.Equal(t, want, params)
	assert.Equal(t, "102 tensors", report.String())
}

// A network of ours starts one with other dimensions, whose own embedding layer stays as it is; so
// does one that is cut inside of torchvision's layers.
func TestApplyToOtherDimensionsOrCut(t *testing.T) {
	for _, arch := range []string{"conv4", "resnet18"} {
		from := model.Spec{Arch: arch, Side: 32, Dim: 8, Width: 8, Norm: "group"}
		n, want, _ := network(t, from)
		to := from
		to.Dim, to.Cut = 24, map[string]string{"conv4": "conv2", "resnet18": "layer2"}[arch]
		m, got, _ := network(t, to)
		start := slices.Clone(got)
		proxies := checkpoint.Tensor{Name: "proxies", Shape: []int{2, 8}, Data: make([]float32, 16)}
		report, err := Apply(m, got, nil, append(Tensors(n, want, nil), proxies))
		require.NoError(t, err, arch)
		assert.Equal(t, []string{"embedding.weight", "embedding.bias"}, report.Kept)
		assert.Equal(t, []string{"proxies"}, report.Ignored)
		trunk := len(got) - 24*m.Params[len(m.Params)-2].Shape[1] - 24
		assert.Equal(t, want[:trunk], got[:trunk])
		assert.Equal(t, start[trunk:], got[trunk:])

		wider := to
		wider.Width = 16
		m, got, _ = network(t, wider)
		_, err = Apply(m, got, nil, Tensors(n, want, nil))
		assert.ErrorContains(t, err, "embedding.weight is [8 ", "another trunk is no other head")
	}
}

// Every name that does not fit is listed, and nothing has been written.
func TestApplyErrors(t *testing.T) {
	n, start, _ := network(t, small)
	params, buffers := slices.Clone(start), make([]float32, n.NumBuffers())
	drop := func(names ...string) []checkpoint.Tensor {
		return slices.DeleteFunc(torchvision(t), func(x checkpoint.Tensor) bool { return slices.Contains(names, x.Name) })
	}
	reshaped := torchvision(t)
	reshaped[0].Shape = []int{8, 3, 49, 1}
	for want, tensors := range map[string][]checkpoint.Tensor{
		"missing: bn1.bias, layer4.1.bn2.running_var":                                             drop("bn1.bias", "layer4.1.bn2.running_var"),
		"of another shape: conv1.weight is [8 3 49 1] instead of [8 3 7 7]":                       reshaped,
		"not in the network: layer3.5.conv1.weight":                                               append(torchvision(t), checkpoint.Tensor{Name: "layer3.5.conv1.weight", Shape: []int{1}, Data: []float32{1}}),
		"missing: embedding.weight":                                                               append(torchvision(t), checkpoint.Tensor{Name: "embedding.bias", Shape: []int{8}, Data: make([]float32, 8)}),
		"the network resnet18 (check model.arch, model.width and model.dim): missing: conv1.weig": nil,
	} {
		_, err := Apply(n, params, buffers, tensors)
		assert.ErrorContains(t, err, want)
		assert.Equal(t, start, params)
	}
	group := small
	group.Norm = "group"
	g, params, _ := network(t, group)
	_, err := Apply(g, params, nil, torchvision(t))
	assert.ErrorContains(t, err, "set model.norm to batch): not in the network: bn1.running_mean, ")
}
