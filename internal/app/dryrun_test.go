package app

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/worker"
)

// dryRun runs metrix train --dry-run --json.
func (w workspace) dryRun(t *testing.T, args ...string) dryRun {
	t.Helper()
	out, errs, _, err := execute(NewMetrix(), append([]string{"train", w.recipe, "--dry-run", "--json"}, args...)...)
	require.NoError(t, err, errs)
	var d dryRun
	require.NoError(t, json.Unmarshal([]byte(out), &d), out)
	return d
}

// What a dry run says about evaluations, checkpoints and steps is what the run then does.
func TestDryRunTellsWhatHappens(t *testing.T) {
	w := newWorkspace(t)
	t.Chdir(w.dir)
	set := []string{
		"--data", w.data, "--workers", "1", "--set", "train.steps=12", "--set", "train.eval_every_steps=6",
		"--set", "train.checkpoint_every_steps=4", "--set", "train.keep=100", "--set", "loss.form=proxy_anchor",
	}
	d := w.dryRun(t, set...)
	require.NoDirExists(t, "runs", "nothing is done")
	require.EqualValues(t, 12, d.Steps.Total)
	require.Equal(t, dataset.Count{Images: 48, Classes: 12}, d.Data.Train)
	require.Equal(t, 12*16, d.Network.Proxies)

	out := filepath.Join(w.dir, "run")
	r := w.train(t, append(set, "--out", out)...)
	require.Equal(t, d.Hash, r.Recipe)
	records, err := worker.ReadJournal(out)
	require.NoError(t, err)
	require.Len(t, records, int(d.Evaluations+d.Steps.Total))
	folders, err := os.ReadDir(worker.CheckpointDir(out))
	require.NoError(t, err)
	require.Len(t, folders, int(d.Checkpoints.Written))
	for file, want := range map[string]int64{"model": d.Checkpoints.Model, "optimizer": d.Checkpoints.Optimizer} {
		info, err := os.Stat(filepath.Join(r.Checkpoint, file+".safetensors"))
		require.NoError(t, err)
		require.InDelta(t, want, info.Size(), 3000, "%s: the file's header comes on top", file)
	}
	rates := map[int64]float64{}
	for _, rec := range records {
		if rec.Loss != nil {
			rates[int64(rec.Step)-1] = rec.LearningRate
		}
	}
	for _, m := range d.LearningRate {
		require.InDelta(t, rates[m.Step], m.Rate, 1e-12, m.What)
	}
}

// The bytes of every collective are those that a ring of the same shape sends, of integers that need all
// of their 8 bytes: smaller ones are packed.
func TestDryRunTrafficIsTheRings(t *testing.T) {
	p := dryPlanOf(t, "workers=3", "mix.level=input", "mix.hardest=2")
	all := append(p.collectives(), p.mixedCollectives("input")...)
	require.Len(t, all, 6)
	rings := make([]*allreduce.Ring, len(p.shards))
	var g errgroup.Group
	for rank, transport := range allreduce.Memory(len(rings)) {
		cfg := allreduce.DefaultConfig()
		cfg.Run, cfg.Generation, cfg.Rank, cfg.World = "dry", 1, run.Rank(rank), len(rings)
		g.Go(func() (err error) {
			rings[rank], err = allreduce.New(cfg, transport)
			return err
		})
	}
	require.NoError(t, g.Wait())
	for _, ring := range rings { // the first collective also carries greetings
		g.Go(func() error { return ring.Barrier(t.Context(), 0, "begin") })
	}
	require.NoError(t, g.Wait())
	payload := func(rank int) int64 {
		s := rings[rank].Stats()
		return s.BytesSent - 64*s.FramesSent
	}
	for _, c := range all {
		before := []int64{payload(0), payload(1), payload(2)}
		total := 0
		for _, n := range c.parts {
			total += n
		}
		large := slices.Repeat([]int64{math.MinInt64 / 4}, total)
		for _, ring := range rings {
			g.Go(func() error {
				switch {
				case c.name == allGather:
					return ring.AllGather(t.Context(), 0, c.what, make([]float32, total), c.parts)
				default:
					return ring.ReduceScatterInt64(t.Context(), 0, c.what, slices.Clone(large), c.parts)
				}
			})
		}
		require.NoError(t, g.Wait())
		for rank := range rings {
			require.Equal(t, c.sent(rank), payload(rank)-before[rank], "%s by %s, rank %d", c.what, c.name, rank)
		}
	}
}

