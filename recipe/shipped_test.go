package recipe

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shipped returns the recipes of the project, as paths from its root.
func shipped(t *testing.T) []string {
	t.Helper()
	var found []string
	require.NoError(t, fs.WalkDir(os.DirFS(".."), "recipes", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			require.Equal(t, ".yaml", filepath.Ext(path))
			found = append(found, path)
		}
		return err
	}))
	require.GreaterOrEqual(t, len(found), 8)
	return found
}

// header returns the comment that a file starts with, as one line without '#'.
func header(src string) string {
	var words []string
	for line := range strings.Lines(src) {
		text, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(text)...)
	}
	return strings.Join(words, " ")
}

// Every recipe is valid, is named after its file, and its header says what to expect.
func TestShippedRecipes(t *testing.T) {
	for _, path := range shipped(t) {
		t.Run(path, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join("..", path))
			require.NoError(t, err)
			r, err := Parse(path, src, nil)
			require.NoError(t, err)
			name := strings.TrimSuffix(strings.TrimPrefix(path, "recipes/"), ".yaml")
			require.Equal(t, strings.ReplaceAll(name, "/", "_"), r.Name)

			head := header(string(src))
			for _, part := range []string{"Trains: ", "Reproduces: ", "Score: ", "Time: ", "Command: metrix train " + path} {
				require.Contains(t, head, part)
			}
			for line := range strings.Lines(string(src)) {
				require.LessOrEqual(t, len(line), 101, line)
			}
		})
	}
}

// The SOP recipes have the settings and scores that the paper's authors publish with their code.
func TestSOPRecipesAreThePapers(t *testing.T) {
	type cell struct {
		norm   string
		epochs int
		recall string // R@1
	}
	for _, c := range []struct {
		form            string
		lr              float64
		every           int
		headOnly        float64
		baseline, embed cell
		params          map[string]float64
	}{
		{"contrastive", 3e-5, 10, 5, cell{"live", 60, "74.9"}, cell{"frozen", 60, "76.7"}, map[string]float64{"margin": 0.5}},
		{"multi_similarity", 6e-4, 20, 1, cell{"live", 60, "76.9"}, cell{"live", 100, "78.5"},
			map[string]float64{"beta": 18, "gamma": 75, "margin": 0.77}},
		{"proxy_anchor", 6e-4, 20, 1, cell{"live", 60, "79.1"}, cell{"live", 100, "80.6"}, map[string]float64{"alpha": 32, "delta": 0.1}},
	} {
		for kind, want := range map[string]cell{"baseline": c.baseline, "metrix_embed": c.embed} {
			path := "../recipes/sop/" + c.form + "_" + kind + ".yaml"
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, header(string(src)), "Score: R@1 "+want.recall+",", path)
			r, err := Parse(path, src, nil)
			require.NoError(t, err)

			require.Equal(t, Loss{c.form, c.params, "default"}, r.Loss)
			require.Equal(t, Model{"resnet50", 512, "batch", 64, want.norm, "", "weights/resnet50.safetensors"}, r.Model)
			require.Equal(t, []int{224, 256}, []int{r.Data.Size, r.Data.Resize})
			require.Equal(t, []int{20, 5}, []int{r.Batch.Classes, r.Batch.Images})
			o := r.Optimizer
			require.Equal(t, "adam", o.Name)
			require.Equal(t, []float64{c.lr, 1e-4, 10, 0, 100}, []float64{o.LR, o.WeightDecay, o.ClipValue, o.ClipNorm, o.ProxyLRScale})
			require.Equal(t, Schedule{Name: "step", EveryEpochs: c.every, Factor: 0.25, HeadOnlyEpochs: c.headOnly}, r.Schedule)
			require.Equal(t, want.epochs, r.Train.Epochs)
			require.Equal(t, []int{1, 10, 100, 1000}, r.Eval.Recall)
			if kind == "baseline" {
				require.Equal(t, "none", r.Mix.Level)
				continue
			}
			pairs := "both"
			if c.form == "proxy_anchor" {
				pairs = "positive_negative"
			}
			require.Equal(t, "embed", r.Mix.Level)
			require.Equal(t, MixLevel{0.4, 2, pairs, "step", 0}, r.Mix.Embed)
		}
	}
}
