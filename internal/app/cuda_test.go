//go:build gpu

package app

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/probe"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/worker"
)

// cudaSize is how much the tests of this file do: little where the card is emulated.
type cudaSize struct {
	emulated   bool
	recipe     string // keys of data, model and batch, with | between them
	follow     int    // steps of the run whose loss follows the CPU's
	steps      int    // of the runs compared bit by bit
	side, rows int    // of the images whose memory is watched
	calls      int
}

// onCard skips without a card, real or emulated.
func onCard(t *testing.T) cudaSize {
	t.Helper()
	problem := probe.Look().Problem()
	if os.Getenv("METRIX_CUDA_EMULATED") != "" {
		require.Empty(t, problem, "the emulator is not there")
		return cudaSize{true, "size: 16, resize: 18|width: 8, dim: 16|classes: 8, images: 3, shards: 4", 12, 6, 16, 4, 40}
	}
	if problem != "" {
		t.Skip("needs a GPU, or 'make gpu-emulate': " + problem)
	}
	return cudaSize{false, "size: 64, resize: 72|width: 32, dim: 128|classes: 12, images: 4, shards: 4", 200, 60, 64, 32, 2000}
}

// workspace is a folder with a recipe for the size, with live batch norm and all levels of mixing.
func (s cudaSize) workspace(t *testing.T) workspace {
	t.Helper()
	w := newWorkspace(t)
	part := strings.Split(s.recipe, "|")
	text := fmt.Sprintf(`
name: card
seed: 3
data: {%s, augment: {scale: [0.5, 1]}}
model: {arch: conv4, %s, norm: batch}
loss: {form: multi_similarity}
mix: {level: random}
batch: {%s}
train: {steps: %d, eval_every_epochs: 0}
eval: {recall: [1, 2, 4]}
engine: {name: cuda}
`, part[0], part[1], part[2], s.steps)
	require.NoError(t, os.WriteFile(w.recipe, []byte(text), 0o644))
	return w
}

