package app

import (
	"fmt"

	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/worker"
)

// dryBytes is one part of a worker's memory.
type dryBytes struct {
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
	How   string `json:"how"` // the formula in words, or that it is an estimate
}

// Parts of a worker that are not in its recipe: the budget of decoded images, and the figures that
// follow the gradients in the sums (losses, counts).
const (
	imageBudget = 256 << 20
	tailNumbers = 5
)

// weights is the number of parameters, proxies included; reduced is what is summed over workers.
func (p *dryPlan) weights() int { return p.network.NumParams() + p.proxies() }
func (p *dryPlan) reduced() int { return p.weights() + p.network.NumBuffers() + tailNumbers }

// exactSums is the number of integers in which they are summed.
func (p *dryPlan) exactSums() int {
	_, trunk := p.network.StageRange(model.Trunk)
	return worker.ExactSums(p.reduced(), trunk, p.ownRows()/p.shardRows())
}

func (p *dryPlan) optimizerBytes() int64 {
	moments := 2
	if p.recipe.Optimizer.Name == "sgd" {
		moments = 1
	}
	return 4 * int64(moments) * int64(p.weights())
}

// rememberedBytes is the cross-batch memory: a row and a class, in two numbers, each.
func (p *dryPlan) rememberedBytes() int64 {
	return 4 * int64(p.recipe.Memory.Size) * int64(p.network.Dim+2)
}

// levels are the levels at which some step mixes.
func (p *dryPlan) levels() []string {
	switch level := p.recipe.Mix.Level; level {
	case metrix.LevelNone:
		return nil
	case metrix.LevelRandom:
		return []string{metrix.LevelInput, metrix.LevelFeature, metrix.LevelEmbed}
	default:
		return []string{level}
	}
}

// hardest is the number of mixed rows for each row of the batch at a level that makes rows, 0 at
// the others.
func (p *dryPlan) hardest(level string) int {
	switch level {
	case metrix.LevelInput:
		return p.recipe.Mix.Input.Hardest
	case metrix.LevelFeature:
		return p.recipe.Mix.Feature.Hardest
	}
	return 0
}

// width is the number of floats of what is mixed at a level that makes rows.
func (p *dryPlan) width(level string) int {
	if level == metrix.LevelFeature {
		return p.network.Features.Size()
	}
	return p.network.Input.Size()
}

// memory lists what the worker with most rows needs. Items of different levels of a random recipe
// are not needed at once; the largest counts.
func (p *dryPlan) memory() []dryBytes {
	rows, dim := int64(p.sampler.Rows()), int64(p.network.Dim)
	pixels := int64(p.network.Input.Size())
	images := int64(worker.HeldImages(p.recipe, p.ownRows(), p.shardRows()))
	items := []dryBytes{
		{"parameters", 4 * int64(p.weights()), "4 bytes a parameter"},
		{"gradients", 4 * int64(p.reduced()), "4 bytes a parameter or statistic"},
		{"exact sums", 8 * int64(p.exactSums()), "8 bytes a parameter or statistic; none of the trunk where a worker has one shard"},
		{"optimizer", p.optimizerBytes(), fmt.Sprintf("%d bytes a parameter", p.optimizerBytes()/int64(p.weights()))},
		{"statistics", 4 * int64(p.network.NumBuffers()), "4 bytes each"},
		{"embeddings", 16 * rows * dim, "row, gradient and exact sum of the whole batch: 16 bytes a number"},
		{"loss workspace", p.workspace(), "similarities of a shard's anchors to all, their gradients, copies of rows; at most"},
		{"memory of rows", p.rememberedBytes(), "4 bytes a number"},
		{"images", 4 * images * pixels, fmt.Sprintf("%d of them: own rows of three batches, two prepared ahead; with the gradient cache one shard's", images)},
		p.mixedBytes(),
		p.activations(),
		{"decoded images", p.decodedBytes(), "kept between epochs; at most"},
		{"evaluation", 4 * p.evaluated() * dim, "embeddings of the images evaluated, meanwhile"},
	}
	var out []dryBytes
	for _, it := range items {
		if it.Bytes > 0 {
			out = append(out, it)
		}
	}
	return out
}

// workspace bounds what the loss keeps: for a shard of anchors against the candidates N, three
// matrices (similarity, gradient, transposed); where embeddings are mixed also the three of the
// mixes; rows in the order of classes with their transpose and gradient; normalised proxies.
func (p *dryPlan) workspace() int64 {
	rows, dim, classes := int64(p.sampler.Rows()), int64(p.network.Dim), int64(len(p.train.Classes))
	shards := int64(p.recipe.Batch.Shards)
	columns := rows + int64(p.recipe.Memory.Size)
	anchors, candidates := rows/shards, columns
	if p.form.Anchors == metrix.Proxy {
		anchors = (classes + shards - 1) / shards
	}
	if p.form.Candidates == metrix.Proxy {
		candidates = classes
	}
	touched := rows / shards // examples of the anchors' classes
	if p.form.Anchors == metrix.Proxy {
		touched = min(rows, anchors*int64(p.recipe.Batch.Images))
	}
	if p.form.Reduction == metrix.MeanOverNonZero {
		anchors, touched = anchors*shards, rows
	}
	floats := 3*anchors*candidates + 3*candidates*dim
	for _, level := range p.levels() {
		if level == metrix.LevelEmbed {
			floats += 3 * touched * columns
			if p.form.UsesProxies() {
				floats += 3 * touched * columns // examples with examples, which is not compared otherwise
			}
		}
	}
	if p.form.UsesProxies() {
		floats += 2*classes*dim + 3*anchors*dim
	}
	return 4 * floats
}

