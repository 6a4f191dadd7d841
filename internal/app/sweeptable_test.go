package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/worker"
)

// madeUp is a row whose runs ended with the given Recall@1, in [0, 1]; a negative one failed.
func madeUp(name string, recalls ...float64) *sweepRow {
	row := &sweepRow{name: name, file: name + ".yaml", steps: 10}
	r := recipe.Default()
	for i, x := range recalls {
		run := &sweepRun{seed: uint64(i + 1), recipe: r, out: name, state: runFailed, failure: "out of a|b"}
		if x >= 0 {
			m := retrieval.Metrics{Recall: []retrieval.RecallAt{{K: 1, Value: x}, {K: 10, Value: 1}}, MAPAtR: x / 2}
			e := &worker.Evaluation{Metrics: m}
			run.state, run.result = runFinished, &worker.Result{Finished: true, Final: e, Best: e, ImagesPerSecond: 100}
		}
		row.runs = append(row.runs, run)
	}
	return row
}

func TestSweepMarkdown(t *testing.T) {
	waiting := madeUp("c", -1)
	waiting.runs[0].state = runWaiting
	table := tabulate([]*sweepRow{madeUp("a", 0.5, 0.6, 0.7), madeUp("b|x", 0.25, -1), waiting})
	require.Equal(t, `|  | runs | R@1 | R@10 | MAP@R | best R@1 | images/s |
|:---|---:|---:|---:|---:|---:|---:|
| a | 3 of 3 | 60.0 ± 10.0 | 100.0 ± 0.0 | 30.0 ± 5.0 | 60.0 ± 10.0 | 100 ± 0 |
| b\|x | 1 of 2 | 25.0 | 100.0 | 12.5 | 25.0 | 100 |
| c | 0 of 1 | – | – | – | – | – |

`+caption+`

![Recall@1 of every row](table.svg)

- b\|x, seed 2, failed: out of a\|b
- c, seed 1, is still to be run
`, string(table.markdown()))
	require.Equal(t, 1, table.failed())
}

// A table without any figure has no plot, and one of a single figure has an axis.
func TestSweepPlotOfLittle(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, tabulate([]*sweepRow{madeUp("a", -1)}).save(dir))
	require.NoFileExists(t, tableFile(dir, "svg"))
	require.NoError(t, tabulate([]*sweepRow{madeUp("a", 0.5)}).save(dir))
	svg, err := os.ReadFile(tableFile(dir, "svg"))
	require.NoError(t, err)
	require.NotContains(t, string(svg), "NaN")
}

func TestGridPoints(t *testing.T) {
	points, err := gridPoints([]string{"mix.weight=0.2, 0.4", "data.augment.scale=[0.3,1],[0.1,1]"})
	require.NoError(t, err)
	require.Equal(t, [][]setting{
		{{"mix.weight", "0.2"}, {"data.augment.scale", "[0.3,1]"}},
		{{"mix.weight", "0.2"}, {"data.augment.scale", "[0.1,1]"}},
		{{"mix.weight", "0.4"}, {"data.augment.scale", "[0.3,1]"}},
		{{"mix.weight", "0.4"}, {"data.augment.scale", "[0.1,1]"}},
	}, points)
	points, err = gridPoints(nil)
	require.NoError(t, err)
	require.Equal(t, [][]setting{nil}, points)
}

func TestSweepFolderNames(t *testing.T) {
	require.Equal(t, "demo-s1", folderName("demo", nil, 1))
	require.Equal(t, "demo-mix.weight=0.4-data.augment.scale=_0.3,1_-s12",
		folderName("demo", []string{"mix.weight=0.4", "data.augment.scale=[0.3,1]"}, 12))
	require.Equal(t, "demo-data.path=.._x-s1", folderName("demo", []string{"data.path=../x"}, 1))
}

// METRIX_SWEEP_PLOT names a folder in which to leave a plot for somebody to look at.
func TestSweepPlotToLookAt(t *testing.T) {
	dir := os.Getenv("METRIX_SWEEP_PLOT")
	if dir == "" {
		t.Skip("METRIX_SWEEP_PLOT is not set; it names a folder for an example of a sweep's plot")
	}
	rows := []*sweepRow{
		madeUp("icons mix.level=none", 0.512, 0.498, 0.52), madeUp("icons mix.level=embed", 0.55, 0.561, 0.548),
		madeUp("sop_proxy_anchor_metrix_embed mix.weight=0.4", 0.6, 0.62, 0.59), madeUp("one", 0.57),
	}
	rows[1].file = rows[0].file
	require.NoError(t, tabulate(rows).save(filepath.Clean(dir)))
}