// The step log of a run has the bytes that the plan tells, less what integers save that are packed: those
// of few rows here, as long chunks go through shared memory. Which maps travel is an estimate.
func TestDryRunBytesAreTheRuns(t *testing.T) {
	w := newWorkspace(t)
	for level, tolerance := range map[string]float64{"embed": 0, "input": 0, "feature": 0.1} {
		set := []string{"--data", w.data, "--workers", "2", "--set", "train.steps=12", "--set", "mix.level=" + level}
		d := w.dryRun(t, set...)
		var planned, packed float64
		for _, c := range d.Traffic {
			planned += float64(c.Bytes)
			if c.Collective == reduceScatter && c.Bytes < 8<<10 {
				packed += 7. / 8 * float64(c.Bytes) // at least one byte of 8 travels
			}
		}
		out := filepath.Join(w.dir, level)
		w.train(t, append(set, "--out", out)...)
		records, err := worker.ReadJournal(out)
		require.NoError(t, err)
		var sent, steps float64
		for _, r := range records {
			if r.Loss != nil && r.Step > 1 { // before the first step workers also meet
				const header = 64 // bytes of a frame
				sent, steps = sent+float64(r.SentBytes-header*r.SentFrames), steps+1
			}
		}
		t.Logf("%s: %.0f bytes a step, planned %.0f", level, sent/steps, planned)
		const number = 8 // parts may differ by one between rank 0 and the rank that sends most
		require.LessOrEqual(t, sent/steps, planned*(1+tolerance)+2*number, level)
		require.GreaterOrEqual(t, sent/steps, planned*(1-tolerance)-packed-2*number, level)
	}
}

// dryPlanOf plans the tiny recipe with overrides on 12 classes of 5 images.
func dryPlanOf(t *testing.T, set ...string) *dryPlan {
	t.Helper()
	r, err := recipe.Parse("tiny", []byte(tinyRecipe), set)
	require.NoError(t, err)
	half := dataset.Count{Images: 60, Classes: 12}
	data, train, err := assume("", half, half)
	require.NoError(t, err)
	p, err := newDryPlan(r, train, data)
	require.NoError(t, err)
	return p
}

// With the gradient cache maps and gradients by them are in files: of one worker's rows one map, one
// gradient by it and one by each mix. In memory are those of a shard.
func TestDryRunFilesWhatIsMixed(t *testing.T) {
	set := []string{"workers=1", "mix.level=feature", "mix.feature.hardest=3", "batch.shards=4"}
	plain, cached := dryPlanOf(t, set...), dryPlanOf(t, append(set, "batch.gradient_cache=on")...)
	rows, maps := int64(plain.sampler.Rows()), int64(4*plain.network.Features.Size())
	require.EqualValues(t, 0, plain.filedBytes())
	require.Equal(t, (2+3)*rows*maps, cached.filedBytes())
	require.Equal(t, cached.filedBytes(), plain.mixedBytes().Bytes-cached.mixedBytes().Bytes)
	for level, filed := range map[string]int64{"load": 0, "fetch": rows} {
		p := dryPlanOf(t, "workers=1", "mix.level=input", "mix.images="+level, "batch.gradient_cache=on")
		require.Equal(t, 4*filed*int64(p.network.Input.Size()), p.filedBytes(), level)
	}
}

// The bound of the loss workspace holds, and is not far off, for all kinds of forms.
func TestDryRunWorkspaceBounds(t *testing.T) {
	const scratch = 40 << 10 // O(B) of one thread, for a batch of 160 rows
	for _, form := range []string{"contrastive", "multi_similarity", "proxy_anchor", "proxy_nca", "nt_xent"} {
		for _, level := range []string{"none", "embed"} {
			p := dryPlanOf(t, "loss.form="+form, "mix.level="+level, "batch.images=20", "model.dim=64", "mix.pairs=positive_negative")
			loss, err := metrix.New(p.form, 1)
			require.NoError(t, err)
			used := workspaceOf(t, p, loss)
			bound := p.workspace()
			t.Logf("%s, mixing %s: %d of at most %d bytes", form, level, used, bound)
			require.LessOrEqual(t, used, bound+scratch, "%s, mixing %s", form, level)
			require.LessOrEqual(t, bound, 4*used, "%s, mixing %s", form, level)
		}
	}
}

// workspaceOf evaluates every shard of a batch, as a worker does.
func workspaceOf(t *testing.T, p *dryPlan, loss *metrix.Loss) int64 {
	t.Helper()
	items := p.sampler.Batch(0)
	dim, r := p.network.Dim, draw.Of(1, draw.Test)
	b := metrix.Batch{Dim: dim, Embeddings: make([]float32, len(items)*dim), Proxies: make([]float32, p.proxies())}
	for _, it := range items {
		b.Labels = append(b.Labels, int32(it.Class))
	}
	for _, x := range [][]float32{b.Embeddings, b.Proxies} {
		for i := range x {
			x[i] = float32(r.Norm())
		}
	}
	metrix.Normalize(b.Embeddings, b.Embeddings, dim)
	mix := metrix.DrawMix(p.recipe.Mix.Config(), 1, 0)
	grad := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings)), Proxies: make([]float32, len(b.Proxies))}
	n, shards := metrix.NumAnchors(p.form, b), p.recipe.Batch.Shards
	for s := range shards {
		_, err := loss.Evaluate(grad, b, mix, n*s/shards, n*(s+1)/shards)
		require.NoError(t, err)
	}
	return int64(loss.WorkspaceBytes())
}

