package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// raw builds a safetensors file from a header and data.
func raw(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func read(b []byte) ([]Tensor, error) { return ReadTensors(bytes.NewReader(b), int64(len(b))) }

// The bytes of a small file, written out from the format's description.
func TestFileFormat(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTensors(&b, []Tensor{
		{Name: "b", Shape: []int{2}, Data: []float32{1, -2}},
		{Name: "a\"", Shape: []int{}, Data: []float32{0.5}},
	}))
	header := `{"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a\"":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	require.Equal(t, raw(header, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f), b.Bytes())
}

func TestValuesSurviveBitForBit(t *testing.T) {
	data := make([]float32, 10_000) // more than one buffer
	for i := range data {
		data[i] = math.Float32frombits(uint32(i) * 429_497)
	}
	data[0] = float32(math.Copysign(0, -1))
	data[1] = float32(math.Inf(1))
	var b bytes.Buffer
	require.NoError(t, WriteTensors(&b, []Tensor{{Name: "x", Shape: []int{100, 100}, Data: data}}))
	got, err := read(b.Bytes())
	require.NoError(t, err)
	require.Len(t, got, 1)
	for i := range data {
		require.Equal(t, math.Float32bits(data[i]), math.Float32bits(got[0].Data[i]))
	}
}

func TestNoTensors(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTensors(&b, nil))
	got, err := read(b.Bytes())
	require.NoError(t, err)
	require.Empty(t, got)
}

// Weights from elsewhere come in other types, orders and with metadata.
func TestForeignTypes(t *testing.T) {
	got, err := read(raw(`{"__metadata__":{"format":"pt"},`+
		`"n":{"dtype":"I64","shape":[],"data_offsets":[14,22]},`+
		`"h":{"dtype":"F16","shape":[5],"data_offsets":[0,10]},`+
		`"b":{"data_offsets":[10,14],"shape":[2,1],"dtype":"BF16"}}`,
		0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0, 0x00, 0xfc, 0xff, 0x7b, // 1, 2^-24, -2, -Inf, 65504
		0x80, 0x3f, 0x40, 0xc0, // 1, -3
		0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)) // -2
	require.NoError(t, err)
	require.Equal(t, []Tensor{
		{"h", []int{5}, []float32{1, 1.0 / (1 << 24), -2, float32(math.Inf(-1)), 65504}},
		{"b", []int{2, 1}, []float32{1, -3}},
		{"n", []int{}, []float32{-2}},
	}, got)

	for dtype, want := range map[string]float32{
		"F64": 0, "U64": 255, "I32": 255, "U32": 255, "I16": 255, "U16": 255, "I8": -1, "U8": 255, "BOOL": 255,
	} {
		data := make([]byte, 8)
		data[0] = 0xff
		width, ok := dtypeBytes(dtype)
		require.True(t, ok)
		got, err := read(raw(`{"x":{"dtype":"`+dtype+`","shape":[1],"data_offsets":[0,`+
			string(rune('0'+width))+`]}}`, data[:width]...))
		require.NoError(t, err, dtype)
		require.Equal(t, want, got[0].Data[0], dtype)
	}
	require.True(t, math.IsNaN(float64(float16(0x7e00))))
}

// hostile are files that lie, by what is said of them.
var hostile = []struct {
	sentence string
	file     []byte
}{
	{"shorter than the 8 bytes", []byte{1, 2, 3}},
	{"claims 18446744073709551615 bytes of a file of 8", []byte{255, 255, 255, 255, 255, 255, 255, 255}},
	{"claims 9 bytes of a file of 16", append([]byte{9, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8)...)},
	{"must start with a brace", raw(`[]`)},
	{"not the JSON of a safetensors file", raw(`{"a":`)},
	{"bytes follow its end", raw(`{} {}`)},
	{`unknown field "x"`, raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}`, 0, 0, 0, 0)},
	{`"a" is there twice`, raw(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`)},
	{"has type \"F4\", which is not read here", raw(`{"a":{"dtype":"F4","shape":[],"data_offsets":[0,4]}}`, 0, 0, 0, 0)},
	{"must lie at 0 to 4", raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}`, 0, 0, 0, 0, 0, 0, 0, 0)},
	{"must lie at 4 to 8", raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[],"data_offsets":[2,6]}}`, 0, 0, 0, 0, 0, 0)},
	{"ends at byte 4000000000000 of 4", raw(`{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}`, 0, 0, 0, 0)},
	{"no array that fits", raw(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`)},
	{"no array that fits", raw(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}}`)},
	{"a shape of 17 dimensions", raw(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 0, 0, 0, 0)},
	{"must lie at 0 to 4", raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,-9223372036854775808]}}`, 0, 0, 0, 0)},
	{"take 4 bytes; the file has 5", raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 0, 0, 0, 0, 0)},
}

func TestHostileFiles(t *testing.T) {
	for _, h := range hostile {
		_, err := read(h.file)
		require.ErrorContains(t, err, h.sentence)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	_, err := ReadFile(path)
	require.ErrorContains(t, err, path+" is missing")
	require.NoError(t, os.WriteFile(path, raw(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 0, 0, 0x80, 0x3f), 0o644))
	got, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []Tensor{{"a", []int{}, []float32{1}}}, got)
	require.NoError(t, os.Truncate(path, 20))
	_, err = ReadFile(path)
	require.ErrorContains(t, err, "is not a usable safetensors file")
}
