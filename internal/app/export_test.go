package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/weights"
	"github.com/metrixml/metrix/worker"
)

// savedNetwork is a checkpoint of a small network at its start.
func savedNetwork(t *testing.T) (dir string, tensors []checkpoint.Tensor) {
	t.Helper()
	r, err := recipe.Parse("test", []byte("name: export\ndata: {size: 32, mean: [0.5, 0.25, 0.125]}\nmodel: {arch: conv4, dim: 8, width: 8}\n"), nil)
	require.NoError(t, err)
	n, err := worker.NetworkOf(r)
	require.NoError(t, err)
	params := make([]float32, n.NumParams())
	n.Init(params, nil, 1)
	tensors = weights.Tensors(n, params, nil)
	dir = t.TempDir()
	m := checkpoint.Manifest{Run: "export", RecipeHash: r.Hash(), Recipe: string(r.Canonical()), Step: 7, Seed: 1}
	proxies := checkpoint.Tensor{Name: "proxies", Shape: []int{1, 8}, Data: make([]float32, 8)}
	_, err = checkpoint.Save(dir, m, map[string][]checkpoint.Tensor{"model": append(tensors[:len(tensors):len(tensors)], proxies)}, 1)
	require.NoError(t, err)
	return dir, tensors
}

func TestExport(t *testing.T) {
	dir, tensors := savedNetwork(t)
	file := filepath.Join(t.TempDir(), "net.safetensors")
	out, _, _, err := execute(newExport(), "--checkpoint", dir, "--output", file)
	require.NoError(t, err)
	require.Contains(t, out, "net.safetensors: conv4 of step 7 as safetensors, ")
	got, err := weights.Load(file)
	require.NoError(t, err)
	require.Equal(t, tensors, got, "the network, without the proxies")

	_, _, code, err := execute(newExport(), "--checkpoint", dir, "--output", file, "--format", "onnx")
	require.ErrorContains(t, err, "the file exists; --force replaces it")
	require.Equal(t, cli.ExitUsage, code)
	_, _, _, err = execute(newExport(), "--checkpoint", dir, "--output", file, "--format", "onnx", "--force")
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, want := range []string{"recipe_hash", "0.5,0.25,0.125", "resize the image's shorter side to 37 pixels", "middle 32 x 32", "InstanceNormalization"} {
		require.Contains(t, string(text), want)
	}
}

func TestExportUsage(t *testing.T) {
	dir, _ := savedNetwork(t)
	out := filepath.Join(t.TempDir(), "net")
	for want, args := range map[string][]string{
		"does not say the format: add --format onnx":       {"--checkpoint", dir, "--output", out},
		`--format is "tf"; it must be onnx or safetensors`: {"--checkpoint", dir, "--output", out, "--format", "tf"},
		"nowhere": {"--checkpoint", "nowhere", "--output", out, "--format", "onnx"},
		`required flag(s) "checkpoint", "output" not set`: {},
	} {
		_, _, code, err := execute(newExport(), args...)
		require.ErrorContains(t, err, want)
		if len(args) > 0 {
			require.Equal(t, cli.ExitUsage, code, want)
		}
	}
	require.NoFileExists(t, out)
}
