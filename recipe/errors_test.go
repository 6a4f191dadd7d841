package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each mistake is one sentence with its place. Sources start at line 1.
func TestSentences(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		// keys
		{"nmae: x", "r.yaml:1: a recipe has no key nmae (did you mean name?); its keys are name, seed, data, model, loss, mix, memory, semi, batch, optimizer, schedule, train, eval, compare, workers, engine"},
		{"seed: 1\noptimizer:\n  learning_rate: 1", "r.yaml:3: optimizer has no key learning_rate; its keys are name, lr, weight_decay, momentum, betas, eps, proxy_lr_scale, clip_value, clip_norm"},
		{"optimizer: {wieght_decay: 1}", "r.yaml:1: optimizer has no key wieght_decay (did you mean weight_decay?); its keys are"},
		{"seed: 1\n\nseed: 2", `r.yaml:3: "seed" is given twice, first at r.yaml:1`},
		{"data: {synth: {Classes: 3}}", "data.synth has no key Classes (did you mean classes?)"},
		// types
		{"seed: one", "r.yaml:1: seed is one; it must be a whole number from 0 to 18446744073709551615"},
		{"seed: -1", "r.yaml:1: seed is -1; it must be a whole number from 0"},
		{"seed: \"1\"", "r.yaml:1: seed is 1; it must be a whole number"},
		{"seed: 010", "r.yaml:1: seed is 010; it must be a whole number"},
		{"seed: 18446744073709551616", "r.yaml:1: seed is 18446744073709551616; it must be a whole number from 0 to 18446744073709551615"},
		{"name: 12", `r.yaml:1: name is 12; it must be 1 to 64 letters, digits, '-' or '_', so write it in quotes: "12"`},
		{"name: true", `so write it in quotes: "true"`},
		{"workers: 1.5", "r.yaml:1: workers is 1.5; it must be a whole number from 1 to 65536"},
		{"workers: 1e3", "r.yaml:1: workers is 1e3; it must be a whole number"},
		{"workers: [1]", "r.yaml:1: workers is [1]; it must be a whole number"},
		{"workers:", "r.yaml:1: workers has no value; give one or leave the key out"},
		{"workers: ~", "r.yaml:1: workers has no value"},
		{"data: 3", "r.yaml:1: data must be a mapping of keys to values, not 3"},
		{"data:\n  augment: [1, 2]", "r.yaml:2: data.augment must be a mapping of keys to values, not [1, 2]"},
		{"- 1", "r.yaml:1: a recipe must be a mapping of keys to values, not [1]"},
		{"optimizer: {lr: .inf}", "r.yaml:1: optimizer.lr is .inf; it must be a number above 0, at most 1000"},
		{"optimizer: {lr: inf}", "r.yaml:1: optimizer.lr is inf; it must be a number"},
		{"optimizer: {lr: .nan}", "optimizer.lr is .nan; it must be a number"},
		{"optimizer: {lr: 0x10}", "optimizer.lr is 0x10; it must be a number"},
		{"optimizer: {lr: 1_0}", "optimizer.lr is 1_0; it must be a number"},
		{"optimizer: {lr: 1e999}", "optimizer.lr is 1e999; it must be a number"},
		{"loss: {params: 3}", "r.yaml:1: loss.params is 3; it must be a mapping of constants to numbers"},
		{"loss:\n  params:\n    beta: high", "r.yaml:3: loss.params.beta is high; it must be a number"},
		// ranges
		{"name: a b", `r.yaml:1: name is "a b"; it must be 1 to 64 letters`},
		{"data: {layout: sob}", "data.layout is sob; it must be one of auto, sop, cub, cars, inshop, folder, pack (did you mean sop?)"},
		{"data: {size: 4}", "data.size is 4; it must be a whole number from 16 to 1024"},
		{"data: {augment: {scale: [1, 0.3]}}", "data.augment.scale is [1, 0.3]; it must be [smallest, largest] with 0.001 <= smallest <= largest <= 1"},
		{"data: {augment: {scale: [0.3]}}", "data.augment.scale is [0.3]; it must be [smallest, largest]"},
		{"data: {augment: {ratio: [0, 1]}}", "data.augment.ratio is [0, 1]; it must be"},
		{"data: {augment: {flip: 1.5}}", "data.augment.flip is 1.5; it must be a number from 0 to 1"},
		{"data: {std: [1, 1, 0]}", "data.std is [1, 1, 0]; it must be 3 numbers, each from 1e-06 to 100"},
		{"data: {mean: [0.5, 0.5]}", "data.mean is [0.5, 0.5]; it must be 3 numbers, each from 0 to 1"},
		{"model: {arch: resnet51}", "model.arch is resnet51; it must be one of conv4, resnet18, resnet34, resnet50, resnet101 (did you mean resnet50?)"},
		{"model: {width: 12}", "model.width is 12; it must be a multiple of 8 from 8 to 512"},
		{"model: {dim: 1}", "model.dim is 1; it must be a whole number from 2 to 8192"},
		{"optimizer: {name: adamW}", "optimizer.name is adamW; it must be one of adamw, adam, sgd (did you mean adamw?)"},
		{"optimizer: {lr: 0}", "optimizer.lr is 0; it must be a number above 0"},
		{"optimizer: {betas: [0.9, 1]}", "optimizer.betas is [0.9, 1]; it must be 2 numbers, each at least 0 and below 1"},
		{"optimizer: {momentum: 1}", "optimizer.momentum is 1; it must be a number at least 0 and below 1"},
		{"train: {epochs: 0}", "train.epochs is 0; it must be a whole number from 1"},
		{"train: {keep: 0}", "train.keep is 0; it must be a whole number from 1 to 1000"},
		{"eval: {recall: [1, 10, 2]}", "eval.recall is [1, 10, 2]; it must be 1 to 16 whole numbers from 1 to 1000000 in ascending order"},
		{"eval: {recall: []}", "eval.recall is []; it must be"},
		{"eval: {recall: [0, 1]}", "eval.recall is [0, 1]; it must be"},
		{"engine: {name: cudnn}", "engine.name is cudnn; it must be one of auto, gorgonia, onednn, cuda (did you mean cuda?)"},
		// rules between fields
		{"engine: {name: gorgonia, precision: bf16}", "r.yaml:1: engine.precision is bf16; it needs engine.name onednn, cuda or auto, not gorgonia"},
		{"engine: {name: onednn, precision: tf32}", "engine.precision is tf32; it needs engine.name cuda or auto, not onednn"},
		{"batch:\n  classes: 8\n  shards: 3", "r.yaml:3: batch.shards is 3; it must divide batch.classes, which is 8"},
		{"batch: {classes: 4}\nworkers: 5", "r.yaml:2: workers is 5; it must be at most batch.shards, which is 4"},
		{"batch: {classes: 8, images: 4, micro: 12}", "r.yaml:1: batch.micro is 12; it must cut the batch's 32 rows into equal parts of whole classes, of which there are 8"},
		{"batch: {classes: 8, images: 4, micro: 2}", "batch.micro is 2; it must cut the batch's 32 rows"},
		{"batch: {classes: 8, images: 4, micro: 100}", "batch.micro is 100; it must cut the batch's 32 rows"},
		{"batch:\n  {classes: 8, images: 4, shards: 8,\n  micro: 16}", "r.yaml:3: batch.micro is 16 and batch.shards 8; a micro-batch is a shard, so leave one of them out or set batch.shards to 2"},
		{"batch: {micro: 8, gradient_cache: off}", "batch.micro is 8; it needs batch.gradient_cache on, not off"},
		{"batch: {classes: 65536, images: 2}", "batch.classes x batch.images is 131072 rows; it must be at most 65536"},
		{"batch: {images: 1}", "batch.images is 1; it must be at least 2 for loss.form multi_similarity, whose positives are other images of the batch"},
		{"data: {size: 64, resize: 60}", "data.resize is 60; it must be at least data.size, which is 64"},
		{"data: {synth: {classes: 10}}", "data.synth.classes is 10; it must be 0 for none, or at least batch.classes, which is 16"},
		{"loss: {form: proxy_anker}", "loss.form is proxy_anker; it must be one of contrastive, multi_similarity, binomial_deviance, lifted_structure, nca, proxy_anchor, proxy_nca, triplet, nt_xent, supcon, recall_at_k (did you mean proxy_anchor?)"},
		{"loss:\n  params: {beta: 18,\n    margn: 1}", `r.yaml:3: loss.params.margn is 1: loss form multi_similarity has no parameter "margn"; it has beta (18)`},
		{"loss: {params: {beta: -1}}", "loss.params.beta is -1: parameter beta of loss form multi_similarity is -1; it must lie in"},
		{"loss: {form: proxy_anchor}\nmix:\n  level: embed\n  pairs: anchor_negative", "r.yaml:4: mix does not go with the rest: loss form proxy_anchor mixes positives with negatives only; set mix pairs to positive_negative or both"},
		{"data: {size: 16}\nmodel: {arch: resnet50}", "r.yaml:1: data.size and model.arch do not go together: resnet50 takes images of 32 to 1024 pixels a side, not 16"},
		{"model:\n  cut: layer3", "r.yaml:2: model.cut is layer3: conv4 has no layer \"layer3\" to cut after: use one of conv1, conv2, conv3, block4"},
		{"model: {cut: conv3}\nschedule: {head_only_epochs: 1}", "model.cut is conv3; it does not go with schedule.head_only_epochs, which is 1"},
		{"schedule: {min_lr: 1}", "schedule.min_lr is 1; it must be at most optimizer.lr, which is 0.001"},
		// YAML
		{"a: [1", "r.yaml:1: the recipe is not valid YAML"},
		{"seed: 1\n\tname: x", "r.yaml:2: the recipe is not valid YAML"},
		{"seed: &a 1", `r.yaml:1: "&" is a YAML anchor, which recipes do not use; write the value out`},
		{"seed: 1\nworkers: *a", `r.yaml:2: "*" is a YAML alias, which recipes do not use`},
		{"data:\n  <<: {size: 1}", `r.yaml:2: "<<" is a YAML mergekey, which recipes do not use`},
		{"seed: !!int 1", "is a YAML tag, which recipes do not use"},
		{"%YAML 1.2\n---\nseed: 1", "is a YAML directive, which recipes do not use"},
		{"seed: 1\n---\nseed: 2", "the file holds 2 YAML documents; a recipe is one"},
	} {
		_, err := Parse("r.yaml", []byte(c.src), nil)
		require.ErrorContains(t, err, c.want, "%q", c.src)
		require.NotContains(t, err.Error(), "\n", "%q", c.src)
		require.True(t, strings.HasPrefix(err.Error(), "r.yaml:"), "%q: %v", c.src, err)
	}
}

