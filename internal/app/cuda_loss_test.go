//go:build gpu

package app

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Runs whose loss is evaluated on the card follow the CPU's, have the same bits for one worker and two, and
// say where the loss is; those with a loss that the card does not have go on with it on the host.
func TestCUDALossOfARun(t *testing.T) {
	size := onCard(t)
	const onTheCard, onTheHost = "the loss is evaluated where the network computes", "the loss is evaluated on the host"
	for _, c := range []struct {
		name, said string
		set        []string
	}{
		{"proxies, feature maps", onTheCard, []string{"loss.form=proxy_anchor", "mix.level=feature", "mix.feature.hardest=2"}},
		{"terms above zero, lambda per pair", onTheCard, []string{"loss.form=contrastive", "loss.reduction=nonzero", "mix.level=embed", "mix.per=pair", "mix.hardest=2"}},
		{"triplets", onTheHost, []string{"loss.form=triplet", "mix.level=none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := size.workspace(t)
			train := func(out, engine string, workers int) string {
				args := []string{"train", w.recipe, "--data", w.data, "--json", "--out", out, "--workers", fmt.Sprint(workers),
					"--set", "train.steps=5", "--set", "engine.name=" + engine}
				for _, s := range c.set {
					args = append(args, "--set", s)
				}
				_, said, _, err := execute(NewMetrix(), args...)
				require.NoError(t, err, said)
				logs, err := filepath.Glob(filepath.Join(out, "logs", "*.log"))
				require.NoError(t, err)
				require.Len(t, logs, workers)
				log, err := os.ReadFile(logs[0])
				require.NoError(t, err)
				return string(log)
			}
			cpu, one, two := filepath.Join(w.dir, "cpu"), filepath.Join(w.dir, "one"), filepath.Join(w.dir, "two")
			require.NotContains(t, train(cpu, cpuEngine(size), 1), "the loss is evaluated")
			said := train(one, "cuda", 1)
			require.Contains(t, said, c.said)
			require.Contains(t, said, "images are mirrored and normalised where the network computes")
			require.Contains(t, train(two, "cuda", 2), c.said)
			requireSameLosses(t, one, two)
			want, got := lossesOf(t, cpu), lossesOf(t, one)
			require.Len(t, got, 5)
			for i := range 3 {
				require.Less(t, math.Abs(got[i]-want[i]), 1e-3*want[i], "step %d", i)
			}
		})
	}
}
