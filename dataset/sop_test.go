package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// write makes a file below dir, with its folders.
func write(t testing.TB, dir, name string, data string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(data), 0o644))
}

// sopSet writes the smallest SOP set: the indexes without their images.
func sopSet(t testing.TB, dir string) {
	write(t, dir, sopTrain, sopHeader+"\n1 7 2 a/1.JPG\n2 7 2 a/2.JPG\n3 5 1 b/3.JPG\n")
	write(t, dir, sopTest, sopHeader+"\n4 9 1 b/4.JPG\n")
}

func TestParseIndex(t *testing.T) {
	for name, text := range map[string]string{
		"plain":           sopHeader + "\n1 2 3 a/b.JPG\n",
		"no last newline": sopHeader + "\n1 2 3 a/b.JPG",
		"CRLF":            sopHeader + "\r\n1 2 3 a/b.JPG\r\n",
		"byte order mark": "\ufeff" + sopHeader + "\n1 2 3 a/b.JPG\n",
		"blank lines":     "\n" + sopHeader + "\n\n   \n1 2 3 a/b.JPG\n\n",
		"runs of blanks":  "  image_id\tclass_id   super_class_id path \n\t1  2\t 3   a/b.JPG  \n",
	} {
		got, err := parseIndex(strings.NewReader(text), "index")
		require.NoError(t, err, name)
		require.Equal(t, []entry{{1, 2, 3, "a/b.JPG"}}, got, name)
	}
	got, err := parseIndex(strings.NewReader(sopHeader+"\n9000000000000000000 2 3 a folder/b c.JPG\n"), "index")
	require.NoError(t, err)
	require.Equal(t, []entry{{9000000000000000000, 2, 3, "a folder/b c.JPG"}}, got)
}

