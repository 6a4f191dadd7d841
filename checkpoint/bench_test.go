package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// 25 million parameters are a ResNet-50 with a 512-d head: 100 MB.
func BenchmarkSave25M(b *testing.B) {
	dir := b.TempDir()
	files := map[string][]Tensor{"model": {{Name: "x", Shape: []int{25_000_000}, Data: make([]float32, 25_000_000)}}}
	b.SetBytes(100_000_000)
	step := int64(0)
	for b.Loop() {
		_, err := Save(dir, manifest(step), files, 1)
		require.NoError(b, err)
		step++
	}
}

func BenchmarkLoad25M(b *testing.B) {
	files := map[string][]Tensor{"model": {{Name: "x", Shape: []int{25_000_000}, Data: make([]float32, 25_000_000)}}}
	path, err := Save(b.TempDir(), manifest(1), files, 1)
	require.NoError(b, err)
	b.SetBytes(100_000_000)
	for b.Loop() {
		_, _, err := Load(path)
		require.NoError(b, err)
	}
}
