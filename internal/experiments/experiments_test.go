package experiments

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/sampler"
)

var update = flag.Bool("update", false, "write the recipes of the table to recipes/")

const root = "../.."

// The files under recipes/ are those of the table, byte for byte, and there is no other below a set.
func TestFilesAreThoseOfTheTable(t *testing.T) {
	var want []string
	for _, e := range All() {
		want = append(want, e.File)
		file := filepath.Join(root, e.File)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, e.Recipe(), 0o644))
		}
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(e.Recipe()), string(got), "%s is not what the table says; go test ./internal/experiments -update writes it", e.File)
	}
	var got []string
	for _, set := range Sets() {
		require.NoError(t, fs.WalkDir(os.DirFS(root), "recipes/"+set.Folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				got = append(got, path)
			}
			return err
		}))
	}
	require.ElementsMatch(t, want, got)
}

// 4 sets x 3 losses x 4 levels, cross-batch memory and recall@k.
func TestTableIsWhole(t *testing.T) {
	require.Len(t, All(), 4*3*4+2)
	seen := map[string]bool{}
	for _, e := range All() {
		require.False(t, seen[e.Name()], e.Name())
		seen[e.Name()] = true
		if strings.HasPrefix(e.From, "the figure of") {
			require.Regexp(t, `^R@1 \d\d\.\d$`, e.Score, e.File)
		} else {
			require.Regexp(t, `^R@1 \d\d\.\d, R@\d+ \d\d\.\d, R@\d+ \d\d\.\d$`, e.Score, e.File)
		}
	}
}

// Every recipe is valid and has the settings of its cell.
func TestRecipesAreValid(t *testing.T) {
	for _, e := range All() {
		r, err := recipe.Parse(e.File, e.Recipe(), nil)
		require.NoError(t, err)
		require.Equal(t, e.Name(), r.Name)
		level := "none"
		if _, after, ok := strings.Cut(e.Kind, "metrix_"); ok {
			level = after
		}
		require.Equal(t, level, r.Mix.Level, e.File)
		require.Equal(t, "resnet50", r.Model.Arch)
		require.Equal(t, 512, r.Model.Dim)
		require.Equal(t, e.Kind == "xbm", r.Memory.Size > 0, e.File)
		require.Equal(t, e.Kind == "recall_at_k", r.Batch.GradientCache == "on", e.File)
	}
}

// The recipes of a set differ only in what their cells differ in: loss, mixing, and what the paper ties
// to the loss.
func TestRecipesOfASetAgree(t *testing.T) {
	for _, set := range Sets() {
		var first *recipe.Recipe
		for _, e := range All() {
			if e.Set.Folder != set.Folder {
				continue
			}
			r, err := recipe.Parse(e.File, e.Recipe(), nil)
			require.NoError(t, err)
			if first == nil {
				first = r
			}
			require.Equal(t, first.Data, r.Data, e.File)
			require.Equal(t, first.Eval, r.Eval, e.File)
			require.Equal(t, first.Optimizer.WeightDecay, r.Optimizer.WeightDecay, e.File)
			require.Equal(t, first.Optimizer.ClipValue, r.Optimizer.ClipValue, e.File)
		}
	}
}

// The steps that headers and checkpoints count are those of the sampler on the published classes.
func TestStepsAreTheSamplers(t *testing.T) {
	for _, e := range All() {
		train := e.Set.counts().Train
		classes := make([][]int, train.Classes)
		for i := range train.Images {
			c := i % train.Classes
			classes[c] = append(classes[c], i)
		}
		s, err := sampler.New(sampler.Config{Shards: e.shards, Classes: e.classes, Images: e.images}, classes)
		require.NoError(t, err)
		require.Equal(t, s.StepsPerEpoch(), e.steps(), e.File)
	}
}

// A recipe opens the fixture of its set, as that set, and its batches can be drawn from it once they
// are as small as the fixture (Small).
func TestRecipesOpenTheirFixtures(t *testing.T) {
	for _, set := range Sets() {
		dir := filepath.Join(t.TempDir(), set.Folder)
		require.NoError(t, dataset.Synth(dir, Fixture(set), nil))
		for _, e := range All() {
			if e.Set.Folder != set.Folder {
				continue
			}
			r, err := recipe.Parse(e.File, e.Recipe(), Small())
			require.NoError(t, err, e.File)
			opened, err := dataset.Open(dir, r.Data.Layout)
			require.NoError(t, err, e.File)
			require.Equal(t, set.Layout, opened.Layout, e.File)
			require.Equal(t, set.Folder == "inshop", opened.Test.QueryImages > 0)
			_, err = sampler.New(sampler.Config{Shards: r.Batch.Shards, Classes: r.Batch.Classes, Images: r.Batch.Images}, opened.Train.ByClass())
			require.NoError(t, err, e.File)
		}
	}
}

func TestHeadersAreNarrow(t *testing.T) {
	for _, e := range All() {
		text := string(e.Recipe())
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, len(line), column+1, line)
		}
		for _, part := range []string{"# Trains: ", "# Reproduces: ", "# Score: ", "# Time: an estimate: ", "# Command:\n", "# Needs: "} {
			require.Contains(t, text, part, e.File)
		}
	}
	set, ok := SetOf("cub")
	require.True(t, ok)
	require.Equal(t, "CUB", set.short())
	_, ok = SetOf("coco")
	require.False(t, ok)
}
