package worker

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// alone is a generation of one worker, and the first batch.
func alone(t *testing.T, tr *trainer) (*generation, *batch) {
	t.Helper()
	rc := allreduce.DefaultConfig()
	rc.Run, rc.Generation, rc.World = "tiny", 1, 1
	ring, err := allreduce.New(rc, nil)
	require.NoError(t, err)
	plan := api.Plan{Generation: 1, Members: []api.Member{{Worker: "w0", Shards: run.Shards{Count: tr.shards}}}}
	g := newGeneration(plan, 0, ring, tr.sampler.Rows(), tr.shards)
	l, err := startLoader(context.Background(), tr.source, 0, tr.sampler.Rows(), 0, 1)
	require.NoError(t, err)
	t.Cleanup(l.close) // with the gradient cache the step itself loads
	b, err := l.next(context.Background())
	require.NoError(t, err)
	return g, b
}

// The gradient of a whole step, all parts together, against differences of the loss along random
// directions of the trunk, the head and the proxies: at every level mixed examples give gradients to
// both partners.
func TestStepGradientAgainstDifferences(t *testing.T) {
	for name, set := range map[string][]string{
		"embed":          {"mix.level=embed"},
		"input":          {"mix.level=input"},
		"feature":        {"mix.level=feature", "mix.hardest=2"},
		"feature, cut":   {"mix.level=feature", "mix.hardest=2", "model.cut=conv2"},
		"feature, proxy": {"mix.level=feature", "loss.form=proxy_anchor"},
	} {
		t.Run(name, func(t *testing.T) {
			// Heavy, smooth mixing: if a partner's part were missing, it would show.
			tr := newTestTrainer(t, t.TempDir(), append(set, "mix.weight=2", "batch.gradient_cache=off",
				"loss.params={}", "optimizer.clip_value=0")...)
			g, b := alone(t, tr)
			ctx := context.Background()
			loss := func() float64 {
				require.NoError(t, tr.gradient(ctx, g, b))
				tail := tr.layout.tail.of(tr.sums)
				return float64(tail[tailClean]) + float64(tail[tailMixed])
			}
			loss()
			grad := append([]float32(nil), tr.sums[:len(tr.weights)]...)
			at := append([]float32(nil), tr.weights...)
			lo, hi := tr.network.StageRange(0)
			parts := map[string]part{"trunk": {lo, hi}, "head": {hi, tr.layout.params.hi}}
			if p := tr.layout.proxies; p.lo < p.hi {
				parts["proxies"] = p
			}
			for where, p := range parts {
				// Along the gradient itself the slope is its length; a random part makes the direction general.
				dir := make([]float64, p.hi-p.lo)
				r := draw.Of(1, draw.Test, uint64(p.lo))
				var norm, want float64
				for i := range dir {
					norm += float64(grad[p.lo+i]) * float64(grad[p.lo+i])
				}
				norm = math.Sqrt(norm)
				for i := range dir {
					dir[i] = float64(grad[p.lo+i])/norm + 0.3*r.Norm()/math.Sqrt(float64(len(dir)))
					want += dir[i] * float64(grad[p.lo+i])
				}
				move := func(step float64) float64 {
					for i, d := range dir {
						tr.weights[p.lo+i] = at[p.lo+i] + float32(step*d)
					}
					v := loss()
					copy(tr.weights, at)
					return v
				}
				const eps = 1e-4 // below what makes other negatives the hardest
				slope := (move(eps) - move(-eps)) / (2 * eps)
				require.InEpsilon(t, want, slope, 0.005, where)
			}
		})
	}
}
