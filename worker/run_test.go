package worker

import (
	"testing"

	"github.com/stretchr/testify/require"
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
}

// A run is a function of recipe and seed: the number of workers does not change a single bit of it.
func TestSameRunWhateverTheWorkers(t *testing.T) {
	for name, set := range map[string][]string{
		"multi-similarity":                        nil,
		"contrastive, lambda per pair, hardest 3": {"loss.form=contrastive", "mix.per=pair", "mix.hardest=3"},
		"proxy anchor":                            {"loss.form=proxy_anchor"},
		"multi-similarity, live norm":             {"model.norm=batch", "model.batchnorm=live"},
		"head-only warm-up, sgd":                  {"schedule.head_only_epochs=2", "optimizer.name=sgd", "optimizer.lr=0.05"},
	} {
		t.Run(name, func(t *testing.T) {
			r := parse(t, set...)
			want, wantResult := trainWith(t, r, 1)
			require.Len(t, losses(want), 20)
			require.NotEqual(t, losses(want)[0], losses(want)[19])
			for _, w := range []int{2, 3, 4} {
				got, gotResult := trainWith(t, r, w)
				requireSameRun(t, want, got, wantResult, gotResult)
				require.Equal(t, w, gotResult.World)
			}
		})
	}
}
