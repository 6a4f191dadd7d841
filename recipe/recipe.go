package recipe

// Recipe is one training run. Make one with Parse, Load or Default; check a changed one with
// Validate.
type Recipe struct {
	Name      string // letters, digits, '-' and '_'; names the run and its folder
	Seed      uint64 // decides, together with the recipe, every random draw of the run
	Data      Data
	Model     Model
	Loss      Loss
	Mix       Mix
	Memory    Memory
	Semi      Semi
	Batch     Batch
	Optimizer Optimizer
	Schedule  Schedule
	Train     Train
	Eval      Eval
	Compare   string // "none" or "without_mixing": `metrix train` also trains the same recipe without mixing
	Workers   int    // worker processes of `metrix train`; 1 <= Workers <= Batch.Shards
	Engine    Engine
}

// Default returns the recipe that an empty file stands for.
func Default() *Recipe {
	r := &Recipe{
		Name: "run", Seed: 1, Data: defaultData(), Model: defaultModel(), Loss: defaultLoss(),
		Mix: defaultMix(), Semi: defaultSemi(), Batch: defaultBatch(), Optimizer: defaultOptimizer(),
		Schedule: defaultSchedule(), Train: defaultTrain(), Eval: defaultEval(),
		Compare: "none", Workers: 1, Engine: defaultEngine(),
	}
	r.fillDependent(func(string) bool { return false })
	return r
}

func (r *Recipe) fields() []field {
	return []field{
		{key: "name", value: &r.Name, valid: "1 to 64 letters, digits, '-' or '_'", ok: validName(&r.Name)},
		{key: "seed", value: &r.Seed, valid: "a whole number from 0 to 18446744073709551615"},
		{key: "data", value: &r.Data},
		{key: "model", value: &r.Model},
		{key: "loss", value: &r.Loss},
		{key: "mix", value: &r.Mix},
		{key: "memory", value: &r.Memory},
		{key: "semi", value: &r.Semi},
		{key: "batch", value: &r.Batch},
		{key: "optimizer", value: &r.Optimizer},
		{key: "schedule", value: &r.Schedule},
		{key: "train", value: &r.Train},
		{key: "eval", value: &r.Eval},
		choice("compare", &r.Compare, "none", "without_mixing").outsideRun(),
		intField("workers", &r.Workers, 1, maxShards).outsideRun(),
		{key: "engine", value: &r.Engine},
	}
}

// fillDependent sets the fields whose default depends on other fields, unless given says that the
// recipe sets them: data.resize is 8/7 of data.size (256 for 224), model.norm and model.width are
// group and 32 for conv4, batch and 64 for the residual networks, batch.shards is batch.classes, but
// the number of micro-batches where batch.micro is set, which also turns batch.gradient_cache on, and
// what mix.input, mix.feature and mix.embed do not set is as in mix, but that input and feature mix
// with the one hardest negative unless told otherwise.
func (r *Recipe) fillDependent(given func(path string) bool) {
	if !given("data.resize") {
		r.Data.Resize = (r.Data.Size*8 + 3) / 7
	}
	norm, width := "batch", 64
	if r.Model.Arch == "conv4" {
		norm, width = "group", 32
	}
	if !given("model.norm") {
		r.Model.Norm = norm
	}
	if !given("model.width") {
		r.Model.Width = width
	}
	if !given("batch.shards") {
		r.Batch.Shards = r.Batch.Classes
		if micro := r.Batch.Micro; micro > 0 && r.rows()%micro == 0 {
			r.Batch.Shards = r.rows() / micro
		}
	}
	if r.Batch.Micro > 0 && !given("batch.gradient_cache") {
		r.Batch.GradientCache = "on"
	}
	for level, own := range r.Mix.levels() {
		inherit(own, r.Mix.MixLevel, level, given)
	}
}

// rows is the number of rows of the global batch.
func (r *Recipe) rows() int { return r.Batch.Classes*r.Batch.Images + r.Semi.Unlabelled }

// inherit sets what a level does not set itself.
func inherit(own *MixLevel, from MixLevel, level string, given func(path string) bool) {
	if level != "embed" && from.Hardest == 0 {
		from.Hardest = 1
	}
	path := "mix." + level + "."
	if !given(path + "weight") {
		own.Weight = from.Weight
	}
	if !given(path + "alpha") {
		own.Alpha = from.Alpha
	}
	if !given(path + "pairs") {
		own.Pairs = from.Pairs
	}
	if !given(path + "per") {
		own.Per = from.Per
	}
	if !given(path + "hardest") {
		own.Hardest = from.Hardest
	}
}
