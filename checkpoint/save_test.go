package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func manifest(step int64) Manifest {
	return Manifest{Run: "demo", RecipeHash: "abc", Recipe: "name: demo\n", Step: step, Seed: 7,
		Metrics: json.RawMessage(`{"recall":[0.5]}`), Extra: map[string]string{"epoch": "3"}}
}

func tensors(step int64) map[string][]Tensor {
	return map[string][]Tensor{
		"model":     {{Name: "conv.weight", Shape: []int{2, 3}, Data: []float32{1, 2, 3, 4, 5, float32(step)}}, {Name: "none", Shape: []int{0}, Data: []float32{}}},
		"optimizer": {{Name: "steps", Shape: []int{}, Data: []float32{float32(step)}}},
	}
}

func save(t *testing.T, dir string, step int64, keep int) string {
	t.Helper()
	path, err := Save(dir, manifest(step), tensors(step), keep)
	require.NoError(t, err)
	return path
}

// names lists a folder, hidden ones too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

func TestSavedLoadsTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "checkpoints")
	path := save(t, dir, 100, 3)
	require.Equal(t, filepath.Join(dir, "step-00000100"), path)
	require.Equal(t, []string{"manifest.json", "model.safetensors", "optimizer.safetensors"}, names(t, path))

	m, groups, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, tensors(100), groups)
	want := manifest(100)
	require.JSONEq(t, string(want.Metrics), string(m.Metrics))
	want.Format, want.Files, want.Metrics = Format, m.Files, m.Metrics
	require.Equal(t, want, m)
	require.Len(t, m.Files, 2)

	again, err := Verify(path)
	require.NoError(t, err)
	require.Equal(t, m, again)
	hash, err := Hash(path)
	require.NoError(t, err)
	require.Len(t, hash, 64)
}

func TestKeepsTheLast(t *testing.T) {
	dir := t.TempDir()
	for step := int64(1); step <= 5; step++ {
		save(t, dir, 10*step, 2)
	}
	require.Equal(t, []string{"step-00000040", "step-00000050"}, names(t, dir))
	save(t, dir, 20, 1) // a run started over
	require.Equal(t, []string{"step-00000020", "step-00000040", "step-00000050"}, names(t, dir))
	latest, err := Latest(dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "step-00000050"), latest)
}

// A damaged checkpoint does not count as one of those kept, so the newest whole one stays.
func TestDamagedOnesDoNotCount(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, 1, 9)
	save(t, dir, 2, 9)
	require.NoError(t, os.Truncate(filepath.Join(dir, "step-00000002", "model.safetensors"), 5))
	save(t, dir, 3, 2)
	require.Equal(t, []string{"step-00000001", "step-00000002", "step-00000003"}, names(t, dir))
	save(t, dir, 4, 2)
	require.Equal(t, []string{"step-00000003", "step-00000004"}, names(t, dir))
}

func TestSameStepAgain(t *testing.T) {
	dir := t.TempDir()
	path := save(t, dir, 5, 3)
	before, err := Hash(path)
	require.NoError(t, err)
	require.Equal(t, path, save(t, dir, 5, 3), "the valid one stays")

	require.NoError(t, os.Remove(filepath.Join(path, "model.safetensors")))
	require.Equal(t, path, save(t, dir, 5, 3), "a damaged one is replaced")
	after, err := Hash(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	other := manifest(5)
	other.RecipeHash = "def"
	_, err = Save(dir, other, tensors(5), 3)
	require.ErrorContains(t, err, "it holds this step of another recipe (run demo)")
	require.Equal(t, []string{"step-00000005"}, names(t, dir))
}

// fullDisk fails a write once room bytes are used, as a full disk does.
type fullDisk struct {
	file
	room *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if *f.room < len(b) {
		return 0, &fs.PathError{Op: "write", Path: "model.safetensors", Err: syscall.ENOSPC}
	}
	*f.room -= len(b)
	return f.file.Write(b)
}

func TestFullDiskLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, 1, 1)
	whole := 0
	for _, f := range []string{"manifest.json", "model.safetensors", "optimizer.safetensors"} {
		info, err := os.Stat(filepath.Join(dir, "step-00000001", f))
		require.NoError(t, err)
		whole += int(info.Size())
	}
	for room := 0; room < whole; room += 37 {
		left := room
		s := saver{now: time.Now(), create: func(path string) (file, error) {
			f, err := createFile(path)
			return fullDisk{f, &left}, err
		}}
		_, err := s.save(dir, manifest(2), tensors(2), 1)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "no space left on device")
		require.Equal(t, []string{"step-00000001"}, names(t, dir), "with room for %d bytes", room)
	}
}

// failingSync is a disk that reports trouble only when asked to make the bytes durable.
type failingSync struct{ file }

func (failingSync) Sync() error { return syscall.EIO }

func TestFailedSyncLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := saver{now: time.Now(), create: func(path string) (file, error) {
		f, err := createFile(path)
		return failingSync{f}, err
	}}
	_, err := s.save(dir, manifest(2), tensors(2), 1)
	require.ErrorIs(t, err, syscall.EIO)
	require.Empty(t, names(t, dir))
}

func TestUnwritableFolder(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o644))
	_, err := Save(filepath.Join(blocked, "sub"), manifest(2), tensors(2), 1)
	require.ErrorContains(t, err, "checkpoint: save step 2 to "+blocked)
	require.ErrorContains(t, err, "not a directory")
}

func TestRefusedBeforeWriting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "never")
	bad := func(m Manifest, files map[string][]Tensor, keep int, sentence string) {
		t.Helper()
		path, err := Save(dir, m, files, keep)
		require.ErrorContains(t, err, sentence)
		require.Empty(t, path)
	}
	bad(manifest(-1), tensors(1), 1, "step is -1")
	bad(manifest(1), nil, 1, "0 groups")
	bad(manifest(1), tensors(1), 0, "keep is 0")
	bad(manifest(1), map[string][]Tensor{"../x": nil}, 1, `called "../x"`)
	m := manifest(1)
	m.Metrics = json.RawMessage(`{`)
	bad(m, tensors(1), 1, "metrics are not valid JSON")
	require.NoDirExists(t, dir)

	for sentence, list := range map[string][]Tensor{
		"shape [3] for 1 values":   {{Name: "a", Shape: []int{3}, Data: []float32{1}}},
		"empty, reserved or taken": {{Name: "a", Data: []float32{1}}, {Name: "a", Data: []float32{1}}},
		"no array that fits":       {{Name: "a", Shape: []int{-1}}},
	} {
		bad(manifest(1), map[string][]Tensor{"model": list}, 1, sentence)
		require.Empty(t, names(t, dir))
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	fresh, old := ".tmp-step-00000009-1", ".tmp-step-00000008-2"
	for _, name := range []string{fresh, old, ".old-step-00000001", "notes"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, old), yesterday, yesterday))
	save(t, dir, 3, 1)
	require.Equal(t, []string{fresh, "notes", "step-00000003"}, names(t, dir))
}

func TestErrorsAreOneLine(t *testing.T) {
	_, err := Save(t.TempDir(), manifest(1), map[string][]Tensor{"model": {{}}}, 1)
	require.Error(t, err)
	require.False(t, strings.Contains(err.Error(), "\n"), err.Error())
	require.False(t, errors.Is(err, ErrNone))
}
