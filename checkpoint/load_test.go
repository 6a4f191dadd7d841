package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// change rewrites the manifest of the checkpoint at path.
func change(t *testing.T, path string, edit func(m map[string]any)) {
	t.Helper()
	name := filepath.Join(path, manifestName)
	src, err := os.ReadFile(name)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(src, &m))
	edit(m)
	src, err = json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, src, 0o644))
}

// damages are ways in which a checkpoint can be unusable, by the sentence that says so.
var damages = map[string]func(t *testing.T, path string){
	"its manifest.json is missing": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(filepath.Join(path, manifestName)))
	},
	"its manifest.json is not valid JSON": func(t *testing.T, path string) {
		require.NoError(t, os.Truncate(filepath.Join(path, manifestName), 30))
	},
	"its file model.safetensors is missing": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(filepath.Join(path, "model.safetensors")))
	},
	"its file model.safetensors is incomplete: it has 9 bytes": func(t *testing.T, path string) {
		require.NoError(t, os.Truncate(filepath.Join(path, "model.safetensors"), 9))
	},
	"its file model.safetensors is corrupt: its SHA-256 starts with": func(t *testing.T, path string) {
		f, err := os.OpenFile(filepath.Join(path, "model.safetensors"), os.O_RDWR, 0)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{0x42}, info.Size()-1)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	},
	"its file model.safetensors is not a plain file": func(t *testing.T, path string) {
		require.NoError(t, os.Remove(filepath.Join(path, "model.safetensors")))
		require.NoError(t, os.Mkdir(filepath.Join(path, "model.safetensors"), 0o755))
	},
	"format 2; this version reads up to 1, so a newer metrix is needed": func(t *testing.T, path string) {
		change(t, path, func(m map[string]any) { m["format"], m["news"] = 2, true })
	},
	"format 0; formats start at 1": func(t *testing.T, path string) {
		change(t, path, func(m map[string]any) { delete(m, "format") })
	},
	`its manifest.json is not a manifest: json: unknown field "news"`: func(t *testing.T, path string) {
		change(t, path, func(m map[string]any) { m["news"] = true })
	},
	`lists a file "../../x.safetensors"`: func(t *testing.T, path string) {
		change(t, path, func(m map[string]any) {
			m["files"] = map[string]any{"../../x.safetensors": map[string]any{"bytes": 1}}
		})
	},
	"lists 0 files": func(t *testing.T, path string) {
		change(t, path, func(m map[string]any) { delete(m, "files") })
	},
}

func TestDamageIsASentence(t *testing.T) {
	for sentence, damage := range damages {
		t.Run(sentence, func(t *testing.T) {
			path := save(t, t.TempDir(), 7, 1)
			damage(t, path)
			_, _, err := Load(path)
			require.ErrorContains(t, err, "checkpoint: "+path+" cannot be used: ")
			require.ErrorContains(t, err, sentence)
			_, verr := Verify(path)
			require.EqualError(t, verr, err.Error())
		})
	}
}

func TestLatestPassesOverDamage(t *testing.T) {
	for sentence, damage := range damages {
		t.Run(sentence, func(t *testing.T) {
			dir := t.TempDir()
			good := save(t, dir, 7, 3)
			bad := save(t, dir, 8, 3)
			require.NoError(t, os.Mkdir(filepath.Join(dir, ".tmp-step-00000009-1"), 0o755))
			damage(t, bad)
			path, skipped, err := Find(dir)
			require.NoError(t, err)
			require.Equal(t, good, path)
			require.Len(t, skipped, 1)
			require.Equal(t, bad, skipped[0].Path)
			require.ErrorContains(t, skipped[0].Reason, sentence)

			for step, want := range map[int64]string{6: good, 7: "", 8: ""} {
				path, err := After(dir, step)
				require.NoError(t, err)
				require.Equal(t, want, path, "after step %d", step)
			}
		})
	}
}

func TestLatestOfNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := Latest(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, ErrNone)
	_, err = Latest(dir)
	require.ErrorIs(t, err, ErrNone)

	path := save(t, dir, 7, 3)
	require.NoError(t, os.Rename(path, filepath.Join(dir, "step-00000009")))
	_, err = Latest(dir)
	require.NotErrorIs(t, err, ErrNone)
	require.ErrorContains(t, err, "none of the 1 checkpoints")
	require.ErrorContains(t, err, "its manifest says step 7")
}

func TestStepsSortAsNumbers(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, 99_999_999, 5)
	want := save(t, dir, 100_000_000, 5)
	got, err := Latest(dir)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestLoadOfNothing(t *testing.T) {
	_, _, err := Load(filepath.Join(t.TempDir(), "missing"))
	require.ErrorContains(t, err, "is missing")
}
