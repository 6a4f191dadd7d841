package weights

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
)

// What is exported can be loaded and applied again, bit for bit.
func TestExportRoundTrip(t *testing.T) {
	m := varied(t, small)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, Export(path, Safetensors, m, false))
	tensors, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, Tensors(m.Network, m.Params, m.Buffers), tensors)
	params, buffers := make([]float32, len(m.Params)), make([]float32, len(m.Buffers))
	_, err = Apply(m.Network, params, buffers, tensors)
	require.NoError(t, err)
	assert.Equal(t, m.Params, params)
	assert.Equal(t, m.Buffers, buffers)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode())
}

// A file that is there stays unless it may be overwritten; a failed export leaves nothing.
func TestExportWhole(t *testing.T) {
	m := varied(t, small)
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	require.ErrorIs(t, Export(path, ONNX, m, false), ErrExists)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))

	broken := m
	broken.Buffers = nil
	require.ErrorContains(t, Export(path, ONNX, broken, true), "0 statistics are not the")
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))

	require.NoError(t, Export(path, Safetensors, m, true))
	_, err = checkpoint.ReadFile(path)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file is left")

	require.ErrorContains(t, Export(dir, ONNX, m, true), "it is a folder")
	require.ErrorIs(t, Export(filepath.Join(dir, "none", "model"), ONNX, m, false), os.ErrNotExist)
}
