package weights

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
)

// varied is a network whose every parameter and statistic matters: norms scale and shift.
func varied(t testing.TB, s model.Spec) Model {
	t.Helper()
	n, params, buffers := network(t, s)
	vary(params, n.Params, draw.Of(1, draw.Test))
	vary(buffers, n.Buffers, draw.Of(2, draw.Test))
	return Model{Network: n, Params: params, Buffers: buffers, Metadata: map[string]string{"recipe_hash": "abc", "mean": "0.5"}}
}

func vary(block []float32, views []model.Param, r *draw.Rand) {
	for _, p := range views {
		if p.Start == model.Kaiming {
			continue
		}
		for i := range p.Slice(block) {
			block[p.Offset+i] = map[model.Start]float32{model.One: 1}[p.Start] + float32(r.Float64()-0.5)*0.6
		}
	}
}

func images(n int, s model.Shape) []float32 {
	x, r := make([]float32, n*s.Size()), draw.Of(3, draw.Test)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// embed is what our own engine computes.
func embed(t testing.TB, m Model, x []float32, n int) []float32 {
	t.Helper()
	mem := engine.Memory{Params: m.Params, Grads: make([]float32, len(m.Params)), Buffers: m.Buffers, BufferSums: make([]float32, len(m.Buffers))}
	net, err := gorgonia.New().Open(m.Network, mem, engine.Options{Threads: 2})
	require.NoError(t, err)
	defer net.Close() //nolint:errcheck // memory only
	features, err := net.Forward(model.Trunk, engine.Eval, x, n)
	require.NoError(t, err)
	defer features.Release()
	out, err := net.Forward(model.Head, engine.Eval, features.Out(), n)
	require.NoError(t, err)
	defer out.Release()
	return slices.Clone(out.Out())
}

// onnxSpecs are networks that have every kind of layer between them.
var onnxSpecs = map[string]model.Spec{
	"conv4":       {Arch: "conv4", Side: 16, Dim: 6, Width: 8},
	"conv4 batch": {Arch: "conv4", Side: 17, Dim: 6, Width: 8, Norm: "batch"},
	"resnet18":    {Arch: "resnet18", Side: 32, Dim: 6, Width: 8},
	"resnet50":    {Arch: "resnet50", Side: 33, Dim: 6, Width: 8},
	// At 32 pixels its last groups would be of two values, where rounding is amplified.
	"resnet18 group": {Arch: "resnet18", Side: 96, Dim: 6, Width: 8, Norm: "group"},
}

// The file, read and run by an interpreter of the standard that knows nothing of our networks, gives
// the embeddings of our engine.
func TestONNXMeansTheSame(t *testing.T) {
	const rows = 2
	for name, spec := range onnxSpecs {
		t.Run(name, func(t *testing.T) {
			m := varied(t, spec)
			var file bytes.Buffer
			require.NoError(t, Write(&file, ONNX, m))
			d := decode(t, file.Bytes())
			x := images(rows, m.Network.Input)
			in := newArray(rows, m.Network.Input.C, m.Network.Input.H, m.Network.Input.W)
			for i, v := range x {
				in.x[i] = float64(v)
			}
			got := interpret(t, d, in)
			want := embed(t, m, x, rows)
			require.Equal(t, []int{rows, spec.Dim}, got.dims)
			for i, v := range want {
				assert.InDelta(t, v, got.x[i], 1e-5)
			}
		})
	}
}

// The file says what it is, and holds every parameter and statistic once, bit for bit, by name.
func TestONNXStructure(t *testing.T) {
	for name, spec := range onnxSpecs {
		t.Run(name, func(t *testing.T) {
			m := varied(t, spec)
			var file bytes.Buffer
			require.NoError(t, Write(&file, ONNX, m))
			d := decode(t, file.Bytes())
			assert.Equal(t, []int{8, 17}, []int{d.ir, d.opset})
			assert.Equal(t, m.Metadata, d.metadata)
			assert.Equal(t, []port{{"images", []int{-1, 3, spec.Side, spec.Side}}}, d.inputs)
			assert.Equal(t, []port{{"embeddings", []int{-1, spec.Dim}}}, d.output)
			names := map[string]bool{}
			for _, n := range d.nodes {
				assert.False(t, names[n.name], n.name)
				names[n.name] = true
			}
			for _, p := range Tensors(m.Network, m.Params, m.Buffers) {
				require.Contains(t, d.tensors, p.Name)
				assert.Equal(t, p.Data, d.tensors[p.Name].floats, p.Name)
				assert.Equal(t, p.Shape, d.tensors[p.Name].dims[:len(p.Shape)], p.Name)
			}
		})
	}
}

func TestONNXErrors(t *testing.T) {
	external, err := model.Assemble("net", model.Shape{C: 3, H: 8, W: 8}, []model.Layer{&model.External{Name: "mine", Out: model.Shape{C: 4, H: 1, W: 1}}}, nil)
	require.NoError(t, err)
	assert.ErrorContains(t, Write(&bytes.Buffer{}, ONNX, Model{Network: external}), "layer mine is external")
	assert.ErrorContains(t, Write(&bytes.Buffer{}, "pickle", Model{Network: external}), `the format "pickle" is unknown: use onnx or safetensors`)
	m := varied(t, small)
	m.Params[3] /= 0
	assert.ErrorContains(t, Write(&bytes.Buffer{}, ONNX, m), "conv1.weight has a value that is not finite")
	m.Params = m.Params[1:]
	assert.ErrorContains(t, Write(&bytes.Buffer{}, ONNX, m), "are not the")
}

// A network whose last layer is not the last operation still has the output's name.
func TestONNXIdentity(t *testing.T) {
	n, err := model.Assemble("net", model.Shape{C: 3, H: 1, W: 1}, nil, nil)
	require.NoError(t, err)
	var file bytes.Buffer
	require.NoError(t, Write(&file, ONNX, Model{Network: n}))
	got := interpret(t, decode(t, file.Bytes()), array{[]int{1, 3, 1, 1}, []float64{1, 2, 3}})
	assert.Equal(t, array{[]int{1, 3}, []float64{1, 2, 3}}, got)
}

// onnxruntime computes the embeddings of our engine to 1e-4, at the sizes that are trained. Needs
// Python; see bench/peers/onnx_check.py.
func TestONNXRuntime(t *testing.T) {
	python := os.Getenv("METRIX_ONNXRUNTIME_PYTHON")
	if python == "" {
		t.Skip("set METRIX_ONNXRUNTIME_PYTHON to a Python with onnxruntime and numpy to compare with it")
	}
	const rows = 3
	for _, spec := range []model.Spec{
		{Arch: "conv4", Side: 48, Dim: 128},
		{Arch: "conv4", Side: 64, Dim: 128, Norm: "batch"},
		{Arch: "resnet18", Side: 224, Dim: 128},
		{Arch: "resnet18", Side: 96, Dim: 64, Norm: "group"},
		{Arch: "resnet50", Side: 224, Dim: 512},
	} {
		m := varied(t, spec)
		dir := t.TempDir()
		x := images(rows, m.Network.Input)
		y := embed(t, m, x, rows)
		onnx, values := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "values.safetensors")
		require.NoError(t, Export(onnx, ONNX, m, false))
		var b bytes.Buffer
		require.NoError(t, checkpoint.WriteTensors(&b, []checkpoint.Tensor{
			{Name: "images", Shape: []int{rows, 3, spec.Side, spec.Side}, Data: x},
			{Name: "embeddings", Shape: []int{rows, spec.Dim}, Data: y},
		}))
		require.NoError(t, os.WriteFile(values, b.Bytes(), 0o644))
		cmd := exec.Command(python, filepath.Join("..", "bench", "peers", "onnx_check.py"), onnx, values)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		require.NoError(t, err)
		var got struct {
			ONNXRuntime, Checker string
			Difference, Alone    float64
			Metadata             map[string]string
		}
		require.NoError(t, json.Unmarshal(text, &got))
		t.Logf("%s %s %d: largest difference %.1e, row by row %.1e (onnxruntime %s, checker %s)",
			spec.Arch, spec.Norm, spec.Side, got.Difference, got.Alone, got.ONNXRuntime, got.Checker)
		assert.Less(t, max(got.Difference, got.Alone), 1e-4)
		assert.Equal(t, m.Metadata, got.Metadata)
	}
}