func TestOverrideSentences(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"optimizer.lr=fast", "--set optimizer.lr=fast: optimizer.lr is fast; it must be a number above 0, at most 1000"},
		{"optimizer.ls=1", "--set optimizer.ls=1: optimizer has no key ls (did you mean lr?)"},
		{"optimiser.lr=1", "--set optimiser.lr=1: a recipe has no key optimiser (did you mean optimizer?)"},
		{"seed", "--set seed: an override is written key.path=value, such as optimizer.lr=1e-3"},
		{"=1", "an override is written key.path=value"},
		{"a..b=1", "an override is written key.path=value"},
		{"seed.x=1", "--set seed.x=1: seed is not a mapping, so it has no key x"},
		{"workers=", `--set workers=: workers is ""; it must be a whole number`},
		{"workers=9", "--set workers=9: workers is 9; it must be at most batch.shards, which is 4"},
		{"batch.classes=6", "--set batch.classes=6: batch.shards is 4; it must divide batch.classes, which is 6"},
		{"eval.recall=[1, x]", "--set eval.recall=[1, x]: eval.recall is [1, x]; it must be"},
		{"eval.recall=[1", "--set eval.recall=[1:1: the recipe is not valid YAML"},
		{"data=3", "--set data=3: data must be a mapping"},
		{"loss.params.gama=3", `--set loss.params.gama=3: loss.params.gama is 3: loss form multi_similarity has no parameter "gama"`},
		{"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=1", "no key of a recipe is that deep"},
	} {
		_, err := Parse("r.yaml", []byte("seed: 4\nbatch: {shards: 4}"), []string{c.set})
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
	}
}

// A recipe built in code is held to the same rules.
func TestValidateInCode(t *testing.T) {
	r := Default()
	r.Train.Epochs = 0
	require.EqualError(t, r.Validate(), "recipe: train.epochs is 0; it must be a whole number from 1 to 1000000")
	r = Default()
	r.Batch.Shards = 3
	require.ErrorContains(t, r.Validate(), "batch.shards is 3; it must divide batch.classes, which is 16")
	r = Default()
	r.Data.Augment.Scale = nil
	require.ErrorContains(t, r.Validate(), "data.augment.scale is []")
	require.Error(t, new(Recipe).Validate())
}
