package weights

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
)

// expectation is what bench/peers/pth_fixtures.py wrote about the fixtures.
type expectation struct {
	All map[string]struct {
		Shape  []int
		Values []string
	}
	Tar []string
}

func expected(t *testing.T) expectation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "expected.json"))
	require.NoError(t, err)
	var e expectation
	require.NoError(t, json.Unmarshal(text, &e))
	return e
}

func (e expectation) check(t *testing.T, names []string, got []checkpoint.Tensor) {
	t.Helper()
	require.Len(t, got, len(names))
	for i, x := range got {
		assert.Equal(t, names[i], x.Name)
		want := e.All[x.Name]
		assert.Equal(t, want.Shape, x.Shape, x.Name)
		require.Len(t, x.Data, len(want.Values), x.Name)
		for j, text := range want.Values {
			v, err := strconv.ParseFloat(text, 64)
			require.NoError(t, err)
			assert.Equal(t, float32(v), x.Data[j], "%s[%d]", x.Name, j)
		}
	}
}

// allNames is the order in which the script made the tensors.
var allNames = []string{
	"conv1.weight", "transposed", "view", "step", "double", "half", "bfloat16", "parameter",
	"bn1.num_batches_tracked", "int32", "int16", "int8", "uint8", "bool", "empty",
}

// All formats of torch.save give the same tensors: float types and integers, strided tensors, views,
// prefixed names, a state dict inside a training checkpoint with unknown classes, protocols 2 and 4,
// and Python 2's ordered dicts.
func TestLoadTorch(t *testing.T) {
	e := expected(t)
	for file, names := range map[string][]string{
		"zip.pth": allNames, "stream.pth": allNames, "training.pth": allNames, "training4.pth": allNames, "tar.pth": e.Tar,
	} {
		t.Run(file, func(t *testing.T) {
			got, err := Load(filepath.Join("testdata", file))
			require.NoError(t, err)
			e.check(t, names, got)
		})
	}
}

func TestLoadSafetensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.bin") // told by its contents
	want := []checkpoint.Tensor{{Name: "module.w", Shape: []int{2, 1}, Data: []float32{3, 4}}}
	var b bytes.Buffer
	require.NoError(t, checkpoint.WriteTensors(&b, want))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	got, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, []checkpoint.Tensor{{Name: "w", Shape: []int{2, 1}, Data: []float32{3, 4}}}, got)
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for want, content := range map[string][]byte{
		"it is neither a safetensors file nor one that PyTorch's": []byte("hello, this is no network"),
		"it is a pickle, but not one that torch.save wrote":       []byte("\x80\x02K\x01."),
		"the pickle has no end":                                   []byte("\x80\x02K\x01"),
		"the zip archive cannot be read":                          []byte("PK\x03\x04 and no more"),
	} {
		path := filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(path, content, 0o644))
		_, err := Load(path)
		require.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, path)
	}
	_, err := Load(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "none is missing")
	_, err = Load(dir)
	assert.ErrorContains(t, err, "is not a plain file")
	_, err = Load(filepath.Join("testdata", "module.pth"))
	assert.ErrorContains(t, err, "a whole Python object (torch.nn.modules.linear.Linear), not a state dict: save model.state_dict()")
}

// A fixture cut off anywhere is an error, and so is one with a changed value where a checksum covers
// it.
func TestLoadDamaged(t *testing.T) {
	for _, name := range []string{"zip.pth", "stream.pth", "tar.pth"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		end := len(whole)
		if name == "tar.pth" {
			end = bytes.LastIndexByte(whole, '.') // padding follows
		}
		for n := 0; n < end; n += 7 {
			_, err := loadBytes(whole[:n])
			assert.Error(t, err, "%s cut to %d bytes", name, n)
		}
	}
	zip, err := os.ReadFile(filepath.Join("testdata", "zip.pth"))
	require.NoError(t, err)
	value := bytes.Index(zip, []byte{0, 0, 0, 0xc0, 0, 0, 0xe0, 0xbf}) // -2, -1.75
	require.Positive(t, value)
	zip[value] ^= 1
	_, err = loadBytes(zip)
	assert.ErrorContains(t, err, "is corrupt")
}

func loadBytes(b []byte) ([]checkpoint.Tensor, error) {
	return load(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
}