// lossesOf reads the total loss of every step.
func lossesOf(t *testing.T, out string) (losses []float64) {
	t.Helper()
	records, err := worker.ReadJournal(out)
	require.NoError(t, err)
	for _, r := range records {
		if r.Loss != nil {
			losses = append(losses, r.Loss.Total)
		}
	}
	return losses
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// The loss of a run on the card goes the way of the CPU's: the first steps within the precision, the
// last quarter, after rounding has driven the parameters apart, on the mean.
func TestCUDARunFollowsTheCPU(t *testing.T) {
	size := onCard(t)
	w := size.workspace(t)
	steps := fmt.Sprintf("train.steps=%d", size.follow)
	cpu := filepath.Join(w.dir, "cpu")
	w.train(t, "--out", cpu, "--workers", "1", "--set", steps, "--set", "engine.name="+cpuEngine(size))
	want := lossesOf(t, cpu)
	for _, c := range []struct {
		precision   string
		first, last float64 // greatest relative differences
	}{{"f32", 1e-3, 0.05}, {"tf32", 1e-2, 0.05}, {"bf16", 5e-2, 0.1}} {
		t.Run(c.precision, func(t *testing.T) {
			out := filepath.Join(w.dir, c.precision)
			w.train(t, "--out", out, "--workers", "1", "--set", steps, "--set", "engine.precision="+c.precision)
			got := lossesOf(t, out)
			require.Len(t, got, len(want))
			var first float64
			for i := range 3 {
				first = max(first, math.Abs(got[i]-want[i])/want[i])
			}
			quarter := len(want) / 4
			last := math.Abs(mean(got[len(got)-quarter:])/mean(want[len(want)-quarter:]) - 1)
			t.Logf("figure: %d steps in %s: loss differs from the CPU's by %.2g in the first 3 steps, by %.2g in the mean of the last %d", len(want), c.precision, first, last, quarter)
			require.Less(t, first, c.first)
			require.Less(t, last, c.last)
			require.Less(t, mean(got[len(got)-quarter:]), got[0], "the loss does not fall")
		})
	}
}

// cpuEngine is the fastest that may be there.
func cpuEngine(size cudaSize) string {
	if _, err := openOneDNN("f32"); err != nil || size.emulated {
		return "gorgonia"
	}
	return "onednn"
}

// Workers that share a card compute the run of one worker, to the last bit.
func TestCUDASameRunWhateverTheWorkers(t *testing.T) {
	size := onCard(t)
	for _, precision := range []string{"f32", "bf16"} {
		t.Run(precision, func(t *testing.T) {
			w := size.workspace(t)
			one, two := filepath.Join(w.dir, "one"), filepath.Join(w.dir, "two")
			want := w.train(t, "--out", one, "--workers", "1", "--set", "engine.precision="+precision)
			got := w.train(t, "--out", two, "--workers", "2", "--set", "engine.precision="+precision)
			require.Equal(t, "cuda", got.Engine)
			require.Equal(t, 2, got.World)
			require.Equal(t, want.ParameterHash, got.ParameterHash)
			require.Equal(t, want.Final.Metrics, got.Final.Metrics)
			requireSameLosses(t, one, two)
			t.Logf("figure: two workers equal one over %d steps in %s, parameters %.12s", size.steps, precision, got.ParameterHash)
		})
	}
}

// The workers of a machine take its cards in turn.
func TestCUDAEachWorkerTakesItsCard(t *testing.T) {
	size := onCard(t)
	if !size.emulated {
		t.Skip("the number of real cards cannot be chosen")
	}
	t.Setenv("METRIX_EMULATOR_DEVICES", "2")
	w := size.workspace(t)
	out := filepath.Join(w.dir, "run")
	w.train(t, "--out", out, "--workers", "3", "--set", "train.steps=2")
	for i, card := range []string{"GPU 0", "GPU 1", "GPU 0"} {
		log, err := os.ReadFile(filepath.Join(out, "logs", fmt.Sprintf("worker-%d.log", i)))
		require.NoError(t, err)
		require.Regexp(t, `"worker ready".*`+card, string(log), "worker %d", i)
	}
}

// A worker whose card fails leaves the run, and the other goes on to the same bits.
func TestCUDAWorkerWithALostCardLeaves(t *testing.T) {
	size := onCard(t)
	if !size.emulated {
		t.Skip("no test breaks a real card")
	}
	w := size.workspace(t)
	c, out := startByHand(t, w, 1), filepath.Join(w.dir, "run")
	flags := []string{"--set", endless, "--min-workers", "2"}
	survivor := c.worker("w0", out, flags...)
	victim := program(t, "worker", append([]string{"--nats", c.url, "--recipe", w.recipe, "--data", w.data, "--out", out, "--threads", "1", "--name", "w1"}, flags...)...)
	victim.Env = append(victim.Env, "METRIX_EMULATOR_FAIL=xid:3000")
	c.launch(victim, "w1")
	err := victim.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, cli.ExitFailure, exit.ExitCode(), "the card's fault is no wrong usage, a Job would not retry it")
	log, err := os.ReadFile(filepath.Join(w.dir, "w1.log"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	require.Regexp(t, `^worker: .*lost.*Xid`, lines[len(lines)-1])
	waitForWorkers(t, out, 1)
	c.requireUndisturbed(out, survivor)
}

// What a machine lacks is one sentence, and the program starts even without a driver.
func TestCUDADoctorSaysWhatIsMissing(t *testing.T) {
	size := onCard(t)
	if !size.emulated {
		t.Skip("what a real machine lacks cannot be chosen")
	}
	for _, c := range []struct{ libraries, fail, want string }{
		{"", "", "no NVIDIA driver: libcuda.so.1 is not on this machine: install the driver"},
		{os.Getenv("LD_LIBRARY_PATH"), "nodevice", "sees no card: ask nvidia-smi"},
		{os.Getenv("LD_LIBRARY_PATH"), "olddriver", "update it"},
	} {
		cmd := program(t, "metrix", "doctor", "--engine", "cuda")
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+c.libraries, probe.EnvLibraries+"="+c.libraries, "METRIX_EMULATOR_FAIL="+c.fail)
		text, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", text)
		require.Equal(t, cli.ExitFailure, exit.ExitCode(), "%s", text)
		require.Contains(t, string(text), "with GPU support")
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		require.Contains(t, lines[len(lines)-1], c.want)
	}
}

// Memory of the card and of the process stays what it was after the first calls.
func TestCUDAHoldsItsMemory(t *testing.T) {
	size := onCard(t)
	network, err := worker.NetworkOf(mustRecipe(t, size.workspace(t).recipe))
	require.NoError(t, err)
	mem := newMemory(network)
	network.Init(mem.Params, mem.Buffers, 7)
	eng, _, err := findEngine(recipe.Engine{Name: "cuda", Precision: "bf16"}, rankDevice, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	net, err := eng.Open(network, mem, engine.Options{Threads: 1})
	require.NoError(t, err)
	images := make([]float32, size.rows*3*size.side*size.side)
	for i := range images {
		images[i] = float32(i%251)/251 - 0.5
	}
	const warm = 10
	var card, host uint64
	for call := range size.calls {
		step(t, net, images, size.rows)
		if call == warm {
			card, host = cardUsed(t), resident(t)
		}
	}
	gotCard, gotHost := cardUsed(t), resident(t)
	t.Logf("figure: %d steps of %d images: card %d MiB after %d steps, %d at the end; process %d MiB and %d", size.calls, size.rows,
		card>>20, warm, gotCard>>20, host>>20, gotHost>>20)
	require.LessOrEqual(t, gotCard, card, "memory of the card is lost")
	require.LessOrEqual(t, gotHost, host+host/4+64<<20, "memory of the process is lost")
	require.NoError(t, net.Close())
}

// step runs both stages forward and backward.
func step(t *testing.T, net engine.Net, images []float32, rows int) {
	t.Helper()
	trunk, err := net.Forward(model.Trunk, engine.Train, images, rows)
	require.NoError(t, err)
	head, err := net.Forward(model.Head, engine.Train, trunk.Out(), rows)
	require.NoError(t, err)
	gradient, err := net.Backward(head, head.Out(), engine.Backward{Input: true})
	require.NoError(t, err)
	_, err = net.Backward(trunk, gradient, engine.Backward{})
	require.NoError(t, err)
}

func mustRecipe(t *testing.T, path string) *recipe.Recipe {
	t.Helper()
	r, err := recipe.Load(path)
	require.NoError(t, err)
	return r
}

func cardUsed(t *testing.T) uint64 {
	t.Helper()
	free, total, err := probe.Memory(0)
	require.NoError(t, err)
	return total - free
}

// resident is the memory of this process in bytes.
func resident(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	require.NoError(t, err)
	return pages * uint64(os.Getpagesize())
}
