package recipe

import "github.com/metrixml/metrix/metrix"

// Loss names a row of the paper's table of losses, or another loss, and its constants.
type Loss struct {
	Form      string             // as metrix.NewForm takes it
	Params    map[string]float64 // constants that differ from the row's published ones
	Reduction string             // "default" (the form's own), "paper", "nonzero" or "mean": over what the mean is taken
}

// Mix says how mixed examples join the loss: E = mean of [clean + weight x mixed]. The settings of
// MixLevel hold at every level that does not set its own in Input, Feature or Embed.
type Mix struct {
	Level string // "none", "input", "feature", "embed" or "random" (one of the three per step)
	MixLevel
	Partners string // "batch": anywhere in the global batch, or "shard": of the same shard, so that nothing travels
	Wire     string // "float32" or "bfloat16": feature maps that are mixed
	Images   string // "load" or "fetch": how a worker comes by images of others that it mixes: it loads them, too, or they are sent
	Memory   string // "no" or "yes": embeddings are mixed with the memory's, too

	Input, Feature, Embed MixLevel
}

// MixLevel is how examples are mixed at one level.
type MixLevel struct {
	Weight  float64 // w of the paper
	Alpha   float64 // lambda ~ Beta(Alpha, Alpha)
	Pairs   string  // "positive_negative", "anchor_negative", "both" (one drawn per step; the first for proxies) or "same_class"
	Per     string  // "step" or "pair": what has one lambda
	Hardest int     // negatives that are mixed, hardest first; 0 for all, at the embedding level only
}

// Batch is the global batch: Classes x Images rows, in Shards equal parts.
type Batch struct {
	Classes       int    // P
	Images        int    // K, of each class
	Shards        int    // divides Classes
	GradientCache string // "off", or "on": shards are embedded twice, so that only one at a time needs memory for its backward
	Micro         int    // rows of a micro-batch of the gradient cache, which is a shard; 0 leaves it to Shards
}

// Memory is the cross-batch memory: embeddings of earlier steps that are compared with.
type Memory struct {
	Size      int   // rows; 0 for none
	StartStep int64 // steps before it is used
}

func defaultLoss() Loss {
	return Loss{Form: "multi_similarity", Params: map[string]float64{}, Reduction: "default"}
}

func defaultMix() Mix {
	return Mix{
		Level: "none", Partners: "batch", Wire: "float32", Images: "load", Memory: "no",
		MixLevel: MixLevel{Weight: 0.4, Alpha: 2, Pairs: "both", Per: "step"},
	}
}

func defaultBatch() Batch { return Batch{Classes: 16, Images: 4, GradientCache: "off"} }

func (l *Loss) fields() []field {
	return []field{
		textField("form", &l.Form),
		{key: "params", value: &l.Params, valid: "a mapping of constants to numbers, such as {margin: 0.5}"},
		choice("reduction", &l.Reduction, "default", "paper", "nonzero", "mean"),
	}
}

// NewForm is the loss as package metrix computes it.
func (l *Loss) NewForm() (metrix.Form, error) {
	return metrix.NewFormReduced(l.Form, l.Params, l.reduction())
}

// Constants are those that NewForm is made of, the ones that Params leaves out among them.
func (l *Loss) Constants() (map[string]float64, error) {
	return metrix.Constants(l.Form, l.Params, l.reduction())
}

// reduction is what package metrix calls it.
func (l *Loss) reduction() string {
	if l.Reduction == "default" {
		return ""
	}
	return l.Reduction
}

func (m *Mix) fields() []field {
	return append(append([]field{choice("level", &m.Level, "none", "input", "feature", "embed", "random")}, m.MixLevel.fields()...),
		choice("partners", &m.Partners, "batch", "shard"),
		choice("wire", &m.Wire, "float32", "bfloat16"),
		choice("images", &m.Images, "load", "fetch").outsideRun(),
		choice("memory", &m.Memory, "no", "yes"),
		field{key: "input", value: &m.Input},
		field{key: "feature", value: &m.Feature},
		field{key: "embed", value: &m.Embed},
	)
}

func (m *MixLevel) fields() []field {
	return []field{
		numberField("weight", &m.Weight, 0, 1000),
		positiveField("alpha", &m.Alpha, 1e6),
		choice("pairs", &m.Pairs, "positive_negative", "anchor_negative", "both", "same_class"),
		choice("per", &m.Per, "step", "pair"),
		intField("hardest", &m.Hardest, 0, maxShards),
	}
}

func (m *MixLevel) config() *metrix.LevelConfig {
	return &metrix.LevelConfig{Weight: m.Weight, Alpha: m.Alpha, Pairs: m.Pairs, Per: m.Per, Hardest: m.Hardest}
}

// Config is the mixing as the loss takes it.
func (m *Mix) Config() metrix.MixConfig {
	return metrix.MixConfig{
		Level: m.Level, Weight: m.Weight, Alpha: m.Alpha, Pairs: m.Pairs, Per: m.Per, Hardest: m.Hardest,
		Input: m.Input.config(), Feature: m.Feature.config(), Embed: m.Embed.config(), Memory: m.Memory == "yes",
	}
}

// levels are the settings by level, with their keys.
func (m *Mix) levels() map[string]*MixLevel {
	return map[string]*MixLevel{"input": &m.Input, "feature": &m.Feature, "embed": &m.Embed}
}

func (b *Batch) fields() []field {
	return []field{
		intField("classes", &b.Classes, 2, maxShards),
		intField("images", &b.Images, 1, 4096),
		intField("shards", &b.Shards, 1, maxShards),
		choice("gradient_cache", &b.GradientCache, "off", "on").outsideRun(),
		intField("micro", &b.Micro, 0, maxShards).outsideRun(),
	}
}

func (m *Memory) fields() []field {
	return []field{
		intField("size", &m.Size, 0, 1<<24),
		int64Field("start_step", &m.StartStep, 0, maxCount),
	}
}
