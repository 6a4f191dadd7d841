package recipe

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEmptyRecipeIsTheDefault(t *testing.T) {
	r, err := Parse("x.yaml", nil, nil)
	require.NoError(t, err)
	require.Equal(t, Default(), r)
	require.NoError(t, r.Validate())
}

func TestCanonicalReadsBackTheSame(t *testing.T) {
	r := Default()
	r.Data.Path = `a "b" \ ü: #`
	r.Model.Pretrained = ""
	again, err := Parse("canonical", r.Canonical(), nil)
	require.NoError(t, err)
	require.Equal(t, r, again)
	require.Equal(t, r.Hash(), again.Hash())
}

func TestEveryKeyIsRead(t *testing.T) {
	src := `
name: all
seed: 18446744073709551615
data:
  layout: sop
  path: /data/a b
  decoder: turbo
  store: 128
  synth: {classes: 120, images: 9, side: 64, seed: 2}
  size: 48
  resize: 56
  augment: {scale: [0.3, 1], ratio: [0.5, 2], flip: 0.25, color: 0.2}
  mean: [0.5, 0.4, 0.3]
  std: [0.2, 0.3, 0.4]
model: {arch: resnet18, dim: 64, norm: batch, width: 64, batchnorm: frozen, cut: layer3, pretrained: w.safetensors}
loss: {form: proxy_anchor, params: {alpha: 30, delta: .2}, reduction: paper}
mix:
  {level: random, weight: 0.5, alpha: 1.5, pairs: positive_negative, per: pair, hardest: 3, partners: shard, wire: bfloat16, images: fetch, memory: yes,
   input: {weight: 0.1, alpha: 1, pairs: both, per: step, hardest: 2}, feature: {hardest: 4}, embed: {hardest: 0}}
memory: {size: 1000, start_step: 50}
semi: {labelled: 0.3, least: 3, unlabelled: 0, weight: 0.5, neighbors: 8, damping: 0.7, form: angular, margin: 0.3, angle: 40, signed: yes, orthogonal: yes}
batch: {classes: 20, images: 5, shards: 10, gradient_cache: on, micro: 10}
optimizer: {name: sgd, lr: 6e-4, weight_decay: 0, momentum: 0.8, betas: [0.8, 0.99], eps: 1e-6, proxy_lr_scale: 10, clip_value: 0, clip_norm: 1}
schedule: {name: cosine, warmup_epochs: 0.5, every_epochs: 20, factor: 0.5, head_only_epochs: 0, min_lr: 1e-6}
train: {epochs: 3, steps: 20, eval_every_epochs: 0, eval_every_steps: 5, checkpoint_every_steps: 7, keep: 2}
eval: {recall: [1, 2, 4, 8], geometry: yes}
compare: without_mixing
workers: 3
engine: {name: onednn, precision: bf16, threads: 2}
`
	want := &Recipe{
		Name: "all", Seed: 1<<64 - 1,
		Data: Data{
			Layout: "sop", Path: "/data/a b", Decoder: "turbo", Store: 128, Synth: Synth{120, 9, 64, 2}, Size: 48, Resize: 56,
			Augment: Augment{[]float64{0.3, 1}, []float64{0.5, 2}, 0.25, 0.2},
			Mean:    []float64{0.5, 0.4, 0.3}, Std: []float64{0.2, 0.3, 0.4},
		},
		Model: Model{"resnet18", 64, "batch", 64, "frozen", "layer3", "w.safetensors"},
		Loss:  Loss{"proxy_anchor", map[string]float64{"alpha": 30, "delta": 0.2}, "paper"},
		Mix: Mix{
			Level: "random", MixLevel: MixLevel{0.5, 1.5, "positive_negative", "pair", 3}, Partners: "shard", Wire: "bfloat16", Images: "fetch", Memory: "yes",
			Input: MixLevel{0.1, 1, "both", "step", 2}, Feature: MixLevel{0.5, 1.5, "positive_negative", "pair", 4},
			Embed: MixLevel{0.5, 1.5, "positive_negative", "pair", 0},
		},
		Memory:    Memory{1000, 50},
		Semi:      Semi{0.3, 3, 0, 0.5, 8, 0.7, "angular", 0.3, 40, "yes", "yes"},
		Batch:     Batch{20, 5, 10, "on", 10},
		Optimizer: Optimizer{"sgd", 6e-4, 0, 0.8, []float64{0.8, 0.99}, 1e-6, 10, 0, 1},
		Schedule:  Schedule{"cosine", 0.5, 20, 0.5, 0, 1e-6},
		Train:     Train{3, 20, 0, 5, 7, 2},
		Eval:      Eval{[]int{1, 2, 4, 8}, "yes"},
		Compare:   "without_mixing",
		Workers:   3,
		Engine:    Engine{"onednn", "bf16", 2},
	}
	got, err := Parse("all.yaml", []byte(src), nil)
	require.NoError(t, err)
	require.Equal(t, want, got)

	again, err := Parse("canonical", got.Canonical(), nil)
	require.NoError(t, err)
	require.Equal(t, want, again)
	require.Equal(t, got.Canonical(), again.Canonical())
}

