package worker

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
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

// weightsOf reads all tensors of the last checkpoint's network.
func weightsOf(t *testing.T, r *Result) map[string][]float32 {
	t.Helper()
	_, files, err := checkpoint.Load(r.Checkpoint)
	require.NoError(t, err)
	out := map[string][]float32{}
	for _, tensor := range files[modelFile] {
		out[tensor.Name] = tensor.Data
	}
	return out
}

// requireSameRun compares two runs: losses to 1e-4 relative at every step, parameters to 1e-4.
func requireSameRun(t *testing.T, want, got []StepRecord, wantResult, gotResult *Result) {
	t.Helper()
	a, b := losses(want), losses(got)
	require.Equal(t, len(a), len(b))
	worst := 0.0
	for i := range a {
		worst = math.Max(worst, math.Abs(a[i]-b[i])/math.Abs(a[i]))
		require.InEpsilon(t, a[i], b[i], 1e-4, "loss of step %d", i+1)
	}
	drift := 0.0
	theirs := weightsOf(t, gotResult)
	for name, w := range weightsOf(t, wantResult) {
		for i := range w {
			d := math.Abs(float64(w[i] - theirs[name][i]))
			require.LessOrEqual(t, d, 1e-4, "%s[%d]", name, i)
			drift = math.Max(drift, d)
		}
	}
	t.Logf("largest difference: loss %.1e relative, parameters %.1e", worst, drift)
}

// A run is a function of recipe and seed: the number of workers changes nothing, up to rounding.
func TestSameRunWhateverTheWorkers(t *testing.T) {
	for name, set := range map[string][]string{
		"multi-similarity":            nil,
		"proxy anchor":                {"loss.form=proxy_anchor"},
		"multi-similarity, live norm": {"model.norm=batch", "model.batchnorm=live"},
		"head-only warm-up, sgd":      {"schedule.head_only_epochs=2", "optimizer.name=sgd", "optimizer.lr=0.05"},
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
				require.Equal(t, wantResult.Final.Metrics.Queries, gotResult.Final.Metrics.Queries)
			}
		})
	}
}
