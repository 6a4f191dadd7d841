package recipe

// Optimizer is the update rule and the clipping of gradients before it.
type Optimizer struct {
	Name         string    // "adamw", "adam" or "sgd"
	LR           float64   // peak learning rate
	WeightDecay  float64   // not applied to biases and norms
	Momentum     float64   // of sgd
	Betas        []float64 // 2 values, of adam and adamw
	Eps          float64   // of adam and adamw
	ProxyLRScale float64   // learning rate of proxies / learning rate
	ClipValue    float64   // gradients are clamped to [-ClipValue, ClipValue]; 0 for not
	ClipNorm     float64   // gradients are scaled down to this L2 norm; 0 for not
}

// Schedule is the course of the learning rate. Epochs count from the start of the run.
type Schedule struct {
	Name           string  // "constant", "step" or "cosine"
	WarmupEpochs   float64 // linear rise of the learning rate at the start
	EveryEpochs    int     // of step: multiply by Factor every so many epochs
	Factor         float64
	HeadOnlyEpochs float64 // first epochs in which only the embedding layer and proxies move
	MinLR          float64 // where cosine ends
}

// Train says how long a run lasts and what happens in between.
type Train struct {
	Epochs               int
	Steps                int64 // wins over Epochs when > 0
	EvalEveryEpochs      int   // 0 for only at the end
	EvalEverySteps       int64 // 0 for never
	CheckpointEverySteps int64 // 0 for only with an evaluation and at the end
	Keep                 int   // checkpoints kept
}

// Eval says what an evaluation measures.
type Eval struct {
	Recall   []int  // K of Recall@K, ascending
	Geometry string // "no" or "yes": also alignment, uniformity and utilisation, which embed the training images, too
}

func defaultOptimizer() Optimizer {
	return Optimizer{
		Name: "adamw", LR: 1e-3, WeightDecay: 1e-4, Momentum: 0.9, Betas: []float64{0.9, 0.999},
		Eps: 1e-8, ProxyLRScale: 100, ClipValue: 10,
	}
}

func defaultSchedule() Schedule {
	return Schedule{Name: "constant", EveryEpochs: 10, Factor: 0.25}
}

func defaultTrain() Train { return Train{Epochs: 60, EvalEveryEpochs: 1, Keep: 3} }

func defaultEval() Eval { return Eval{Recall: []int{1, 10, 100, 1000}, Geometry: "no"} }

func (o *Optimizer) fields() []field {
	return []field{
		choice("name", &o.Name, "adamw", "adam", "sgd"),
		positiveField("lr", &o.LR, 1000),
		numberField("weight_decay", &o.WeightDecay, 0, 1000),
		belowOneField("momentum", &o.Momentum),
		{key: "betas", value: &o.Betas, valid: "2 numbers, each at least 0 and below 1", ok: validBetas(&o.Betas)},
		positiveField("eps", &o.Eps, 1),
		positiveField("proxy_lr_scale", &o.ProxyLRScale, 1e6),
		numberField("clip_value", &o.ClipValue, 0, 1e30),
		numberField("clip_norm", &o.ClipNorm, 0, 1e30),
	}
}

func (s *Schedule) fields() []field {
	return []field{
		choice("name", &s.Name, "constant", "step", "cosine"),
		numberField("warmup_epochs", &s.WarmupEpochs, 0, maxEpochs),
		intField("every_epochs", &s.EveryEpochs, 1, maxEpochs),
		positiveField("factor", &s.Factor, 10),
		numberField("head_only_epochs", &s.HeadOnlyEpochs, 0, maxEpochs),
		numberField("min_lr", &s.MinLR, 0, 1000),
	}
}

func (t *Train) fields() []field {
	return []field{
		intField("epochs", &t.Epochs, 1, maxEpochs),
		int64Field("steps", &t.Steps, 0, maxCount),
		intField("eval_every_epochs", &t.EvalEveryEpochs, 0, maxEpochs),
		int64Field("eval_every_steps", &t.EvalEverySteps, 0, maxCount),
		int64Field("checkpoint_every_steps", &t.CheckpointEverySteps, 0, maxCount),
		intField("keep", &t.Keep, 1, 1000),
	}
}

func (e *Eval) fields() []field {
	return []field{{
		key: "recall", value: &e.Recall, ok: validRecall(&e.Recall),
		valid: "1 to 16 whole numbers from 1 to 1000000 in ascending order, such as [1, 10, 100]",
	}, choice("geometry", &e.Geometry, "no", "yes").outsideRun()}
}
