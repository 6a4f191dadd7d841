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

// The SOP recipes have the paper's settings (paper's section on experiments and its table on SOP).
func TestSOPRecipesAreThePapers(t *testing.T) {
	for _, c := range []struct {
		form, norm         string
		lr                 float64
		every, epochs      int
		headOnly           float64
		baseline, embedded string // R@1
		params             map[string]float64
	}{
		{"contrastive", "frozen", 3e-5, 10, 60, 5, "74.9", "76.7", map[string]float64{"margin": 0.5}},
		{"multi_similarity", "live", 6e-4, 20, 100, 1, "76.9", "78.5", map[string]float64{"beta": 18, "gamma": 75, "margin": 0.77}},
		{"proxy_anchor", "live", 6e-4, 20, 100, 1, "79.1", "80.6", map[string]float64{"alpha": 32, "delta": 0.1}},
	} {
		for kind, score := range map[string]string{"baseline": c.baseline, "metrix_embed": c.embedded} {
			path := "../recipes/sop/" + c.form + "_" + kind + ".yaml"
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, header(string(src)), "Score: R@1 "+score+",", path)
			r, err := Parse(path, src, nil)
			require.NoError(t, err)

			require.Equal(t, Loss{c.form, c.params, "default"}, r.Loss)
			require.Equal(t, Model{"resnet50", 512, "batch", 64, c.norm, "", "weights/resnet50.safetensors"}, r.Model)
			require.Equal(t, []int{224, 256}, []int{r.Data.Size, r.Data.Resize})
			require.Equal(t, []int{20, 5}, []int{r.Batch.Classes, r.Batch.Images})
			o := r.Optimizer
			require.Equal(t, "adamw", o.Name)
			require.Equal(t, []float64{c.lr, 1e-4, 10, 0, 100}, []float64{o.LR, o.WeightDecay, o.ClipValue, o.ClipNorm, o.ProxyLRScale})
			require.Equal(t, Schedule{Name: "step", EveryEpochs: c.every, Factor: 0.25, HeadOnlyEpochs: c.headOnly}, r.Schedule)
			require.Equal(t, c.epochs, r.Train.Epochs)
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
