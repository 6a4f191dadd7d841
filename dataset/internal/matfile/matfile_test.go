package matfile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readFile(t testing.TB, name string) map[string]*Array {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return read(t, b)
}

func read(t testing.TB, b []byte) map[string]*Array {
	t.Helper()
	list, err := Read(bytes.NewReader(b))
	require.NoError(t, err)
	vars := map[string]*Array{}
	for _, v := range list {
		vars[v.Name] = v
	}
	return vars
}

// The files are of another writer, SciPy 1.17 (scipy.io.savemat), with and without compression: a
// struct array as in the index of Cars196, whose numbers are in several types, and what we pass over.
func TestReadsWhatAnotherWriterWrote(t *testing.T) {
	for _, name := range []string{"compressed.mat", "plain.mat"} {
		vars := readFile(t, name)
		list := vars["annotations"]
		require.Equal(t, []int{1, 5}, list.Dims, name)
		for i := range 5 {
			field := func(name string) *Array {
				a, err := list.Field(i, name)
				require.NoError(t, err)
				return a
			}
			path, err := field("relative_im_path").Line()
			require.NoError(t, err)
			require.Equal(t, []string{"car_ims/000001.jpg", "car_ims/000002.jpg", "car_ims/000003.jpg",
				"car_ims/000004.jpg", "car_ims/000005.jpg"}[i], path)
			for name, want := range map[string]int64{"bbox_x1": int64(30 + i), "bbox_y1": 300, "bbox_y2": -7,
				"class": int64(i/2 + 1), "test": int64(i % 2)} {
				got, err := field(name).Int()
				require.NoError(t, err)
				require.Equal(t, want, got, name)
			}
			_, err = field("bbox_x2").Int()
			require.ErrorContains(t, err, "it is 246.5, not a whole number")
		}
		var names []string
		for _, cell := range vars["class_names"].Elements {
			names = append(names, cell.Text)
		}
		require.Equal(t, []string{"AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Citroën C3 中 2012"}, names)
		require.Equal(t, []float64{0, 3, 1, 4, 2, 5}, vars["m"].Numbers, "column-major")
		require.Equal(t, []float64{1 << 40}, vars["big"].Numbers)
		require.Equal(t, []float64{1}, vars["z"].Numbers, "the real part")
		require.Equal(t, Other, vars["lines"].Kind, "text of two lines")
	}
}

func sample() []*Array {
	text := NewText("Citroën 中")
	return []*Array{
		NewStruct([]string{"path", "class"}, NewText("a/1.jpg"), NewNumber(1), NewText(""), NewNumber(-2.5)).Named("annotations"),
		NewRow(text, NewRow(), NewNumber(7)).Named("cells"),
		(&Array{Kind: Numbers, Dims: []int{2, 2}, Numbers: []float64{1, 2, 3, 4}}).Named("numbers"),
	}
}

func TestReadsWhatItWrites(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Write(&b, sample()...))
	got, err := Read(&b)
	require.NoError(t, err)
	want := sample()
	require.Len(t, got, len(want))
	for i := range want {
		requireEqual(t, want[i], got[i])
	}
}

// requireEqual compares without telling nil from empty.
func requireEqual(t *testing.T, want, got *Array) {
	t.Helper()
	require.Equal(t, want.Name, got.Name)
	require.Equal(t, want.Kind, got.Kind)
	require.Equal(t, want.Dims, got.Dims)
	require.Equal(t, want.Fields, got.Fields)
	require.Equal(t, want.Text, got.Text)
	require.Equal(t, want.Numbers, got.Numbers)
	require.Len(t, got.Elements, len(want.Elements))
	for i := range want.Elements {
		requireEqual(t, want.Elements[i], got.Elements[i])
	}
}

func TestWriteRefusesWhatItCannotSay(t *testing.T) {
	require.ErrorContains(t, Write(&bytes.Buffer{}, &Array{Name: "x"}), `variable "x": an unknown array cannot be written`)
	short := NewRow(NewNumber(1)).Named("c")
	short.Dims[1] = 2
	require.ErrorContains(t, Write(&bytes.Buffer{}, short), "has 1 elements; it needs 2")
}