// mixedBytes is what a step that mixes images or feature maps makes beside the forwards.
func (p *dryPlan) mixedBytes() dryBytes {
	most := dryBytes{What: "mixed rows", How: "partners of other workers, a shard's mixes, maps, embeddings and gradients; at most"}
	for _, level := range p.levels() {
		rows, filed := p.mixedRows(level)
		if p.recipe.Batch.GradientCache != "on" {
			rows += filed
		}
		bytes := 16*int64(p.sampler.Rows())*int64(p.hardest(level))*int64(p.network.Dim) + 4*int64(p.width(level))*rows
		most.Bytes = max(most.Bytes, bytes)
	}
	return most
}

// filedBytes is what the worker with most rows keeps in files during a step, at most.
func (p *dryPlan) filedBytes() int64 {
	most := int64(0)
	for _, level := range p.levels() {
		if _, filed := p.mixedRows(level); p.recipe.Batch.GradientCache == "on" {
			most = max(most, 4*int64(p.width(level))*filed)
		}
	}
	return most
}

// mixedRows is the images or feature maps of a level that a worker has in memory at a time, and those of
// its whole part of the batch, which with the gradient cache are in files. Loaded images are neither filed
// nor, with the gradient cache, of more than a shard.
func (p *dryPlan) mixedRows(level string) (rows, filed int64) {
	k, own, shard := int64(p.hardest(level)), int64(p.ownRows()), int64(p.shardRows())
	if k == 0 {
		return 0, 0
	}
	elsewhere := min(own*k, int64(p.sampler.Rows())-own) // partners that other workers own, at most
	cached := p.recipe.Batch.GradientCache == "on"
	switch {
	case level == metrix.LevelFeature: // maps, gradients by them and by mixes; a shard's on their way, both ways
		return shard + 3*shard*k, 2*own + own*k + 2*elsewhere
	case p.recipe.Mix.Images == "fetch" && cached:
		return 3 * shard * k, own + elsewhere
	case p.recipe.Mix.Images == "fetch":
		return 3 * shard * k, elsewhere
	case cached:
		return 2 * shard * k, 0
	}
	return shard*k + elsewhere, 0
}

// activations estimates what forwards keep for their backward: the output of every layer once, of
// all own shards or, with the gradient cache, of one; and the two largest gradients in flight. What
// an engine really keeps, measured on conv4, resnet18 and resnet50, is less: it computes in place
// where it can.
func (p *dryPlan) activations() dryBytes {
	trunk, wide := outputs(p.network.Trunk, p.network.Input)
	head, _ := outputs(p.network.Head, p.network.Features)
	kept, shard := int64(p.ownRows()), int64(p.shardRows())
	if p.recipe.Batch.GradientCache == "on" {
		kept = shard
	}
	perRow, extra, k := int64(trunk+head), int64(0), int64(1)
	for _, level := range p.levels() {
		n := int64(p.hardest(level))
		switch level {
		case metrix.LevelInput:
			extra, k = max(extra, n*perRow), max(k, n)
		case metrix.LevelFeature:
			extra = max(extra, n*int64(head))
		}
	}
	floats := kept*(perRow+extra) + 2*k*shard*int64(wide)
	return dryBytes{"activations", 4 * floats, "estimate: every layer's output and two gradients; gorgonia needs about 0.85 of it, onednn 0.4 to 0.6"}
}

// outputs returns the floats of one row that leave all layers together, and the most that leave one.
func outputs(layers []model.Layer, in model.Shape) (sum, most int) {
	for _, l := range layers {
		out := l.Output(in)
		if r, ok := l.(*model.Residual); ok {
			for _, branch := range [][]model.Layer{r.Main, r.Shortcut} {
				s, m := outputs(branch, in)
				sum, most = sum+s, max(most, m)
			}
		}
		sum, most = sum+out.Size(), max(most, out.Size())
		in = out
	}
	return sum, most
}

// evaluated is the number of images that an evaluation embeds.
func (p *dryPlan) evaluated() int64 {
	n := p.data.Test.Images
	if p.recipe.Eval.Geometry == "yes" {
		n += p.data.Train.Images
	}
	return int64(n)
}

// decodedBytes bounds the cache of decoded images: its budget, or less where images are stored small.
func (p *dryPlan) decodedBytes() int64 {
	side := int64(p.recipe.Data.Store)
	if side == 0 {
		side = int64(p.data.side)
	}
	if side == 0 {
		return imageBudget
	}
	return min(imageBudget, 4*side*side*int64(len(p.train.Images)))
}