func TestParseIndexErrorsNameTheLine(t *testing.T) {
	long := strings.Repeat("x", maxIndexLine+1)
	for name, c := range map[string]struct{ lines, want string }{
		"negative id":     {"1 2 3 a\n-5 2 3 b", `index:3: image_id is "-5"; it must be a whole number of 0 or more`},
		"negative class":  {"1 -2 3 a", `index:2: class_id is "-2"`},
		"not a number":    {"1 2 x a", `index:2: super_class_id is "x"`},
		"too large":       {"1 99999999999999999999 3 a", `index:2: class_id is "99999999999999999999"`},
		"duplicate id":    {"1 2 3 a\n\n1 2 3 b", "index:4: image id 1 is already on line 2; ids must be unique"},
		"no path":         {"1 2 3", "index:2: the path is missing"},
		"short line":      {"1 2", `index:2: super_class_id is ""`},
		"absolute path":   {"1 2 3 /etc/passwd", `index:2: path "/etc/passwd" leads out of the set`},
		"escaping path":   {"1 2 3 a/../../b", `index:2: path "a/../../b" leads out of the set`},
		"only dots":       {"1 2 3 ..", `index:2: path ".." leads out of the set`},
		"backslash":       {`1 2 3 ..\b`, "index:2: path \"..\\\\b\" holds a backslash"},
		"zero byte":       {"1 2 3 a\x00b", "index:2: path \"a\\x00b\" holds a backslash or a zero byte"},
		"huge line":       {"1 2 3 a\n2 2 3 " + long, "index:3: the line is longer than 4096 bytes"},
		"header repeated": {sopHeader, `index:2: image_id is "image_id"`},
	} {
		_, err := parseIndex(strings.NewReader(sopHeader+"\n"+c.lines+"\n"), "index")
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := parseIndex(strings.NewReader("1 2 3 a\n"), "index")
	require.ErrorContains(t, err, `index:1: the first line is "1 2 3 a"; it must be the header`)
	_, err = parseIndex(strings.NewReader(sopHeader+"\n"), "index")
	require.ErrorContains(t, err, "index:1: the index lists no images")
}

// Labels read as 32-bit floats would merge 16777216 and 16777217; here ids of any size stay apart.
func TestLargeClassIDsStayApart(t *testing.T) {
	entries, err := parseIndex(strings.NewReader(sopHeader+
		"\n1 9007199254740993 1 a\n2 16777217 1 b\n3 16777216 1 c\n4 9007199254740992 1 d\n"), "index")
	require.NoError(t, err)
	s := newSplit("", entries)
	require.Equal(t, []string{"16777216", "16777217", "9007199254740992", "9007199254740993"}, s.Classes)
	require.Equal(t, []int32{3, 1, 0, 2}, s.Labels())
}

func TestOpenSOP(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, sopFolder)
	sopSet(t, root)
	for _, path := range []string{root, parent, root + "/"} {
		for _, layout := range []string{LayoutAuto, LayoutSOP, ""} {
			set, err := Open(path, layout)
			require.NoError(t, err)
			require.Equal(t, LayoutSOP, set.Layout)
			require.Equal(t, sopFolder, set.Name)
			require.Equal(t, []string{"5", "7"}, set.Train.Classes)
			require.Equal(t, []Image{{1, "a/1.JPG", 1, 2}, {2, "a/2.JPG", 1, 2}, {3, "b/3.JPG", 0, 1}}, set.Train.Images)
			require.Equal(t, [][]int{{2}, {0, 1}}, set.Train.ByClass())
			require.Equal(t, []Image{{4, "b/4.JPG", 0, 1}}, set.Test.Images)
			require.Equal(t, filepath.Join(root, "b", "4.JPG"), set.Test.File(0))
		}
	}
	other := t.TempDir() // the only subfolder that is a set, whatever its name
	sopSet(t, filepath.Join(other, "mine"))
	set, err := Open(other, LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, "mine", set.Name)
	sopSet(t, filepath.Join(other, "yours"))
	_, err = Open(other, LayoutAuto)
	require.ErrorContains(t, err, "more than one set (mine and yours); give one of them")
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "half/"+sopTrain, sopHeader+"\n1 1 1 a\n")
	write(t, dir, "file", "")
	write(t, dir, "empty/README", "hello")
	for _, c := range []struct{ path, layout, want string }{
		{"half", "auto", "Ebay_test.txt is missing; unpack the whole archive, both Ebay_train.txt and Ebay_test.txt"},
		{"nowhere", "auto", "does not exist; give the folder that holds Ebay_train.txt"},
		{"file", "auto", "is a file, not a folder; unpack it"},
		{"empty", "auto", "holds neither Ebay_train.txt nor train and test nor two folders with JPEG or PNG images"},
		{"empty", "sop", "holds no Ebay_train.txt, nor does a folder in it; give the folder Stanford_Online_Products"},
		{"empty", "coco", `unknown layout "coco"; use auto, sop, cub, cars, inshop, folder, pack`},
		{"empty", "cub", "holds no images.txt and image_class_labels.txt, nor does a folder in it; give the folder CUB_200_2011"},
		{"empty", "cars", "holds no cars_annos.mat or car_ims, nor does a folder in it; give the folder that holds both"},
		{"empty", "inshop", "holds no list_eval_partition.txt, nor does a folder in it; give the folder that holds Eval and Img"},
	} {
		_, err := Open(filepath.Join(dir, c.path), c.layout)
		require.ErrorContains(t, err, c.want)
	}
	_, err := Open("", "auto")
	require.ErrorContains(t, err, "no path given")
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(sopHeader + "\n1 2 3 a/b.JPG\n"))
	f.Add([]byte("\ufeff" + sopHeader + "\r\n\r\n1\t2  3 a b\r\n16777217 16777217 0 c"))
	f.Add([]byte(sopHeader + "\n-1 2 3 ../a\n1 2 3 /a\n1 1 1 b\n1 1 1 b\n"))
	f.Add([]byte(sopHeader + "\n99999999999999999999 1 1 a\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseIndex(strings.NewReader(string(data)), "index")
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "index:"), err.Error())
			return
		}
		s := newSplit("root", entries)
		for i, im := range s.Images {
			require.True(t, filepath.IsLocal(im.Path), im.Path)
			require.True(t, strings.HasPrefix(s.File(i), "root"))
			require.Less(t, im.Class, len(s.Classes))
		}
	})
}
