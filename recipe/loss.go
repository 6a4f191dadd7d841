package recipe

// Loss names a row of the paper's table of losses and its constants.
type Loss struct {
	Form   string             // as metrix.NewForm takes it
	Params map[string]float64 // constants that differ from the row's published ones
}

// Mix says how mixed examples join the loss: E = mean of [clean + Weight x mixed].
type Mix struct {
	Level   string  // "none" or "embed": where examples are mixed
	Weight  float64 // w of the paper
	Alpha   float64 // lambda ~ Beta(Alpha, Alpha)
	Pairs   string  // "positive_negative", "anchor_negative" or "both" (one drawn per step; the first for proxies)
	Per     string  // "step" or "pair": what has one lambda
	Hardest int     // negatives of an anchor that are mixed, hardest first; 0 for all
}

// Batch is the global batch: Classes x Images rows, in Shards equal parts.
type Batch struct {
	Classes int // P
	Images  int // K, of each class
	Shards  int // divides Classes
}

func defaultLoss() Loss { return Loss{Form: "multi_similarity", Params: map[string]float64{}} }

func defaultMix() Mix { return Mix{Level: "none", Weight: 0.4, Alpha: 2, Pairs: "both", Per: "step"} }

func defaultBatch() Batch { return Batch{Classes: 16, Images: 4} }

func (l *Loss) fields() []field {
	return []field{
		textField("form", &l.Form),
		{key: "params", value: &l.Params, valid: "a mapping of constants to numbers, such as {margin: 0.5}"},
	}
}

func (m *Mix) fields() []field {
	return []field{
		choice("level", &m.Level, "none", "embed"),
		numberField("weight", &m.Weight, 0, 1000),
		positiveField("alpha", &m.Alpha, 1e6),
		choice("pairs", &m.Pairs, "positive_negative", "anchor_negative", "both"),
		choice("per", &m.Per, "step", "pair"),
		intField("hardest", &m.Hardest, 0, maxShards),
	}
}

func (b *Batch) fields() []field {
	return []field{
		intField("classes", &b.Classes, 2, maxShards),
		intField("images", &b.Images, 1, 4096),
		intField("shards", &b.Shards, 1, maxShards),
	}
}
