package weights

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	streamHead = "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
	little     = "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
	bigEndian  = "\x80\x02}X\x0d\x00\x00\x00little_endian\x89s."
	two        = "\x02\x00\x00\x00\x00\x00\x00\x00"
	oneTwo     = "\x00\x00\x80?\x00\x00\x00@" // float32
)

// streamView pickles {"w": tensor of one value} on a view of storage "0", which has two values.
func streamView(view string) string {
	return "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor\n(" +
		"(X\x07\x00\x00\x00storagectorch.cuda\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00gpuK\x02" + view + "tQ" +
		"K\x00(K\x01t(K\x01ttRs."
}

// Old files have views of storages, and tensors that were on a GPU.
func TestStreamViews(t *testing.T) {
	keys := "\x80\x02]X\x01\x00\x00\x000a."
	got, err := loadBytes([]byte(streamHead + little + streamView("(X\x01\x00\x00\x001K\x01K\x01t") + keys + two + oneTwo))
	require.NoError(t, err)
	assert.Equal(t, []float32{2}, got[0].Data)

	for want, file := range map[string]string{
		"a view of values 2 to 3 of the 2":     streamHead + little + streamView("(X\x01\x00\x00\x001K\x02K\x01t") + keys + two + oneTwo,
		"without offset and size":              streamHead + little + streamView("K\x05") + keys + two + oneTwo,
		"its values are big-endian":            streamHead + bigEndian,
		"its version is not 1001":              streamHead[:len(streamHead)-3] + "\x00\x00.",
		"the list of storages is missing":      streamHead + little + streamView("N") + "\x80\x02N.",
		`names "7", which no tensor has`:       streamHead + little + streamView("N") + "\x80\x02]X\x01\x00\x00\x007a.",
		`storage "0" is not in the file`:       streamHead + little + streamView("N") + "\x80\x02].",
		"has 3 values where its tensors say 2": streamHead + little + streamView("N") + keys + "\x03" + two[1:] + oneTwo,
		"the file ends before it":              streamHead + little + streamView("N") + keys + two[:7],
		"the file has no room":                 streamHead + little + streamView("N") + keys + two + oneTwo[:7],
	} {
		_, err := loadBytes([]byte(file))
		assert.ErrorContains(t, err, want)
	}
}

// A storage that no tensor of the state dict needs is passed over.
func TestStreamSkips(t *testing.T) {
	other := "X\x01\x00\x00\x00o]cx\ny\n(X\x07\x00\x00\x00storagectorch\nIntStorage\nX\x01\x00\x00\x009X\x03\x00\x00\x00cpuK\x02NtQ\x85Ras."
	program := streamView("N")
	file := streamHead + little + program[:len(program)-1] + other +
		"\x80\x02](X\x01\x00\x00\x009X\x01\x00\x00\x000e." + two + "skipped!" + two + oneTwo
	got, err := loadBytes([]byte(file))
	require.NoError(t, err)
	assert.Equal(t, []float32{1}, got[0].Data)
}

// tarOf is a tar archive with members in the order of their names.
func tarOf(t testing.TB, members map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"sys_info", "storages", "tensors", "pickle"} {
		if data, ok := members[name]; ok {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatGNU}))
			_, err := w.Write([]byte(data))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// oldMembers are the members of an archive with one tensor of two values, on a view.
func oldMembers() map[string]string {
	geometry := binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 9, 9, 9, 9}, 1) // rank, extent
	geometry = binary.LittleEndian.AppendUint64(geometry, 1)                        // stride
	geometry = binary.LittleEndian.AppendUint64(geometry, 0)                        // offset
	return map[string]string{
		"sys_info": little,
		"storages": "\x80\x02K\x01.\x80\x02K\x05X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87." + two + oneTwo +
			"\x80\x02](K\x06K\x05K\x01K\x01ta.", // view 6 of storage 5: its second value
		"tensors": "\x80\x02K\x01.\x80\x02K\x07K\x06ctorch\nFloatTensor\n\x87." + string(geometry),
		"pickle":  "\x80\x02}X\x01\x00\x00\x00wK\x07Qs.",
	}
}

func TestTarViews(t *testing.T) {
	got, err := loadBytes(tarOf(t, oldMembers()))
	require.NoError(t, err)
	assert.Equal(t, []float32{2}, got[0].Data)
}

func TestTarErrors(t *testing.T) {
	change := func(name, old, replacement string) map[string]string {
		m := oldMembers()
		require.Contains(t, m[name], old)
		m[name] = string(bytes.Replace([]byte(m[name]), []byte(old), []byte(replacement), 1))
		return m
	}
	none := oldMembers()
	delete(none, "pickle")
	for want, members := range map[string]map[string]string{
		"has no member pickle":                      none,
		"its values are big-endian":                 change("sys_info", "\x88s", "\x89s"),
		"a count from 0 to 65536 is missing":        change("storages", "K\x01.", "J\xff\xff\xff\xff."),
		"there twice or of an unknown kind":         change("storages", "FloatStorage", "XloatStorage"),
		"the file has no room for them":             change("storages", two, "\x02\x00\x00\x00\x00\x00\x00\x10"),
		"a view of values 3 to 4 of the 2":          change("storages", "K\x05K\x01K\x01t", "K\x05K\x03K\x01t"),
		`a view of storage "9", which is not there`: change("storages", "K\x06K\x05", "K\x06K\x09"),
		"a view of 2 fields":                        change("storages", "(K\x06K\x05K\x01K\x01t", "K\x06K\x05\x86"),
		`a tensor of storage "9"`:                   change("tensors", "K\x07K\x06", "K\x07K\x09"),
		"a tuple of 3 fields is missing":            change("tensors", "\x87", "\x86"),
		"99 extents; at most 16":                    change("tensors", "\x01\x00\x00\x00\x09", "\x63\x00\x00\x00\x09"),
		"it ends inside its shape":                  change("tensors", "\x01\x00\x00\x00\x09", "\x02\x00\x00\x00\x09"),
		`a reference to "8", which is not there`:    change("pickle", "K\x07Q", "K\x08Q"),
		"the pickle is longer than 4194304 bytes":   change("pickle", "K\x07Q", "T\x00\x00\x40\x00"),
		"member pickle: it is longer than 4194304":  change("pickle", "K\x07Q", string(slices.Repeat([]byte("0"), maxPickle))),
		"lead out of a storage of 1 values":         change("tensors", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x01\x00"),
	} {
		_, err := loadBytes(tarOf(t, members))
		assert.ErrorContains(t, err, want)
	}
}

func TestZipRecords(t *testing.T) {
	program := tensorProgram("K\x02", "K\x00", "K\x02", "K\x01")
	for want, extra := range map[string]string{"it is a TorchScript program": "x/constants.pkl", `its values are "big" endian`: "x/byteorder"} {
		_, err := loadBytes(zipOf(t, program, []byte(oneTwo), extra))
		assert.ErrorContains(t, err, want)
	}
}
