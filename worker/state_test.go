package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/weights"
)

func newTestTrainer(t *testing.T, out string, set ...string) *trainer {
	t.Helper()
	cfg := &Config{Run: "tiny", Recipe: parse(t, set...), Data: images(t), Engine: gorgonia.New(), Threads: 1, Out: out, Logger: discard()}
	tr, err := newTrainer(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.close()) })
	return tr
}

// store saves the trainer's state as that of step, and returns the checkpoint's folder.
func store(t *testing.T, tr *trainer, step run.Step) string {
	t.Helper()
	tr.step = step
	m, err := tr.manifest(nil)
	require.NoError(t, err)
	path, err := checkpoint.Save(CheckpointDir(tr.cfg.Out), m, map[string][]checkpoint.Tensor{modelFile: tr.modelTensors(), optimizerFile: tr.optimizerTensors()}, 1)
	require.NoError(t, err)
	return path
}

func TestCheckpointOfAnotherRecipeIsRefused(t *testing.T) {
	out := t.TempDir()
	tr := newTestTrainer(t, out)
	store(t, tr, 7)
	require.NoError(t, tr.restore())
	require.EqualValues(t, 7, tr.step)

	other := &Config{Run: "tiny", Recipe: parse(t, "seed=4"), Data: images(t), Engine: gorgonia.New(), Threads: 1, Out: out, Logger: discard()}
	_, err := newTrainer(other)
	require.ErrorContains(t, err, "belongs to another recipe or seed")
}

// A run starts from the network of another one: its folder of checkpoints, a checkpoint, an exported
// file. With another number of dimensions the trunk alone is taken; another trunk is refused.
func TestStartsFromAnotherRunsNetwork(t *testing.T) {
	out := t.TempDir()
	from := newTestTrainer(t, out, "seed=8")
	saved := store(t, from, 0)
	file := filepath.Join(out, "net.safetensors")
	net := weights.Model{Network: from.network, Params: from.layout.params.of(from.weights), Buffers: from.buffers}
	require.NoError(t, weights.Export(file, weights.Safetensors, net, false))
	want := from.layout.params.of(from.weights)
	trunk, _ := from.network.StageRange(model.Head)
	for _, path := range []string{CheckpointDir(out), saved, file} {
		same := newTestTrainer(t, t.TempDir(), "seed=9", "model.pretrained="+path)
		require.Equal(t, want, same.layout.params.of(same.weights), path)
		plain := newTestTrainer(t, t.TempDir(), "seed=9", "model.dim=20")
		wider := newTestTrainer(t, t.TempDir(), "seed=9", "model.dim=20", "model.pretrained="+path)
		got, start := wider.layout.params.of(wider.weights), plain.layout.params.of(plain.weights)
		require.Equal(t, want[:trunk], got[:trunk], path)
		require.Equal(t, start[trunk:], got[trunk:], path)

		cfg := &Config{Run: "tiny", Recipe: parse(t, "model.width=16", "model.pretrained="+path), Data: images(t), Engine: gorgonia.New(), Threads: 1, Out: t.TempDir(), Logger: discard()}
		_, err := newTrainer(cfg)
		require.ErrorIs(t, err, ErrPretrained)
		require.ErrorContains(t, err, path+": weights: they do not fit the network conv4")
	}
}

func TestFillNamesWhatDoesNotFit(t *testing.T) {
	view := func(name string, n int) checkpoint.Tensor {
		return checkpoint.Tensor{Name: name, Shape: []int{n}, Data: make([]float32, n)}
	}
	views := []checkpoint.Tensor{view("a", 2), view("b", 3)}
	require.NoError(t, fill(views, []checkpoint.Tensor{view("b", 3), view("a", 2)}, false))
	require.ErrorContains(t, fill(views, []checkpoint.Tensor{view("a", 2)}, false), `"b" is missing`)
	require.ErrorContains(t, fill(views, []checkpoint.Tensor{view("a", 2), view("b", 4)}, false), `"b" has shape [4]`)
	more := []checkpoint.Tensor{view("a", 2), view("b", 3), view("c", 1)}
	require.ErrorContains(t, fill(views, more, false), `"c" is not part`)
	require.NoError(t, fill(views, more, true))
}

// A broken image ends the worker with the file's name; nothing hangs.
func TestABrokenImageIsNamed(t *testing.T) {
	set := images(t)
	copied := *set.Train
	copied.Root = t.TempDir()
	for i, img := range copied.Images {
		b, err := os.ReadFile(set.Train.File(i))
		require.NoError(t, err)
		path := filepath.Join(copied.Root, img.Path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if i == 3 {
			b = b[:len(b)/3]
		}
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
	data := *set
	data.Train = &copied
	for _, cache := range []string{"off", "on"} { // loaded ahead, or when a shard is embedded
		r := parse(t, "batch.classes=12", "batch.shards=4", "batch.images=5", "batch.gradient_cache="+cache)
		c, out := newCluster(t, 1, patient), t.TempDir()
		c.create("run", r, 1)
		cfg := c.config("run", "w0", r, out)
		cfg.Data = &data
		_, err := Run(context.Background(), cfg)
		require.ErrorContains(t, err, copied.Images[3].Path)
		require.ErrorContains(t, err, "loading batch")
	}
}

// A worker that waited, or was cut off, while others went on and were lost, begins where they were.
func TestCatchUpTakesALaterCheckpoint(t *testing.T) {
	out := t.TempDir()
	waited, others := newTestTrainer(t, out), newTestTrainer(t, out)
	others.weights[0] = 7
	store(t, others, 7)
	require.NoError(t, waited.catchUp())
	require.EqualValues(t, 7, waited.step)
	require.Equal(t, others.weights, waited.weights)
	waited.step, waited.weights[0] = 9, 9
	require.NoError(t, waited.catchUp())
	require.EqualValues(t, 9, waited.step)
	require.EqualValues(t, 9, waited.weights[0])
}
