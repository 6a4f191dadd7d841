package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset/internal/matfile"
)

// fixture makes a small set in a published layout and returns its folder.
func fixture(t testing.TB, layout string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), layout)
	require.NoError(t, Synth(dir, SynthConfig{Classes: 13, Images: 4, Side: 16, Seed: 7, Layout: layout}, nil))
	return dir
}

// The same pictures in every layout: each opens by its name and by itself, has the same classes, and
// loses nothing.
func TestFixturesOpenInTheirLayouts(t *testing.T) {
	sop := fixture(t, LayoutSOP)
	for _, layout := range []string{LayoutSOP, LayoutCUB, LayoutCars, LayoutInShop} {
		dir := fixture(t, layout)
		for _, path := range []string{dir, filepath.Dir(dir)} {
			for _, as := range []string{layout, LayoutAuto} {
				set, err := Open(path, as)
				require.NoError(t, err, "%s as %s", layout, as)
				require.Equal(t, layout, set.Layout)
				require.Equal(t, layout, set.Name)
				require.Len(t, set.Train.Classes, 13)
				require.Len(t, set.Test.Classes, 13)
			}
		}
		set, err := Open(dir, layout)
		require.NoError(t, err)
		ids := map[int64]bool{}
		for _, s := range []*Split{set.Train, set.Test} {
			for i, im := range s.Images {
				ids[im.ID] = true
				_, err := os.Stat(s.File(i))
				require.NoError(t, err)
			}
		}
		require.Len(t, ids, len(set.Train.Images)+len(set.Test.Images), "ids are unique")
		requireSamePictures(t, sop, set)
		r, err := Verify(t.Context(), set, VerifyOptions{})
		require.NoError(t, err)
		require.True(t, r.OK, r.String())
	}
}

// requireSamePictures compares the files of each class with those of the SOP fixture; the queries of
// In-Shop come before the gallery, so the order inside a class may differ.
func requireSamePictures(t *testing.T, sop string, set *Set) {
	t.Helper()
	other, err := Open(sop, LayoutSOP)
	require.NoError(t, err)
	files := func(s *Split, class int) map[string]bool {
		out := map[string]bool{}
		for _, i := range s.ByClass()[class] {
			b, err := os.ReadFile(s.File(i))
			require.NoError(t, err)
			out[string(b)] = true
		}
		return out
	}
	for class := range other.Train.Classes {
		require.Equal(t, files(other.Train, class), files(set.Train, class))
		require.Equal(t, files(other.Test, class), files(set.Test, class))
	}
}

func TestInShopTellsQueriesFromTheGallery(t *testing.T) {
	dir := fixture(t, LayoutInShop)
	set, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	require.Zero(t, set.Train.QueryImages)
	require.Equal(t, len(set.Train.Images), set.Train.Queries())
	require.Zero(t, set.Train.Gallery())
	test := set.Test
	require.Equal(t, test.Queries(), test.Gallery())
	require.Less(t, 13, test.Queries())
	require.Less(t, test.Queries(), len(test.Images))
	index, err := os.ReadFile(filepath.Join(dir, "Eval", inShopIndex))
	require.NoError(t, err)
	status := map[string]string{}
	for line := range strings.Lines(string(index)) {
		if f := strings.Fields(line); len(f) == 3 {
			status[f[0]] = f[2]
		}
	}
	for i, im := range test.Images {
		want := "gallery"
		if i < test.Queries() {
			want = "query"
		}
		require.Equal(t, want, status[im.Path])
		require.Contains(t, im.Path, "/"+test.Classes[im.Class]+"/")
	}
	query, gallery := test.queryCounts()
	require.Equal(t, []int{13, 13}, []int{query.Classes, gallery.Classes})
	require.Equal(t, len(test.Images), query.Images+gallery.Images)

	info, err := Describe(t.Context(), set)
	require.NoError(t, err)
	require.Contains(t, info.String(), "queries of 13 classes")
	require.Equal(t, 12, info.Train.Supers)

	to := filepath.Join(t.TempDir(), "pack")
	require.NoError(t, Pack(t.Context(), to, set, PackOptions{}))
	packed, err := Open(to, LayoutInShop)
	require.NoError(t, err)
	require.Equal(t, LayoutPack, packed.Layout)
	require.Equal(t, test.QueryImages, packed.Test.QueryImages)
	require.Equal(t, test.Images, packed.Test.Images)
	require.NoError(t, packed.Close())

	// Img/ left out: img/ beside Eval/, or beside the index
	require.NoError(t, os.Rename(filepath.Join(dir, "Img", "img"), filepath.Join(dir, "img")))
	require.NoError(t, os.Rename(filepath.Join(dir, "Eval", inShopIndex), filepath.Join(dir, inShopIndex)))
	set, err = Open(dir, LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, dir, set.Test.Root)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "img")))
	_, err = Open(dir, LayoutInShop)
	require.ErrorContains(t, err, "holds neither Img/img nor img; unpack img.zip in its folder Img")
}