func TestDryRunSchedule(t *testing.T) {
	p := dryPlanOf(t, "train.steps=0", "train.epochs=9", "schedule.name=step", "schedule.every_epochs=4", "schedule.warmup_epochs=1",
		"schedule.head_only_epochs=1.5", "optimizer.lr=0.01", "schedule.factor=0.5")
	per := int64(p.sampler.StepsPerEpoch())
	require.Equal(t, 9*per, p.total)
	require.Equal(t, per+(per+1)/2, p.headOnly())
	require.Equal(t, []dryRate{
		{0, 0, 0.01 / float64(per), "warm-up begins"},
		{per - 1, float64(per-1) / float64(per), 0.01, "warm-up is done"},
		{4 * per, 4, 0.005, "times 0.5"},
		{8 * per, 8, 0.0025, "times 0.5"},
		{9*per - 1, float64(9*per-1) / float64(per), 0.0025, "last step"},
	}, p.rates())
}

func TestMultiples(t *testing.T) {
	for _, periods := range [][]int64{{0}, {3}, {4, 6}, {5, 5}, {2, 3, 7}, {6, 10, 15}, {0, 8}, {1 << 40, 1<<40 - 1, 7}} {
		for _, n := range []int64{0, 1, 29, 30, 31, 210, 500} {
			var want int64
			for i := int64(1); i <= n; i++ {
				for _, p := range periods {
					if p > 0 && i%p == 0 {
						want++
						break
					}
				}
			}
			require.Equal(t, want, multiples(n, periods...), "%d, %v", n, periods)
		}
	}
}

// Without its images a plan is made from the expected or published numbers, and says so.
func TestDryRunWithoutData(t *testing.T) {
	w := newWorkspace(t)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(w.dir, "cache"))
	synth := []string{"--set", "data.synth={classes: 12, images: 5, side: 24}"}
	assumed := w.dryRun(t, synth...)
	require.Contains(t, assumed.Data.Assumed, "expected")
	require.NoDirExists(t, filepath.Join(w.dir, "cache"))
	require.Equal(t, dataset.Count{Images: 48, Classes: 12}, assumed.Data.Train)
	r, err := recipe.Load(w.recipe, synth[1])
	require.NoError(t, err)
	dir, cfg, err := synthFolder(r.Data.Synth)
	require.NoError(t, err)
	require.NoError(t, dataset.Synth(dir, cfg, nil))
	made := w.dryRun(t, synth...)
	require.Empty(t, made.Data.Assumed)
	require.Equal(t, assumed.Steps, made.Steps)

	published := w.dryRun(t, "--set", "data.layout=sop")
	require.Contains(t, published.Data.Assumed, "Stanford Online Products")
	require.Equal(t, 11318, published.Data.Train.Classes)
	_, _, code, err := execute(NewMetrix(), "train", w.recipe, "--dry-run")
	require.Equal(t, cli.ExitUsage, code)
	require.ErrorContains(t, err, "--data")
}

func TestDryRunForPeople(t *testing.T) {
	w := newWorkspace(t)
	text, _, _, err := execute(NewMetrix(), "train", w.recipe, "--dry-run", "--data", w.data, "--workers", "3",
		"--set", "mix.level=random", "--set", "mix.wire=bfloat16", "--set", "memory.size=100", "--set", "compare=without_mixing",
		"--set", "batch.gradient_cache=on", "--set", "data.synth={classes: 12, images: 5, side: 24}")
	require.NoError(t, err)
	for _, part := range []string{
		"multi_similarity, without mixing, then multi_similarity, with Metrix (random); nothing is run",
		"8 classes x 3 images = 24 rows, in 4 shards of 6 rows", "rank 0  0 to 1", "rank 2  3 ", "memory of rows", "activations",
		"mixed embeddings", "feature maps", "exchange", "about ", "steps that mix at feature level",
	} {
		require.Contains(t, text, part)
	}
	t.Log("\n" + text)
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.977 KiB", 1 << 20: "1 MiB", 5 << 40: "5 TiB"} {
		require.Equal(t, want, bytesText(n))
	}
}
