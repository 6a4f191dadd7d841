package weights

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// zipOf is a file as torch.save writes it, of a pickle, one storage and extra records saying "big".
func zipOf(t testing.TB, program string, storage []byte, extra ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	records := map[string][]byte{"x/data.pkl": []byte(program), "x/data/0": storage}
	for _, name := range extra {
		records[name] = []byte("big")
	}
	for name, data := range records {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// tensorProgram pickles {"w": tensor} with the geometry given as pickled integers.
func tensorProgram(storageSize, offset, shape, stride string) string {
	return "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(" +
		"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + storageSize + "tQ" +
		offset + "(" + shape + "t(" + stride + "t\x89NtRs."
}

func TestTensorProgram(t *testing.T) {
	got, err := loadBytes(zipOf(t, tensorProgram("K\x02", "K\x00", "K\x02", "K\x01"), []byte{0, 0, 128, 63, 0, 0, 0, 64}))
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, []float32{1, 2}, got[0].Data)
}

const (
	int31 = "J\xff\xff\xff\x7f"
	int62 = "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40"
	minus = "J\xff\xff\xff\xff"
	low   = "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80" // the lowest of 64 bits
)

// hostile are pickles and what is said about them.
var hostile = map[string]string{
	// Geometry that leads out of the data, or claims more than there is.
	tensorProgram(int31, "K\x00", "K\x02", "K\x01"):                       "the file has no room",
	tensorProgram(minus, "K\x00", "K\x02", "K\x01"):                       "the file has no room",
	tensorProgram("K\x03", "K\x00", "K\x03", "K\x01"):                     "the file ends, or is corrupt",
	tensorProgram("K\x01", "K\x00", "K\x01", "K\x01"):                     "its record is corrupt or longer",
	tensorProgram("K\x02", "K\x01", "K\x02", "K\x01"):                     "lead out of a storage of 2 values",
	tensorProgram("K\x02", minus, "K\x02", "K\x01"):                       "lead out of a storage",
	tensorProgram("K\x02", low, "K\x02", "K\x01"):                         "lead out of a storage",
	tensorProgram("K\x02", int62, "K\x02", "K\x01"):                       "lead out of a storage",
	tensorProgram("K\x02", "K\x00", "K\x02", int62):                       "lead out of a storage",
	tensorProgram("K\x02", "K\x00", int62, "K\x00"):                       "needs more values than the 2",
	tensorProgram("K\x02", "K\x00", "K\x02K\x02", "K\x00K\x00"):           "needs more values than the 2",
	tensorProgram("K\x02", "K\x00", "K\x00"+minus, "K\x00K\x00"):          "negative extents",
	tensorProgram("K\x02", "K\x00", "K\x02", minus):                       "negative extents",
	tensorProgram("K\x02", "K\x00", "K\x02", "K\x01K\x01"):                "does not go with stride",
	tensorProgram("K\x02", "N", "K\x02", "K\x01"):                         "are not integers",
	tensorProgram("K\x02", "K\x00", strings.Repeat("K\x01", 17), "K\x01"): "are not integers",
	tensorProgram("N", "K\x00", "K\x02", "K\x01"):                         "a storage without a name or size",
	// Lengths that lie.
	"\x80\x02X\xff\xff\xff\xff":                                           "a value of 4294967295 bytes",
	"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f":                        "a value of 9223372036854775807 bytes",
	"\x80\x02T\x00\x00\x10\x00ab":                                         "ends inside an instruction",
	"\x80\x02\x8b\x00\x00\x01\x00" + strings.Repeat("x", 1<<16):           "at most 32 make sense",
	"\x80\x02I" + strings.Repeat("1", 5000) + "\n.":                       "a line of more than 4096 bytes",
	"\x80\x02" + strings.Repeat("(", 1<<20):                               "more than 524288 instructions",
	"\x80\x02" + strings.Repeat("V"+strings.Repeat("x", 4000)+"\n", 1100): "longer than 4194304 bytes",
	// Programs that a machine trips over.
	"\x80\x02}(K\x01u.":  "malformed", // an odd dict
	"\x80\x02}C\x01xNs.": "holds no tensors",
	"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)RC\x01xNs.": "malformed", // bytes as a key of a map
	"\x80\x02.":             "malformed", // an empty stack
	"\x80\x02h\x07.":        "no state dict",
	"\x80\x02\xff.":         "instruction 0xff",
	"\x80\x02\x82\x01.":     "instruction 0x82",
	"\x80\x02\x8a\x00.":     "no state dict", // the empty long
	"\x80\x09.":             "malformed",     // a protocol to come
	"\x80\x02]q\x00h\x00a.": "no state dict", // a list inside itself
	"\x80\x02K\x01K\x02R.":  "malformed",
	"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.":   "malformed",
	"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.":   "malformed",
	"\x80\x02ccollections\nOrderedDict\n]K\x05a\x85R.": "malformed",
	"\x80\x02ctorch.nn.parameter\nParameter\n)R.":      "malformed",
	"\x80\x02X\x01\x00\x00\x00aQ.":                     "a reference to something that is no storage",
	"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00x\x85R.": "a whole Python object (posix.system)",
}

func TestHostilePickles(t *testing.T) {
	for program, want := range hostile {
		_, err := loadBytes(zipOf(t, program, []byte("12345678")))
		assert.ErrorContains(t, err, want, "%.80q", program)
	}
}

// No class of a pickle does anything: this one would make a file, in every way there is to call.
func TestNothingRuns(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	command := fmt.Sprintf("touch %s", mark)
	argument := fmt.Sprintf("X%c\x00\x00\x00%s", len(command), command)
	for _, program := range []string{
		"\x80\x02cposix\nsystem\n" + argument + "\x85R.",
		"\x80\x02(cposix\nsystem\n" + argument + "o.",
		"\x80\x02cposix\nsystem\n" + argument + "\x85\x81.",
		"\x80\x02(" + argument + "iposix\nsystem\n.",
		"\x80\x02c__builtin__\neval\n" + argument + "\x85R" + argument + "b.",
	} {
		_, err := loadBytes(zipOf(t, program, nil))
		assert.ErrorContains(t, err, "not a state dict", "%q", program)
	}
	_, err := os.Stat(mark)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestHostileZip(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("x/data.pkl") // compressed
	require.NoError(t, err)
	_, err = f.Write(bytes.Repeat([]byte{'('}, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = loadBytes(b.Bytes())
	assert.ErrorContains(t, err, "record data.pkl is compressed")
}

// Many tensors may not share one storage until they fill the memory.
func TestSharedStorage(t *testing.T) {
	one := strings.TrimSuffix(strings.TrimPrefix(tensorProgram("K\x02", "K\x00", "K\x02", "K\x01"), "\x80\x02}"), "s.")
	var program strings.Builder
	program.WriteString("\x80\x02}")
	for i := range 200 {
		program.WriteString(strings.Replace(one, "w", string(rune('0'+i%64)), 1) + "s")
	}
	program.WriteString(".")
	got, err := loadBytes(zipOf(t, program.String(), []byte("12345678")))
	require.NoError(t, err, "few values in a large file")
	assert.Len(t, got, 64)

	s := section{&storage{kind: kinds["BoolStorage"], size: 60, data: make([]byte, 60)}, 0, 60}
	x := &tensor{s, 0, []int{60}, []int{1}}
	_, err = read([]named{{"a", x}, {"b", x}}, 100)
	assert.ErrorContains(t, err, `tensor "b": with it the tensors hold more values than the file has bytes`)
}

// Whatever the bytes, loading gives tensors with no more values than the file has bytes, or an error.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"zip.pth", "stream.pth", "tar.pth", "training4.pth", "module.pth"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(b)
	}
	for program := range hostile {
		if len(program) < 4096 {
			f.Add(zipOf(f, program, []byte("12345678")))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		tensors, err := loadBytes(file)
		if err != nil {
			return
		}
		total := 0
		for _, x := range tensors {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			require.Len(t, x.Data, n)
			total += n
		}
		require.LessOrEqual(t, total, len(file))
	})
}

// Whatever the bytes, a pickle gives a value or an error, and exactly its bytes are taken.
func FuzzPickle(f *testing.F) {
	for program := range hostile {
		if len(program) < 4096 {
			f.Add([]byte(program))
		}
	}
	f.Fuzz(func(_ *testing.T, program []byte) {
		r := bytes.NewReader(program)
		v, err := unpickle(r, registry{}.persistent)
		if err == nil {
			_, _ = stateDict(v)
		}
	})
}