// The first 100 of the 200 classes of CUB-200-2011 train, the first 98 of the 196 of Cars196: here of
// indexes as large as the published ones, without their images.
func TestHalvesAreThePublishedSplits(t *testing.T) {
	dir := t.TempDir()
	layout, err := synthLayoutOf(LayoutCUB)
	require.NoError(t, err)
	for name, data := range fullIndex(t, layout, 200) {
		write(t, dir, "cub/"+name, string(data))
	}
	set, err := Open(filepath.Join(dir, "cub"), LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, []int{100, 100}, []int{len(set.Train.Classes), len(set.Test.Classes)})
	require.Equal(t, "100.Chair_100"[:4], set.Train.Classes[99][:4])
	require.Equal(t, "101.", set.Test.Classes[0][:4])

	layout, err = synthLayoutOf(LayoutCars)
	require.NoError(t, err)
	for name, data := range fullIndex(t, layout, 196) {
		write(t, dir, "cars/"+name, string(data))
	}
	set, err = Open(filepath.Join(dir, "cars"), LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, []int{98, 98}, []int{len(set.Train.Classes), len(set.Test.Classes)})
	require.True(t, strings.HasSuffix(set.Test.Classes[0], " 99"))
}

func fullIndex(t *testing.T, layout *synthLayout, classes int) map[string][]byte {
	t.Helper()
	var images []synthImage
	for i := range 2 * classes {
		im := synthImage{class: i/2 + 1, view: i % 2}
		im.path = layout.place(im, i)
		images = append(images, im)
	}
	files, err := layout.indexes(SynthConfig{Classes: classes / 2, TestClasses: classes / 2, Side: 16}, images)
	require.NoError(t, err)
	return files
}

func TestCUBIndexErrorsNameTheLine(t *testing.T) {
	for name, c := range map[string]struct{ images, labels, classes, want string }{
		"no number":      {"x a.jpg", "1 1", "", `images.txt:1: the image id is "x"; it must be a whole number of 1 or more`},
		"no path":        {"1", "1 1", "", "images.txt:1: nothing follows the image id 1"},
		"twice":          {"1 a.jpg\n1 b.jpg", "1 1", "", "images.txt:2: image id 1 is there already"},
		"leads out":      {"1 ../a.jpg", "1 1", "", "images.txt:1: path \"../a.jpg\" leads out of the set"},
		"empty":          {"\n", "1 1", "", "images.txt:1: unexpected EOF"},
		"zero class":     {"1 a.jpg", "1 0", "", `image_class_labels.txt:1: the class id is "0"`},
		"unknown image":  {"1 a.jpg", "2 1", "", "image_class_labels.txt:1: image id 2 is not in images.txt"},
		"two classes":    {"1 a.jpg", "1 1\n1 2", "", "image_class_labels.txt:2: image id 1 has a class already"},
		"more words":     {"1 a.jpg", "1 1 1", "", `image_class_labels.txt:1: "1" follows the class id`},
		"no class":       {"1 a.jpg\n2 b.jpg", "1 1", "", "gives image id 2 no class"},
		"one class":      {"1 a.jpg\n2 b.jpg", "1 1\n2 1", "", "has 1 classes; it needs at least 2"},
		"broken classes": {"1 a.jpg\n2 b.jpg", "1 1\n2 2", "one", `classes.txt:1: the class id is "one"`},
	} {
		dir := t.TempDir()
		write(t, dir, cubImages, c.images)
		write(t, dir, cubLabels, c.labels)
		if c.classes != "" {
			write(t, dir, cubClasses, c.classes)
		}
		_, err := Open(dir, LayoutAuto)
		require.ErrorContains(t, err, c.want, name)
	}
	dir := t.TempDir() // without names of classes their ids are the names
	write(t, dir, cubImages, "7 b/x y.jpg\r\n9 a/1.jpg\r\n")
	write(t, dir, cubLabels, "9 4\r\n7 3\r\n")
	set, err := Open(dir, LayoutCUB)
	require.NoError(t, err)
	require.Equal(t, []string{"3"}, set.Train.Classes)
	require.Equal(t, []Image{{7, "b/x y.jpg", 0, 0}}, set.Train.Images)
	require.Equal(t, []Image{{9, "a/1.jpg", 0, 0}}, set.Test.Images)
	require.Equal(t, filepath.Join(dir, "images", "a", "1.jpg"), set.Test.File(0))
}

