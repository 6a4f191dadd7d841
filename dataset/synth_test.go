package dataset

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/draw"
)

var tiny = SynthConfig{Classes: 13, TestClasses: 3, Images: 4, Side: 32, Seed: 7}

// contents maps every file below dir to its bytes.
func contents(t *testing.T, dir string) map[string]string {
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	}))
	return files
}

func TestSynthIsAFunctionOfItsConfig(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	last, total := 0, 0
	require.NoError(t, Synth(a, tiny, func(d, n int) { last, total = d, n }))
	require.NoError(t, Synth(b, tiny, nil))
	other := tiny
	other.Seed++
	require.NoError(t, Synth(c, other, nil))
	first := contents(t, a)
	require.Equal(t, first, contents(t, b))
	require.NotEqual(t, first, contents(t, c))
	require.Len(t, first, total+3)
	require.Equal(t, total, last)
	require.True(t, strings.HasPrefix(first[sopTrain], sopHeader+"\n1 1 1 vase_final/000001_0.JPG\n2 1 1 vase_final/000001_1.JPG\n"))

	set, err := Open(a, LayoutAuto)
	require.NoError(t, err)
	require.Len(t, set.Train.Classes, 13)
	require.Equal(t, []string{"14", "15", "16"}, set.Test.Classes)
	r, err := Verify(t.Context(), set, VerifyOptions{})
	require.NoError(t, err)
	require.True(t, r.OK, r.String())
	require.Empty(t, r.Duplicates)
	require.GreaterOrEqual(t, r.Train.PerClass.Min, 2)
	require.LessOrEqual(t, r.Train.PerClass.Max, 4)
	info, err := Describe(t.Context(), set)
	require.NoError(t, err)
	require.Equal(t, 12, info.Train.Supers)
	require.Equal(t, Spread{32, 32, 32}, info.Train.Width)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3, "no temporary folder is left")
}

func TestSynthKeepsWhatIsThereAndRefusesOthers(t *testing.T) {
	dir := t.TempDir()
	set := filepath.Join(dir, "set")
	require.NoError(t, os.Mkdir(set, 0o755)) // an empty folder is as good as none
	require.NoError(t, Synth(set, tiny, nil))
	require.NoError(t, Synth(set, tiny, func(int, int) { t.Error("the set is there; nothing is to be drawn") }))
	more := tiny
	more.Images++
	require.ErrorContains(t, Synth(set, more, nil), "holds another synthetic set")
	write(t, dir, "mine/notes.txt", "keep me")
	require.ErrorContains(t, Synth(filepath.Join(dir, "mine"), tiny, nil), "holds something else than a synthetic set")
	require.ErrorContains(t, Synth(filepath.Join(dir, "mine", "notes.txt"), tiny, nil), "not a folder")
	for want, bad := range map[string]SynthConfig{
		"classes is 1":      {Classes: 1, Images: 4, Side: 32},
		"test_classes is 1": {Classes: 4, TestClasses: 1, Images: 4, Side: 32},
		"images is 1":       {Classes: 4, Images: 1, Side: 32},
		"side is 8":         {Classes: 4, Images: 4, Side: 8},
		`layout is "coco"; it must be sop, cub, cars or inshop`:     {Classes: 4, Images: 4, Side: 16, Layout: "coco"},
		"test_classes is 3; it must be as many as classes, 4, in l": {Classes: 4, TestClasses: 3, Images: 4, Side: 16, Layout: LayoutCUB},
	} {
		require.ErrorContains(t, Synth(filepath.Join(dir, "bad"), bad, nil), want)
	}
}

// Sets made before there was a choice of layouts stay what they are.
func TestSynthLayoutSOPIsTheDefault(t *testing.T) {
	require.Equal(t, "71534d5c10bb8b08832c19e291814154711152fa1f0ba20de0bd162c5c4e3be9", newManifest(DefaultSynthConfig()).Hash)
	dir := filepath.Join(t.TempDir(), "set")
	named := tiny
	named.Layout = LayoutSOP
	require.NoError(t, Synth(dir, tiny, nil))
	require.NoError(t, Synth(dir, named, func(int, int) { t.Error("the set is there; nothing is to be drawn") }))
}

func TestSynthStopsWithoutATrace(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	err := SynthContext(ctx, filepath.Join(dir, "set"), tiny, func(done, total int) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestSynthByTwoAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "set")
	cfg := SynthConfig{Classes: 2, Images: 2, Side: 16}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := Synth(dir, cfg, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	set, err := Open(dir, LayoutSOP)
	require.NoError(t, err)
	require.Len(t, set.Test.Classes, 2)
}

// TestSynthIsHard measures how well the nearest neighbour by raw pixels and by colours finds the
// class: both must be far below what a trained network reaches.
func TestSynthIsHard(t *testing.T) {
	cfg := SynthConfig{Classes: 2, TestClasses: 100, Images: 8, Side: 64, Seed: 1}
	if raceEnabled {
		cfg.TestClasses = 30
	}
	dir := filepath.Join(t.TempDir(), "set")
	require.NoError(t, Synth(dir, cfg, nil))
	set, err := Open(dir, LayoutSOP)
	require.NoError(t, err)
	var pixels, colours [][]float64
	for i := range set.Test.Images {
		img, err := set.Test.Decode(i, Limits{})
		require.NoError(t, err)
		pixels = append(pixels, thumbnail(img, 16))
		colours = append(colours, histogram3(img))
	}
	labels := set.Test.Labels()
	p, c := recallAt1(pixels, labels), recallAt1(colours, labels)
	t.Logf("%d images of %d classes: Recall@1 by 16x16 pixels %.3f, by colour histogram %.3f",
		len(labels), len(set.Test.Classes), p, c)
	require.Less(t, p, 0.2)
	require.Less(t, c, 0.2)
}

// thumbnail returns n x n pixels, channels side by side.
func thumbnail(img *image.RGBA, n int) []float64 {
	small := image.NewRGBA(image.Rect(0, 0, n, n))
	draw.BiLinear.Scale(small, small.Rect, img, img.Rect, draw.Src, nil)
	var out []float64
	for i, v := range small.Pix {
		if i%4 != 3 {
			out = append(out, float64(v))
		}
	}
	return out
}

// histogram3 returns the counts of 4 x 4 x 4 colours.
func histogram3(img *image.RGBA) []float64 {
	out := make([]float64, 64)
	for i := 0; i < len(img.Pix); i += 4 {
		out[img.Pix[i]>>6<<4|img.Pix[i+1]>>6<<2|img.Pix[i+2]>>6]++
	}
	return out
}

// recallAt1 is the share of rows whose nearest other row, by squared distance, has their label.
func recallAt1(rows [][]float64, labels []int32) float64 {
	hits := 0
	for i, a := range rows {
		best, at := 1e300, -1
		for j, b := range rows {
			if i == j {
				continue
			}
			d := 0.0
			for k := range a {
				d += (a[k] - b[k]) * (a[k] - b[k])
			}
			if d < best {
				best, at = d, j
			}
		}
		if labels[at] == labels[i] {
			hits++
		}
	}
	return float64(hits) / float64(len(rows))
}
