package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flawedSet has every flaw that Verify looks for.
func flawedSet(t *testing.T) *Set {
	dir := t.TempDir()
	shade := func(v uint8) string {
		img := image.NewGray(image.Rect(0, 0, 4, 4))
		img.SetGray(0, 0, color.Gray{v})
		return string(pngBytes(t, img))
	}
	write(t, dir, sopTrain, sopHeader+"\n1 7 1 a/1.png\n2 7 1 a/2.png\n3 7 1 a/3.png\n4 8 1 a/4.png\n5 9 2 a/5.png\n6 9 2 a/6.png\n")
	write(t, dir, sopTest, sopHeader+"\n7 7 1 b/7.png\n8 30 1 b/8.png\n9 30 1 b/9.png\n")
	for name, data := range map[string]string{"a/1.png": shade(1), "a/2.png": shade(1), "a/3.png": shade(3),
		"a/4.png": shade(4), "a/5.png": "not an image", "b/7.png": shade(3), "b/8.png": shade(8),
		"b/9.png": shade(9)[:40]} {
		write(t, dir, name, data)
	}
	set, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	return set
}

func TestVerifyFindsEveryFlaw(t *testing.T) {
	var calls []int
	r, err := Verify(t.Context(), flawedSet(t), VerifyOptions{Threads: 3, Progress: func(done, total int) {
		calls = append(calls, done)
		require.Equal(t, 9, total)
	}})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}, calls)
	require.False(t, r.OK)
	require.Equal(t, Spread{1, 2, 3}, r.Train.PerClass)
	require.Equal(t, []string{"a/6.png"}, r.Train.Missing)
	require.Equal(t, []BadFile{{"a/5.png", "it is neither JPEG nor PNG; convert it"}}, r.Train.Unreadable)
	require.Equal(t, []string{"8"}, r.Train.Single)
	require.Equal(t, []string{"7"}, r.Test.Single)
	require.Equal(t, "b/9.png", r.Test.Unreadable[0].Path)
	require.Equal(t, []string{"7"}, r.ClassesInBoth)
	require.Len(t, r.Duplicates, 2)
	require.Equal(t, []FileRef{{"train", "7", "a/1.png"}, {"train", "7", "a/2.png"}}, r.Duplicates[0].Files)
	require.False(t, r.Duplicates[0].AcrossSplits)
	require.Equal(t, []FileRef{{"train", "7", "a/3.png"}, {"test", "7", "b/7.png"}}, r.Duplicates[1].Files)
	require.True(t, r.Duplicates[1].AcrossSplits)
	require.False(t, r.Duplicates[1].AcrossClass)

	text := r.String()
	for _, want := range []string{
		"train: 3 classes, 6 images, ", "1 to 3 images a class, 2.00 on average",
		"1 missing files:\n    a/6.png\n", "a/5.png: it is neither JPEG nor PNG",
		"1 classes in both splits; a test class must not be trained on:\n    7\n",
		"2 groups of files with equal content, 1 of them across the splits:\n    train a/1.png = train a/2.png\n",
		"the set cannot be used as it is",
	} {
		require.Contains(t, text, want)
	}
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, int64(len(text)), n)
	require.Equal(t, text, b.String())
}

func TestVerifyGoodSetHasEmptyListsInJSON(t *testing.T) {
	s := pngSplit(t, 2)
	set := &Set{Name: "x", Train: s, Test: &Split{Root: s.Root, Classes: []string{"other"}}}
	r, err := Verify(t.Context(), set, VerifyOptions{})
	require.NoError(t, err)
	require.True(t, r.OK)
	require.Contains(t, r.String(), "the set can be used")
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(b), "null")
}

func TestVerifyStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Verify(ctx, flawedSet(t), VerifyOptions{Threads: 2, Progress: func(done, total int) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "dataset: verify")
}

func TestLongListsAreCut(t *testing.T) {
	var r Report
	for range maxNamed + 5 {
		r.Train.Missing = append(r.Train.Missing, "gone.png")
	}
	require.Contains(t, r.String(), "25 missing files:")
	require.Contains(t, r.String(), "and 5 more, which the JSON report names")
}

func TestDescribe(t *testing.T) {
	info, err := Describe(t.Context(), flawedSet(t))
	require.NoError(t, err)
	require.Equal(t, 3, info.Train.Classes)
	require.Equal(t, 2, info.Train.Supers)
	require.Equal(t, 1, info.Train.Missing)
	require.Equal(t, []Bin{{1, 1}, {2, 1}, {3, 1}}, info.Train.Histogram)
	require.Equal(t, 4, info.Train.Sampled)
	require.Equal(t, Spread{4, 4, 4}, info.Train.Width)
	require.Contains(t, info.String(), "    1 images:     1 classes ####")
	require.Contains(t, info.String(), "1 files are missing; `metrix data verify` names them")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Describe(ctx, flawedSet(t))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, filepath.Base("describe"))
}