func TestInShopIndexErrorsNameTheLine(t *testing.T) {
	good := "img/A/B/id_1/1.jpg id_1 train\nimg/A/B/id_2/1.jpg id_2 query\nimg/A/B/id_2/2.jpg id_2 gallery\n"
	for want, index := range map[string]string{
		`:1: the number of images is "many"`:                                "many\n" + inShopHeader + "\n" + good,
		`:1: the first line is "3 4"`:                                       "3 4\n" + inShopHeader + "\n" + good,
		`:2: the second line is "img/A/B/id_1/1.jpg id_1 train"`:            "3\n" + good,
		"lists 3 images and says that it lists 4":                           "4\n" + inShopHeader + "\n" + good,
		":6: image \"img/A/B/id_1/1.jpg\" is there already":                 "4\n" + inShopHeader + "\n" + good + "img/A/B/id_1/1.jpg id_1 train",
		`:3: the evaluation status is "test"; it must be train, query, gal`: "1\n" + inShopHeader + "\nimg/a id test",
		":3: the line has 2 words":                                          "1\n" + inShopHeader + "\nimg/a id",
		`:3: the image name is "a/b"; it must begin with img/`:              "1\n" + inShopHeader + "\na/b id train",
		":3: path \"img/../../b\" leads out of the set":                     "1\n" + inShopHeader + "\nimg/../../b id train",
		"lists no image as query":                                           "1\n" + inShopHeader + "\nimg/a id train",
	} {
		dir := t.TempDir()
		write(t, dir, "Eval/"+inShopIndex, index)
		write(t, dir, "Img/img/README", "")
		_, err := Open(dir, LayoutAuto)
		require.ErrorContains(t, err, want)
	}
}

func writeMat(t *testing.T, dir, name string, vars ...*matfile.Array) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, matfile.Write(&b, vars...))
	write(t, dir, name, b.String())
}

