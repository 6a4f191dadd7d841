package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/coordinatorcmd"
)

// asProgram makes the test binary be one of the programs: tests start real processes that way.
const asProgram = "METRIX_TEST_PROGRAM"

func TestMain(m *testing.M) {
	program := os.Getenv(asProgram)
	if program == "" && os.Getenv(supervisedEnv) != "" {
		program = "metrix" // a worker that train started
	}
	switch program {
	case "":
		os.Exit(m.Run())
	case "metrix":
		os.Exit(cli.Main(NewMetrix()))
	case "coordinator":
		os.Exit(cli.Main(coordinatorcmd.New()))
	case "worker":
		os.Exit(cli.Main(NewWorker()))
	case "nats-server":
		os.Exit(serveNATS(os.Args[1]))
	}
	panic(program)
}

// program prepares the test binary to run as one of the programs.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"="+name)
	return cmd
}

// tinyRecipe trains 20 steps in a moment.
const tinyRecipe = `
name: tiny
seed: 3
data: {size: 16, resize: 18, augment: {scale: [0.5, 1], color: 0.2}}
model: {arch: conv4, width: 8, dim: 16, norm: group}
loss: {form: multi_similarity}
mix: {level: embed}
batch: {classes: 8, images: 3, shards: 4}
train: {steps: 20, eval_every_epochs: 0}
eval: {recall: [1, 2, 4, 8]}
workers: 2
engine: {name: gorgonia}
`

// workspace is a folder with a recipe and a small data set.
type workspace struct{ dir, recipe, data string }

func newWorkspace(t *testing.T) workspace {
	t.Helper()
	dir := t.TempDir()
	w := workspace{dir, filepath.Join(dir, "tiny.yaml"), filepath.Join(dir, "data")}
	require.NoError(t, os.WriteFile(w.recipe, []byte(tinyRecipe), 0o644))
	require.NoError(t, dataset.Synth(w.data, dataset.SynthConfig{Classes: 12, Images: 5, Side: 24, Seed: 1}, nil))
	return w
}

// execute runs a command in this process and returns its output, error and exit code.
func execute(cmd *cobra.Command, args ...string) (stdout, stderr string, code int, err error) {
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	cli.Prepare(cmd)
	err = cmd.ExecuteContext(context.Background())
	return out.String(), errs.String(), cli.ExitCode(err), err
}

// train runs metrix train --json and returns its object.
func (w workspace) train(t *testing.T, args ...string) trainReport {
	t.Helper()
	args = append([]string{"train", w.recipe, "--data", w.data, "--json"}, args...)
	out, errs, _, err := execute(NewMetrix(), args...)
	require.NoError(t, err, errs)
	var r trainReport
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return r
}

func TestErrorsAreOneSentenceWithARemedy(t *testing.T) {
	w := newWorkspace(t)
	full := filepath.Join(w.dir, "full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "checkpoints"), 0o755))
	broken := filepath.Join(w.dir, "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("name: broken\noptimiser: {lr: 1}\n"), 0o644))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"train", "missing.yaml"}, []string{"missing.yaml"}},
		{[]string{"train", broken}, []string{"broken.yaml:2", "optimiser", "optimizer"}},
		{[]string{"train", w.recipe, "--data", "nowhere"}, []string{"nowhere", "does not exist"}},
		{[]string{"train", w.recipe}, []string{"--data"}},
		{[]string{"train", w.recipe, "--data", w.data, "--out", full}, []string{full, "--resume"}},
		{[]string{"train", w.recipe, "--data", w.data, "--out", w.dir + "/none", "--resume"}, []string{"no run to resume"}},
		{[]string{"train", w.recipe, "--data", w.data, "--workers", "9"}, []string{"workers"}},
		{[]string{"train", w.recipe, "--data", w.data, "--set", "batch.classes=40"}, []string{"40", "12"}},
		{[]string{"train", w.recipe, "--data", w.data, "--set", "model.archh=x"}, []string{"archh"}},
		{[]string{"train", w.recipe, "--data", w.data, "--out", w.dir + "/engine", "--set", "engine.name=cuda"}, []string{"cuda"}},
		{[]string{"train"}, []string{"arg"}},
		{[]string{"nonsense"}, []string{"nonsense"}},
		{[]string{"eval", "--checkpoint", "nowhere", "--data", w.data}, []string{"nowhere"}},
		{[]string{"data", "verify", "nowhere"}, []string{"nowhere"}},
		{[]string{"train", "--colour", w.recipe}, []string{"colour"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			_, _, code, err := execute(NewMetrix(), c.args...)
			require.Error(t, err)
			require.Equal(t, cli.ExitUsage, code, "%v", err)
			text := cli.Sentence(err)
			require.NotContains(t, text, "goroutine")
			for _, part := range c.want {
				require.Contains(t, text, part)
			}
			require.Less(t, len(text), 600, text)
		})
	}
}

func TestCoordinatorAndWorkerRefuseWrongFlags(t *testing.T) {
	_, _, code, err := execute(coordinatorcmd.New(), "--peers", "a:1")
	require.Equal(t, cli.ExitUsage, code)
	require.ErrorContains(t, err, "id=host:port")
	_, _, code, err = execute(NewWorker(), "--nats", "nats://127.0.0.1:1")
	require.Equal(t, cli.ExitUsage, code)
	require.ErrorContains(t, err, "--recipe")
	t.Setenv("METRIX_THREADS", "many")
	_, _, code, err = execute(NewWorker(), "--run", "x")
	require.Equal(t, cli.ExitUsage, code)
	require.ErrorContains(t, err, "METRIX_THREADS")
}

func ExampleNewMetrix() {
	cmd := NewMetrix()
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			fmt.Println(c.Name())
		}
	}
	// Output:
	// data
	// doctor
	// eval
	// export
	// status
	// sweep
	// train
}
