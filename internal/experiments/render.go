package experiments

import (
	"fmt"
	"strings"
)

const (
	column = 100 // where comments are wrapped

	// measured is what two cores of a Zen 4 train of this network, images a second (docs/performance.md).
	measured = 7.5
)

// Recipe returns the file of the experiment.
func (e Experiment) Recipe() []byte {
	var b strings.Builder
	e.header(&b)
	e.settings(&b)
	return []byte(b.String())
}

// Name is the recipe's name.
func (e Experiment) Name() string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(e.File, "recipes/"), ".yaml"), "/", "_")
}

// steps is the number of steps in an epoch.
func (e Experiment) steps() int { return e.Set.stepsPerEpoch(e.classes, e.images, e.shards) }

func (e Experiment) header(b *strings.Builder) {
	comment(b, "Trains: ResNet-50, 512-d, on "+e.Set.Name+", "+e.Method+".")
	comment(b, "Reproduces: "+e.From+".")
	comment(b, "Score: "+e.Score+" published; not yet reproduced here, see Needs.")
	comment(b, "Time: "+e.time())
	comment(b, "Command:")
	fmt.Fprintf(b, "#   metrix train %s --data %s\n", e.File, e.Set.Data)
	comment(b, "Needs: the data in folder "+e.Set.Data+" ("+e.Set.Files+"; docs/datasets.md), a GPU (docs/gpu.md) or patience; "+
		"torchvision's ImageNet weights as a safetensors file at model.pretrained, made once in Python with "+
		"torchvision and safetensors:")
	b.WriteString("#     w = torchvision.models.resnet50(weights=\"IMAGENET1K_V1\").state_dict()\n")
	b.WriteString("#     safetensors.torch.save_file(w, \"weights/resnet50.safetensors\")\n")
	b.WriteString("#\n")
	for _, note := range append(e.Notes, e.batches()...) {
		paragraph(b, note)
	}
}

// time estimates from what the network was measured to need.
func (e Experiment) time() string {
	epoch := float64(e.steps()*e.classes*e.images) * e.passes / measured / 3600
	test := float64(e.Set.counts().Test.Images) / (3 * measured) / 3600
	return fmt.Sprintf("an estimate: %s an epoch and %s in all on two cores of an AMD Zen 4, where this network was measured to train "+
		"%.1f images a second (docs/performance.md); each of the %d evaluations takes another %s. --set train.steps=2 shows that it starts.",
		hours(epoch), hours(epoch*float64(e.epochs)), measured, e.epochs/evalEvery, hours(test))
}

const evalEvery = 5 // epochs

func hours(h float64) string {
	switch {
	case h < 1:
		return fmt.Sprintf("%.0f minutes", 60*h)
	case h >= 48:
		return fmt.Sprintf("%.0f days", h/24)
	}
	return fmt.Sprintf("%.1f hours", h)
}

// batches says what an epoch is and what batch norm does to the number of workers.
func (e Experiment) batches() []string {
	rows := e.classes * e.images / e.shards
	out := []string{fmt.Sprintf("An epoch has %d steps of %d classes, %d images of each.", e.steps(), e.classes, e.images)}
	if e.frozen {
		return append(out, fmt.Sprintf("Batch norm is frozen, so any number of workers from 1 to %d trains the same numbers.", e.shards))
	}
	return append(out, fmt.Sprintf("Batch norm is live. Its statistics are those of one shard, %d rows, so that 1 to %d workers train the same "+
		"numbers; the paper has one GPU and all %d rows: --set batch.shards=1 on one worker.", rows, e.shards, e.classes*e.images))
}

func (e Experiment) settings(b *strings.Builder) {
	p := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	p("name: %s", e.Name())
	p("seed: 1")
	p("data:\n  layout: %s\n  size: 224\n  resize: 256", e.Set.Layout)
	p("  augment: {scale: [0.08, 1], ratio: [0.75, 1.3333333333333333], flip: 0.5, color: 0}")
	p("  mean: [0.485, 0.456, 0.406]\n  std: [0.229, 0.224, 0.225]")
	p("model:\n  arch: resnet50\n  dim: 512\n  norm: batch\n  batchnorm: %s", map[bool]string{true: "frozen", false: "live"}[e.frozen])
	p("  pretrained: weights/resnet50.safetensors")
	p("loss: %s", e.loss)
	p("mix: %s", e.mix)
	if e.memory != "" {
		p("memory: %s", e.memory)
	}
	cache := ""
	if e.cache {
		cache = ", gradient_cache: on"
	}
	p("batch: {classes: %d, images: %d, shards: %d%s}", e.classes, e.images, e.shards, cache)
	p("optimizer:\n  name: adam\n  lr: %s\n  weight_decay: 1e-4\n  betas: [0.9, 0.999]", e.lr)
	if e.proxies {
		p("  proxy_lr_scale: 100")
	}
	p("  clip_value: 10")
	p("schedule: {name: step, every_epochs: %d, factor: %s, head_only_epochs: %d}", e.every, e.factor, e.headOnly)
	p("train: {epochs: %d, eval_every_epochs: %d, checkpoint_every_steps: %d, keep: 3}", e.epochs, evalEvery, e.steps())
	p("eval: {recall: %s}", e.Set.Recall)
	p("workers: 1")
}

// comment writes a paragraph whose further lines are set in.
func comment(b *strings.Builder, text string) { wrap(b, "# ", "#   ", text) }

func paragraph(b *strings.Builder, text string) { wrap(b, "# ", "# ", text) }

// wrap writes words in lines of at most column characters.
func wrap(b *strings.Builder, first, next, text string) {
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > column:
			b.WriteString(line + "\n")
			line = next + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}
