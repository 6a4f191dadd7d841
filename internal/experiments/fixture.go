package experiments

import "github.com/metrixml/metrix/dataset"

// Fixture is a generated set in the layout of s, large enough for recipes with the overrides of Small.
func Fixture(s Set) dataset.SynthConfig {
	return dataset.SynthConfig{Classes: 8, Images: 5, Side: 24, Seed: 1, Layout: s.Layout}
}

// Small are overrides (--set) that leave a recipe its method, loss, mixing and schedule and make it a
// matter of seconds on Fixture: another network, smaller images and batches, two steps.
func Small() []string {
	return []string{
		"model.arch=conv4", "model.width=8", "model.dim=16", "model.pretrained=", "data.size=16", "data.resize=18",
		"batch.classes=4", "batch.images=3", "batch.shards=2", "schedule.head_only_epochs=0",
		"train.steps=2", "train.eval_every_epochs=0", "train.checkpoint_every_steps=0", "eval.recall=[1, 2]",
	}
}