func TestCarsIndexErrorsNameTheAnnotation(t *testing.T) {
	text, number := matfile.NewText, matfile.NewNumber
	list := func(elements ...*matfile.Array) *matfile.Array {
		return matfile.NewStruct([]string{"relative_im_path", "class"}, elements...).Named("annotations")
	}
	for want, v := range map[string]*matfile.Array{
		"it has no struct array named annotations; it is not an ind": number(1).Named("x"),
		`annotation 1: it has no field "relative_im_path"; it has`:   matfile.NewStruct([]string{"class"}, number(1)).Named("annotations"),
		`annotation 1: it has no field "class"`:                      matfile.NewStruct([]string{"relative_im_path"}, text("a")).Named("annotations"),
		"annotation 2: class is 0; it must be 1 or more":             list(text("a"), number(1), text("b"), number(0)),
		"annotation 1: class: it is 1.5, not a whole number":         list(text("a"), number(1.5)),
		"annotation 1: class: it is text of 1 elements":              list(text("a"), text("1")),
		"annotation 1: relative_im_path: it is numbers, not text":    list(number(1), number(1)),
		"annotation 1: the path is missing":                          list(text(""), number(1)),
		`annotation 1: path "/a" leads out of the set`:               list(text("/a"), number(1)),
		`annotation 2: image "a" is annotation 1 already`:            list(text("a"), number(1), text("a"), number(2)),
		"has 1 classes; it needs at least 2":                         list(text("a"), number(1), text("b"), number(1)),
	} {
		dir := t.TempDir()
		writeMat(t, dir, carsIndex, v)
		_, err := Open(dir, LayoutAuto)
		require.ErrorContains(t, err, want)
	}
	dir := t.TempDir()
	write(t, dir, carsIndex, "not MATLAB")
	_, err := Open(dir, LayoutAuto)
	require.ErrorContains(t, err, carsIndex+": it has 10 bytes, too few for a MATLAB file")
	require.NoError(t, os.Remove(filepath.Join(dir, carsIndex)))
	write(t, dir, "car_ims/000001.jpg", "")
	_, err = Open(dir, LayoutAuto)
	require.ErrorContains(t, err, "cars_annos.mat is missing, and")
}

// Other forms in which Cars196 is found: one folder per class, and the development kit.
func TestCarsWithoutTheIndex(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg"} {
		write(t, dir, "car_ims/"+name, "")
	}
	set, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, LayoutCars, set.Layout)
	require.Equal(t, []string{"a", "b"}, set.Train.Classes)
	require.Equal(t, []Image{{4, "c/1.jpg", 0, 0}}, set.Test.Images)

	dir = t.TempDir()
	text, number := matfile.NewText, matfile.NewNumber
	kit := func(elements ...*matfile.Array) *matfile.Array {
		return matfile.NewStruct([]string{"class", "fname"}, elements...).Named("annotations")
	}
	write(t, dir, "cars_train/00001.jpg", "")
	_, err = Open(dir, LayoutAuto)
	require.ErrorContains(t, err, "cars_train_annos.mat is missing")
	writeMat(t, dir, "devkit/cars_train_annos.mat", kit(number(2), text("00001.jpg"), number(1), text("00002.jpg")))
	writeMat(t, dir, "devkit/cars_test_annos_withlabels.mat", kit(number(1), text("00001.jpg")))
	writeMat(t, dir, "devkit/cars_meta.mat", matfile.NewRow(text("Acura"), text("BMW")).Named("class_names"))
	set, err = Open(dir, LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, LayoutCars, set.Layout)
	require.Equal(t, []string{"Acura"}, set.Train.Classes)
	require.Equal(t, []Image{{2, "cars_train/00002.jpg", 0, 0}, {3, "cars_test/00001.jpg", 0, 0}}, set.Train.Images)
	require.Equal(t, []string{"BMW"}, set.Test.Classes)
	require.Equal(t, []Image{{1, "cars_train/00001.jpg", 0, 0}}, set.Test.Images)
}

func TestAutoRefusesToChoose(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a/"+sopTrain, "")
	write(t, dir, "b/"+carsIndex, "")
	_, err := Open(dir, LayoutAuto)
	require.ErrorContains(t, err, "holds more than one set (a and b); give one of them")
}

func FuzzInShop(f *testing.F) {
	f.Add([]byte("2\n" + inShopHeader + "\nimg/A/B/id_1/1.jpg id_1 train\nimg/A/B/id_2/1.jpg  id_2 query\n"))
	f.Add([]byte("\ufeff1\r\n" + inShopHeader + "\r\nimg/../x id train"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, dir, inShopIndex, string(data))
		items, err := parseInShop(filepath.Join(dir, inShopIndex))
		if err != nil {
			return
		}
		s := inShopSplit("root", items, 1, inShopSupers(items))
		for i, im := range s.Images {
			require.True(t, strings.HasPrefix(s.File(i), "root"))
			require.Less(t, im.Class, len(s.Classes))
		}
	})
}
