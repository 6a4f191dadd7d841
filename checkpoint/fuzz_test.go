package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the bytes, reading gives tensors that write and read back the same, or an error.
func FuzzSafetensors(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.file)
	}
	var b bytes.Buffer
	require.NoError(f, WriteTensors(&b, tensors(3)["model"]))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := read(file)
		if err != nil {
			return
		}
		total := 0
		for _, x := range got {
			total += len(x.Data)
		}
		require.LessOrEqual(t, total, len(file), "no more values than bytes")
		var b bytes.Buffer
		if WriteTensors(&b, got) != nil {
			return // a name or a header that we read but do not write
		}
		again, err := read(b.Bytes())
		require.NoError(t, err)
		require.Len(t, again, len(got))
	})
}

// Whatever the manifest and the file, Load gives a checkpoint no larger than its files, or an error.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	path, err := Save(dir, manifest(3), map[string][]Tensor{"model": tensors(3)["model"]}, 1)
	require.NoError(f, err)
	text, err := os.ReadFile(filepath.Join(path, manifestName))
	require.NoError(f, err)
	model, err := os.ReadFile(filepath.Join(path, "model.safetensors"))
	require.NoError(f, err)
	f.Add(text, model)
	f.Add(text, model[:20])
	f.Add(text[:50], model)
	f.Add([]byte(`{"format":9}`), model)
	f.Add([]byte(`{"format":1,"step":-1,"files":{"/etc/passwd":{"bytes":9223372036854775807}}}`), model)
	f.Fuzz(func(t *testing.T, text, model []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(path, manifestName), text, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(path, "model.safetensors"), model, 0o644))
		m, groups, err := Load(path)
		if err != nil {
			return
		}
		require.NoError(t, m.check())
		require.Len(t, groups, len(m.Files))
		total := 0
		for _, x := range groups["model"] {
			total += len(x.Data)
		}
		require.LessOrEqual(t, total, len(model), "no more values than bytes")
	})
}
