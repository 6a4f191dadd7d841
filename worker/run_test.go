package worker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/onednn"
)

// losses are the global losses by step.
func losses(records []StepRecord) []float64 {
	var out []float64
	for _, r := range records {
		if r.Loss != nil {
			out = append(out, r.Loss.Total)
		}
	}
	return out
}

// requireSameRun compares two runs bit by bit: every loss, every evaluation, every parameter.
func requireSameRun(t *testing.T, want, got []StepRecord, wantResult, gotResult *Result) {
	t.Helper()
	require.Equal(t, losses(want), losses(got), "losses by step")
	require.Equal(t, wantResult.ParameterHash, gotResult.ParameterHash, "parameters")
	require.Equal(t, wantResult.Untrained.Metrics, gotResult.Untrained.Metrics)
	require.Equal(t, wantResult.Final.Metrics, gotResult.Final.Metrics)
	require.Equal(t, wantResult.Final.Geometry, gotResult.Final.Geometry)
}

// A run is a function of recipe and seed: the number of workers does not change a single bit of it.
func TestSameRunWhateverTheWorkers(t *testing.T) {
	for name, set := range map[string][]string{
		"multi-similarity":                        {"eval.geometry=yes"},
		"contrastive, lambda per pair, hardest 3": {"loss.form=contrastive", "mix.per=pair", "mix.hardest=3"},
		"2 maps mixed in bfloat16, proxies":       {"mix.level=feature", "mix.wire=bfloat16", "mix.feature.hardest=2", "loss.form=proxy_anchor", "train.steps=8"},
		"random level, live norm, memory":         {"mix.level=random", "mix.memory=yes", "memory.size=60", "memory.start_step=3", "model.norm=batch", "train.steps=12"},
		"few labels, orthonormal head":            {"semi.labelled=0.5", "semi.unlabelled=8", "semi.orthogonal=yes", "batch.classes=4", "batch.images=2", "train.steps=10"},
		"partners of the shard":                   {"mix.level=feature", "mix.partners=shard", "train.steps=8"},
		"head-only warm-up, feature maps mixed":   {"mix.level=feature", "schedule.head_only_epochs=2", "train.steps=8"},
		"head-only warm-up, sgd":                  {"schedule.head_only_epochs=2", "optimizer.name=sgd", "optimizer.lr=0.05"},
	} {
		t.Run(name, func(t *testing.T) {
			r := parse(t, set...)
			want, wantResult := trainWith(t, r, 1)
			require.EqualValues(t, r.Train.Steps, len(losses(want)))
			if r.Eval.Geometry == "yes" { // the result has it from the step log
				require.NotNil(t, wantResult.Final.Geometry.UniformityMixed)
			}
			require.NotEqual(t, losses(want)[0], losses(want)[len(losses(want))-1])
			for _, w := range []int{2, 3, 4} {
				got, gotResult := trainWith(t, r, w)
				requireSameRun(t, want, got, wantResult, gotResult)
				require.Equal(t, w, gotResult.World)
			}
		})
	}
}

// The gradient cache, in micro-batches of a shard's 6 rows, saves memory and changes no bit, at whatever
// level is mixed and on any number of workers.
func TestGradientCacheIsExact(t *testing.T) {
	for name, set := range map[string][]string{
		"embeddings mixed":   nil,
		"inputs mixed":       {"mix.level=input"},
		"images fetched":     {"mix.level=input", "mix.images=fetch", "mix.input.hardest=2"},
		"feature maps mixed": {"mix.level=feature"},
		"2 maps in bfloat16": {"mix.level=feature", "mix.wire=bfloat16", "mix.feature.hardest=2"},
		"live norm":          {"model.norm=batch", "mix.level=random"},
	} {
		t.Run(name, func(t *testing.T) {
			set = append(set, "train.steps=6")
			want, wantResult := trainWith(t, parse(t, set...), 1)
			for _, w := range []int{1, 2, 3} {
				got, gotResult := trainWith(t, parse(t, append(set, "batch.micro=6")...), w)
				requireSameRun(t, want, got, wantResult, gotResult)
			}
		})
	}
}

// Nor does it on the fast engine, where workers have different numbers of threads, too.
func TestSameRunOnOneDNN(t *testing.T) {
	eng, err := onednn.Find()
	if err != nil {
		t.Skip(err)
	}
	for name, set := range map[string][]string{
		"group norm":                       {"train.steps=10"},
		"ResNet-18, live norm, maps mixed": {"model.arch=resnet18", "model.norm=batch", "model.width=16", "data.size=32", "data.resize=36", "mix.level=feature", "train.steps=4"},
		"ResNet-18, cut after layer2":      {"model.arch=resnet18", "model.norm=batch", "model.width=16", "data.size=32", "data.resize=36", "mix.level=feature", "model.cut=layer2", "train.steps=4"},
	} {
		for _, p := range []onednn.Precision{onednn.F32, onednn.BF16} {
			t.Run(fmt.Sprint(name, " ", p), func(t *testing.T) {
				e, err := eng.With(p)
				if err != nil {
					t.Skip(err) // no bfloat16 on this processor
				}
				r := parse(t, set...)
				want, wantResult := trainOn(t, e, 2, r, 1)
				for _, w := range []int{2, 3} {
					got, gotResult := trainOn(t, e, 1, r, w)
					requireSameRun(t, want, got, wantResult, gotResult)
				}
			})
		}
	}
}
