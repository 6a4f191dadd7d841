package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/worker"
)

// The whole path of a user: train with worker processes, look at the result, evaluate it.
func TestTrainEvaluateReport(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.dir, "run")
	r := w.train(t, "--out", out, "--set", "compare=without_mixing")
	require.True(t, r.Finished)
	require.EqualValues(t, 20, r.Steps)
	require.Equal(t, 2, r.World)
	require.NotNil(t, r.WithoutMixing)
	require.NotEqual(t, r.ParameterHash, r.WithoutMixing.ParameterHash)
	require.Equal(t, r.Untrained.Metrics, r.WithoutMixing.Untrained.Metrics)
	for _, phase := range []string{"load", "forward", "gather", "loss", "scatter", "backward", "reduce", "update"} {
		require.Contains(t, r.PhaseSeconds, phase)
	}
	records, err := worker.ReadJournal(out)
	require.NoError(t, err)
	require.Len(t, records, 22, "20 steps and 2 evaluations")
	page, err := os.ReadFile(r.Report)
	require.NoError(t, err)
	require.Contains(t, string(page), "data:image/png;base64,")
	require.Contains(t, string(page), r.ParameterHash)

	text, _, _, err := execute(NewMetrix(), "eval", "--checkpoint", filepath.Join(out, "checkpoints"), "--data", w.data, "--json", "--nmi", "--geometry")
	require.NoError(t, err)
	var e evalReport
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	require.Equal(t, r.Final.Metrics, e.Metrics, "eval of the checkpoint and evaluation in training agree to the bit")
	require.NotNil(t, e.NMI)
	require.Less(t, *e.Geometry.UtilisationMixed, e.Geometry.Utilisation)
	require.NotEqual(t, e.Geometry.Alignment, *e.Geometry.AlignmentMixed)
	require.NotEqual(t, e.Geometry.Uniformity, *e.Geometry.UniformityMixed)
	text, _, _, err = execute(NewMetrix(), "eval", "--checkpoint", r.BestCheckpoint, "--data", w.data, "--split", "train", "--recall", "1,5")
	require.NoError(t, err)
	require.Contains(t, text, "R@5")
}

// Ctrl-C stops after the step in flight with a checkpoint, and --resume goes on to the same bits.
func TestInterruptAndResume(t *testing.T) {
	w := newWorkspace(t)
	want := w.train(t, "--out", filepath.Join(w.dir, "whole"), "--workers", "1", "--set", "train.steps=150")
	out := filepath.Join(w.dir, "parts")
	args := []string{"train", w.recipe, "--data", w.data, "--out", out, "--set", "train.steps=150"}
	cmd := program(t, "metrix", args...)
	require.NoError(t, cmd.Start())
	waitForStep(t, out, 5)
	text, _, _, err := execute(NewMetrix(), "status", out)
	require.NoError(t, err)
	require.Contains(t, text, "run tiny: running")
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Equal(t, cli.ExitInterrupted, cmd.ProcessState.ExitCode())
	_, _, code, err := execute(NewMetrix(), "status", out)
	require.Equal(t, cli.ExitUsage, code, "the run is not going on: %v", err)
	path, err := checkpoint.Latest(worker.CheckpointDir(out))
	require.NoError(t, err)
	m, err := checkpoint.Verify(path)
	require.NoError(t, err)
	require.Less(t, m.Step, int64(150), "it was to be stopped on the way")

	got := w.train(t, "--out", out, "--set", "train.steps=150", "--resume", "--workers", "3")
	require.Equal(t, want.ParameterHash, got.ParameterHash)
	require.Equal(t, want.Final.Metrics, got.Final.Metrics)
	requireSameLosses(t, filepath.Join(w.dir, "whole"), out)
}

// requireSameLosses compares the step logs of two runs.
func requireSameLosses(t *testing.T, a, b string) {
	t.Helper()
	read := func(out string) (losses []worker.Loss) {
		records, err := worker.ReadJournal(out)
		require.NoError(t, err)
		for _, r := range records {
			if r.Loss != nil {
				losses = append(losses, *r.Loss)
			}
		}
		return losses
	}
	require.Equal(t, read(a), read(b))
}

func TestDefaultOutputFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	fill := func(dir string) { require.NoError(t, os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o755)) }
	require.Equal(t, "runs/demo", defaultOut("demo", false))
	require.Equal(t, "runs/demo", defaultOut("demo", true))
	fill("runs/demo")
	require.Equal(t, "runs/demo-2", defaultOut("demo", false))
	require.Equal(t, "runs/demo", defaultOut("demo", true))
	fill("runs/demo-2")
	require.Equal(t, "runs/demo-3", defaultOut("demo", false))
	require.Equal(t, "runs/demo-2", defaultOut("demo", true))
}

// Weights that are not there stop a run before anything is written, weights that are none without another try.
func TestTrainWithoutItsWeights(t *testing.T) {
	w := newWorkspace(t)
	for pretrained, want := range map[string]string{
		filepath.Join(w.dir, "none"): "none cannot be read (no such file or directory)",
		w.recipe:                     "model.pretrained cannot be used",
	} {
		out := filepath.Join(t.TempDir(), "run")
		_, stderr, code, err := execute(NewMetrix(), "train", w.recipe, "--data", w.data, "--out", out, "--set", "model.pretrained="+pretrained)
		require.Equal(t, cli.ExitUsage, code, "%v", err)
		require.ErrorContains(t, err, want)
		require.NotContains(t, stderr, "starting another")
		if pretrained != w.recipe {
			require.NoDirExists(t, out)
		}
	}
}