func TestBigEndian(t *testing.T) {
	be := binary.BigEndian
	head := append(bytes.Repeat([]byte{' '}, versionAt), 1, 0, 'M', 'I')
	words := func(v ...uint32) (b []byte) {
		for _, w := range v {
			b = be.AppendUint32(b, w)
		}
		return b
	}
	body := words(typeUint32, 8, classDouble, 0, typeInt32, 8, 1, 1, 1<<16|typeInt8, uint32('v')<<24, 2<<16|typeUint16, 513<<16)
	vars := read(t, append(append(head, words(typeMatrix, uint32(len(body)))...), body...))
	require.Equal(t, []float64{513}, vars["v"].Numbers)
}

func TestRefusesWhatContradictsItself(t *testing.T) {
	good := func() []byte {
		b, err := os.ReadFile("testdata/plain.mat")
		require.NoError(t, err)
		return b
	}
	for want, b := range map[string][]byte{
		"too few for a MATLAB file":         []byte("MATLAB 5.0"),
		"save it again in MATLAB with":      []byte("MATLAB 7.3 MAT-file" + strings.Repeat(" ", 200)),
		"does not begin like a MATLAB 5":    bytes.Repeat([]byte{'x'}, 300),
		"variable 1: it is cut short":       good()[:headerBytes+100],
		"its version is 0x101":              func() []byte { b := good(); b[versionAt] = 1; return b }(),
		"the element has type 7; a variabl": func() []byte { b := good(); b[headerBytes] = typeSingle; return b }(),
		"it has more than 33554432 bytes":   make([]byte, maxBytes+1),
	} {
		_, err := Read(bytes.NewReader(b))
		require.ErrorContains(t, err, want)
	}
}

// A small file that would unpack to gigabytes is refused when it passes the limit.
func TestRefusesBombs(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Write(&b))
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range maxBytes>>20 + 1 {
		_, err := z.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	head := binary.LittleEndian.AppendUint32(b.Bytes(), typeCompressed)
	head = binary.LittleEndian.AppendUint32(head, uint32(packed.Len()))
	_, err := Read(bytes.NewReader(append(head, packed.Bytes()...)))
	require.ErrorContains(t, err, "it unpacks to more than 33554432 bytes")

	deep := NewNumber(1)
	for range maxDepth + 2 {
		deep = NewRow(deep)
	}
	b.Reset()
	require.NoError(t, Write(&b, deep.Named("deep")))
	_, err = Read(&b)
	require.ErrorContains(t, err, "nested more than 8 deep")
}

func TestArraysSayWhatTheyAreNot(t *testing.T) {
	_, err := NewNumber(1).Field(0, "x")
	require.EqualError(t, err, "it is numbers, not a struct array")
	list := NewStruct([]string{"a"}, NewNumber(1))
	_, err = list.Field(1, "a")
	require.EqualError(t, err, "it has 1 elements, and none with index 1")
	_, err = list.Field(0, "b")
	require.EqualError(t, err, `it has no field "b"; it has ["a"]`)
	_, err = list.Line()
	require.EqualError(t, err, "it is a struct array, not text")
	_, err = list.Int()
	require.EqualError(t, err, "it is a struct array of 1 elements, not one number")
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"compressed.mat", "plain.mat"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, a := range list {
			check(t, a)
		}
	})
}

// check holds an array to what its comment says.
func check(t *testing.T, a *Array) {
	switch n := a.Len(); a.Kind {
	case Numbers:
		require.Len(t, a.Numbers, n)
	case Cell:
		require.Len(t, a.Elements, n)
	case Struct:
		require.Len(t, a.Elements, n*len(a.Fields))
		for _, f := range a.Fields {
			if n > 0 {
				_, err := a.Field(0, f)
				require.NoError(t, err)
			}
		}
	}
	for _, e := range a.Elements {
		check(t, e)
	}
}