func TestDependentDefaults(t *testing.T) {
	r, err := Parse("r", []byte("data: {size: 224}\nmodel: {arch: resnet50}\nbatch: {classes: 20}"), nil)
	require.NoError(t, err)
	require.Equal(t, 256, r.Data.Resize)
	require.Equal(t, "batch", r.Model.Norm)
	require.Equal(t, 64, r.Model.Width)
	require.Equal(t, 20, r.Batch.Shards)

	r, err = Parse("r", nil, nil)
	require.NoError(t, err)
	require.Equal(t, "group", r.Model.Norm)
	require.Equal(t, 32, r.Model.Width)

	r, err = Parse("r", []byte("batch: {classes: 1000, images: 4, micro: 100}"), nil)
	require.NoError(t, err)
	require.Equal(t, Batch{Classes: 1000, Images: 4, Shards: 40, GradientCache: "on", Micro: 100}, r.Batch)
}

func TestOverrides(t *testing.T) {
	src := []byte("name: a\noptimizer: {lr: 1}\n")
	r, err := Parse("r", src, []string{
		"name=12", "optimizer.lr=2e-3", "optimizer.lr=3e-3", "optimizer.betas=[0.5, 0.6]", "data.path=/a b: #c",
		"loss.params.beta=2", "loss.params={gamma: 3}", "data.synth.classes = 40 ", `model.pretrained="w.safetensors"`,
		"model.arch=resnet18",
	})
	require.NoError(t, err)
	require.Equal(t, "12", r.Name, "text needs no quotes on a command line")
	require.Equal(t, 3e-3, r.Optimizer.LR, "the last one wins")
	require.Equal(t, []float64{0.5, 0.6}, r.Optimizer.Betas)
	require.Equal(t, "/a b: #c", r.Data.Path)
	require.Equal(t, map[string]float64{"gamma": 3}, r.Loss.Params)
	require.Equal(t, 40, r.Data.Synth.Classes)
	require.Equal(t, "w.safetensors", r.Model.Pretrained)
}

// The hash covers what decides the run and nothing else.
func TestHash(t *testing.T) {
	hash := func(set ...string) string {
		r, err := Parse("r", []byte("batch: {shards: 8}"), set)
		require.NoError(t, err)
		return r.Hash()
	}
	base := hash()
	require.Len(t, base, 64)
	for _, same := range []string{"workers=4", "engine.threads=2", "data.path=/elsewhere", "compare=without_mixing", "seed=1", "batch.micro=8", "mix.images=fetch"} {
		require.Equal(t, base, hash(same), same)
	}
	seen := map[string]string{base: "the base"}
	for _, other := range []string{
		"seed=2", "name=b", "data.size=64", "data.augment.flip=0", "model.dim=64", "loss.form=contrastive",
		"loss.params.beta=2", "mix.level=embed", "batch.shards=4", "optimizer.lr=1e-4", "schedule.name=cosine",
		"train.epochs=5", "model.cut=conv2", "engine.name=gorgonia", "data.synth.classes=50",
	} {
		h := hash(other)
		require.Empty(t, seen[h], other)
		seen[h] = other
	}
}

func TestLoadErrors(t *testing.T) {
	_, err := Load(t.TempDir() + "/missing.yaml")
	require.ErrorContains(t, err, "missing.yaml")
	path := t.TempDir() + "/r.yaml"
	require.NoError(t, os.WriteFile(path, []byte("seed: 1\nbatch: 3\n"), 0o644))
	_, err = Load(path)
	require.ErrorContains(t, err, path+":2: batch must be a mapping")
	require.NoError(t, os.WriteFile(path, []byte("seed: 1\n"), 0o644))
	r, err := Load(path, "seed=5")
	require.NoError(t, err)
	require.Equal(t, uint64(5), r.Seed)
}
