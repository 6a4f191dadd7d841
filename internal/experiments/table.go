package experiments

import "fmt"

// Experiment is one recipe.
type Experiment struct {
	Set    Set
	Loss   string // name for people
	Kind   string // "baseline", "metrix_input", "metrix_embed" or "metrix_feature", or another method
	File   string // of the recipe, from the root of the project
	Score  string // published, "R@1 74.9, R@10 87.0, R@100 93.9"
	From   string // what the score is of
	Notes  []string
	Method string // "with the contrastive loss, without mixing"

	loss, mix, memory       string // the recipe's lines
	classes, images, shards int
	cache                   bool
	schedule
	proxies bool
	passes  float64 // images through the trunk for one of the batch, forward and backward
}

// loss is a row of the paper's table of results.
type loss struct {
	name, file, recipe string
	proxies            bool
}

func losses() []loss {
	return []loss{
		{name: "contrastive", file: "contrastive", recipe: "{form: contrastive, params: {margin: 0.5}}"},
		{name: "multi-similarity", file: "multi_similarity", recipe: "{form: multi_similarity, params: {beta: 18, gamma: 75, margin: 0.77}}"},
		{name: "proxy anchor", file: "proxy_anchor", recipe: "{form: proxy_anchor, params: {alpha: 32, delta: 0.1}}", proxies: true},
	}
}

func levels() [4]string { return [4]string{"none", "input", "embed", "feature"} }

// All returns every experiment: the paper's, set by set, and those beyond it on SOP.
func All() []Experiment {
	var out []Experiment
	for _, set := range Sets() {
		for _, l := range losses() {
			for place, level := range levels() {
				out = append(out, paper(set, l, place, level))
			}
		}
	}
	sop := Sets()[0]
	return append(out, memory(sop), recallAtK(sop))
}

// paper is a cell of the paper's table of results, at a level with a place in levels.
func paper(set Set, l loss, place int, level string) Experiment {
	e := Experiment{
		Set: set, Loss: l.name, Kind: "baseline", Method: "with the " + l.name + " loss, without mixing",
		loss: l.recipe, mix: "{level: none}", classes: 20, images: 5, shards: 4, proxies: l.proxies, passes: 1,
		schedule: published(set.Folder, l.file, level != "none"),
		Score:    score(set.Folder, l.file, place),
	}
	cell := "baseline"
	if level != "none" {
		e.Kind, cell = "metrix_"+level, `"+`+level+`"`
		e.Method = fmt.Sprintf("with the %s loss, with Metrix at the %s level", l.name, levelName(level))
		pairs, hardest := "both", 0
		if l.proxies {
			pairs = "positive_negative"
		}
		if level != "embed" {
			hardest = 1
		}
		e.mix = fmt.Sprintf("{level: %s, weight: 0.4, alpha: 2, pairs: %s, per: step, hardest: %d}", level, pairs, hardest)
	}
	if level == "input" {
		e.passes = 2
	}
	if e.frozen {
		e.shards = 20
	}
	e.File = fmt.Sprintf("recipes/%s/%s_%s.yaml", set.Folder, l.file, e.Kind)
	e.From = fmt.Sprintf("the %s / %s cell of the paper's results on %s with this network (Metrix, ICLR 2022)", l.name, cell, set.short())
	e.Notes = paperNotes(set, l, level)
	return e
}

// short is the abbreviation in the brackets of a set's name.
func (s Set) short() string {
	return map[string]string{"sop": "SOP", "inshop": "In-Shop", "cub": "CUB", "cars": "Cars"}[s.Folder]
}

func levelName(level string) string {
	if level == "embed" {
		return "embedding"
	}
	return level
}

// paperNotes say where the settings come from.
func paperNotes(set Set, l loss, level string) []string {
	fine := set.Folder == "cub" || set.Folder == "cars"
	notes := []string{"The settings are those of the authors' commands for this set. They report the epoch that is best on the test " +
		"images; metrix keeps that one (best) and the last."}
	if l.file == "contrastive" && !fine {
		notes[0] += " They train batch norm without mixing and freeze it with: compare at the same, too."
	}
	if l.file != "contrastive" {
		notes[0] += " With this loss they train 60 epochs without mixing and 100 with it: compare at equal epochs, too."
	}
	if l.file == "multi_similarity" {
		notes = append(notes, "To be confirmed: the constants of the loss, which are second hand.")
	}
	if fine {
		notes = append(notes, "The 20 classes x 5 images of a batch are ours: the authors draw 100 images of this set whatever their classes.")
	}
	if l.proxies {
		notes = append(notes, "Proxies learn at 100 times the learning rate.")
	}
	switch level {
	case "input":
		notes = append(notes, "Each image is mixed with its 1 hardest negative, as in the authors' code: twice as many images pass the network.")
	case "feature":
		notes = append(notes, "Each feature map is mixed with its 1 hardest negative. The authors' code mixes all of them at this level, on one "+
			"machine; here a map may have to travel, and --set mix.hardest=K takes more.")
	}
	if set.Folder == "inshop" {
		notes = append(notes, "The test compares the queries with the gallery.")
	}
	return notes
}

// memory is the cross-batch memory on SOP.
func memory(set Set) Experiment {
	return Experiment{
		Set: set, Loss: "contrastive", Kind: "xbm", File: "recipes/sop/contrastive_xbm.yaml",
		Method: "with the contrastive loss over a cross-batch memory, without mixing",
		Score:  "R@1 80.6", From: "the figure of cross-batch memory (XBM, CVPR 2020) on SOP with this backbone, beside the paper's table",
		Notes: []string{"Only the score of this experiment is in our notes. Batch, learning rate and schedule are those of the contrastive rows; " +
			"a memory of one row for each training image and its start after 1000 steps are chosen here and untested."},
		loss: "{form: contrastive, params: {margin: 0.5}}", mix: "{level: none}",
		memory:  fmt.Sprintf("{size: %d, start_step: 1000}", set.counts().Train.Images),
		classes: 20, images: 5, shards: 20, passes: 1,
		schedule: schedule{lr: "3e-5", every: 10, factor: "0.25", epochs: 60, headOnly: 5, frozen: true},
	}
}

// recallAtK is the recall@k surrogate with batches of 4 000 on SOP.
func recallAtK(set Set) Experiment {
	return Experiment{
		Set: set, Loss: "recall@k surrogate", Kind: "recall_at_k", File: "recipes/sop/recall_at_k.yaml",
		Method: "with the recall@k surrogate on batches of 4000, without mixing",
		Score:  "R@1 82.7", From: "the figure of the recall@k surrogate (CVPR 2022) on SOP with this backbone, beside the paper's table",
		Notes: []string{"Published: the batch of 4000 and its two passes, by which only a shard of 100 rows at a time needs the memory of a backward pass. " +
			"Learning rate, schedule, frozen batch norm and 4 images a class are chosen here and untested.",
			"For the mixup of the same publication: --set mix.level=embed --set mix.pairs=same_class --set mix.weight=1."},
		loss: "{form: recall_at_k}", mix: "{level: none}",
		classes: 1000, images: 4, shards: 40, cache: true, passes: 1 + 1.0/3,
		schedule: schedule{lr: "2e-4", every: 40, factor: "0.25", epochs: 100, headOnly: 1, frozen: true},
	}
}
