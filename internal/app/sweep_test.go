package app

import (
	"bytes"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/worker"
)

// sweep runs metrix sweep --json of the tiny recipe, shortened, and returns its object.
func (w workspace) sweep(t *testing.T, out string, args ...string) (sweepTable, int, error) {
	t.Helper()
	text, errs, code, err := execute(NewMetrix(), append(w.sweepArgs(out), append(args, "--json")...)...)
	var table sweepTable
	if text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &table), text)
	}
	if err == nil {
		require.Contains(t, errs, "Run ", "progress goes to standard error")
	}
	return table, code, err
}

func (w workspace) sweepArgs(out string) []string {
	return []string{"sweep", w.recipe, "--data", w.data, "--out", out, "--workers", "1", "--set", "train.steps=6"}
}

// A sweep is the runs of metrix train, tabulated; the same command with more seeds adds what is new.
func TestSweep(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.dir, "sweep")
	grid := []string{"--grid", "mix.level=none,embed"}
	_, code, err := w.sweep(t, out, append(grid, "--seeds", "1")...)
	require.NoError(t, err)
	require.Equal(t, cli.ExitOK, code)
	first := filepath.Join(out, "tiny-mix.level=embed-s1")
	before, err := os.Stat(filepath.Join(first, "result.json"))
	require.NoError(t, err)

	table, _, err := w.sweep(t, out, append(grid, "--seeds", "2")...)
	require.NoError(t, err)
	after, err := os.Stat(filepath.Join(first, "result.json"))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime(), "a finished run is not run again")

	require.Len(t, table.Rows, 2)
	row := table.Rows[1]
	require.Equal(t, "tiny mix.level=embed", row.Name)
	require.Equal(t, map[string]string{"mix.level": "embed"}, row.Settings)
	require.EqualValues(t, 6, row.Steps)
	require.Equal(t, 2, row.Finished)
	require.Len(t, row.Recall, 4)
	a, b := row.Runs[0], row.Runs[1]
	require.NotEqual(t, a.ParameterHash, b.ParameterHash)
	require.InDelta(t, (a.Final.MAPAtR+b.Final.MAPAtR)/2, row.MAPAtR.Mean, 1e-12)
	single := w.train(t, "--out", filepath.Join(w.dir, "single"), "--set", "train.steps=6", "--set", "seed=2")
	require.Equal(t, single.ParameterHash, b.ParameterHash, "a run of a sweep is the run that train makes")
	require.Equal(t, single.Recipe, b.RecipeHash)
	requireSweepFiles(t, out, table)

	_, code, err = w.sweep(t, out, append(grid, "--set", "optimizer.lr=0.5")...)
	require.Equal(t, cli.ExitUsage, code)
	require.ErrorContains(t, err, "another recipe")
	require.ErrorContains(t, err, "--out")
}

// requireSweepFiles checks the four forms of a table.
func requireSweepFiles(t *testing.T, out string, want sweepTable) {
	t.Helper()
	var stored sweepTable
	object, err := os.ReadFile(tableFile(out, "json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(object, &stored))
	require.Equal(t, want, stored)
	text, err := os.ReadFile(tableFile(out, "md"))
	require.NoError(t, err)
	for _, part := range []string{"| tiny mix.level=none | 2 of 2 |", "R@8", "MAP@R", " ± ", "images/s", "(table.svg)"} {
		require.Contains(t, string(text), part)
	}
	svg, err := os.ReadFile(tableFile(out, "svg"))
	require.NoError(t, err)
	require.Contains(t, string(svg), "tiny mix.level=embed")
	picture, err := os.ReadFile(tableFile(out, "png"))
	require.NoError(t, err)
	_, err = png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
}

// A run that fails is noted, the others go on, and the exit code says so at the end.
func TestSweepGoesOnAfterAFailure(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.dir, "sweep")
	table, code, err := w.sweep(t, out, "--grid", "engine.name=cuda,gorgonia", "--seeds", "1")
	require.Equal(t, cli.ExitFailure, code)
	require.ErrorContains(t, err, "1 of 2 runs failed")
	require.Equal(t, runFailed, table.Rows[0].Runs[0].State)
	require.Contains(t, table.Rows[0].Runs[0].Error, "cuda")
	require.Nil(t, table.Rows[0].MAPAtR)
	require.Equal(t, 1, table.Rows[1].Finished)
	require.Nil(t, table.Rows[1].MAPAtR.Deviation, "one seed has no deviation")
	text, err := os.ReadFile(tableFile(out, "md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "- tiny engine.name=cuda, seed 1, failed: ")
}

// Ctrl-C stops the run in flight with a checkpoint, and the same command ends with the same bits.
func TestSweepStopsAndGoesOn(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.dir, "sweep")
	args := []string{"--set", "train.steps=300", "--seeds", "1"}
	cmd := program(t, "metrix", append(w.sweepArgs(out), args...)...)
	require.NoError(t, cmd.Start())
	folder := filepath.Join(out, "tiny-s1")
	waitForStep(t, folder, 5)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Equal(t, cli.ExitInterrupted, cmd.ProcessState.ExitCode())
	_, err := worker.ReadResult(folder)
	require.Error(t, err, "it was to be stopped on the way")
	text, err := os.ReadFile(tableFile(out, "md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "tiny, seed 1, is still to be run")

	table, _, err := w.sweep(t, out, args...)
	require.NoError(t, err)
	want := w.train(t, "--out", filepath.Join(w.dir, "whole"), "--set", "train.steps=300", "--set", "seed=1", "--workers", "1")
	require.Equal(t, want.ParameterHash, table.Rows[0].Runs[0].ParameterHash)
	require.Equal(t, &want.Final.Metrics, table.Rows[0].Runs[0].Final)
}

func TestSweepRefusesWhatCannotBeRun(t *testing.T) {
	w := newWorkspace(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--seeds", "0"}, "--seeds"},
		{[]string{"--grid", "mix.weight"}, "key=a,b,c"},
		{[]string{"--grid", "mix.weight=1,,2"}, "key=a,b,c"},
		{[]string{"--grid", "seed=1,2"}, "--seeds N"},
		{[]string{"--grid", "mix.weight=1", "--grid", "mix.weight=2"}, "twice"},
		{[]string{"--grid", "mix.weight=1,1"}, "share the folder"},
		{[]string{"--grid", "mix.wait=1"}, "wait"},
		{[]string{"--grid", "batch.classes=8,40"}, "40"},
		{[]string{w.recipe}, "share the folder"},
	} {
		_, code, err := w.sweep(t, filepath.Join(w.dir, "none"), c.args...)
		require.Equal(t, cli.ExitUsage, code, "%v: %v", c.args, err)
		require.ErrorContains(t, err, c.want)
	}
	require.NoDirExists(t, filepath.Join(w.dir, "none"), "nothing was begun")
}
