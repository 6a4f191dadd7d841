//go:build gpu

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
)

func TestStepsOfPyTorch(t *testing.T) {
	t.Run("f32", func(t *testing.T) { enginetest.Steps(t, available(t, Options{}), enginetest.SingleSteps()) })
	t.Run("bf16", func(t *testing.T) {
		if emulated() {
			t.Skip("the emulator takes half a minute for it, and smaller networks run the same code in bf16")
		}
		enginetest.Steps(t, available(t, Options{Precision: BF16, Graphs: true}), enginetest.HalfSteps())
	})
}

// The loss of a run follows that of the reference, step by step.
func TestLossFollowsTheReference(t *testing.T) {
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 16, Dim: 16, Norm: "batch", Width: 8})
	require.NoError(t, err)
	const batch, steps = 8, 200
	mix := metrix.Mix{Weight: 0.4, Lambda: 0.6, Pairs: metrix.PositiveNegative}
	x := noise(batch * m.Input.Size())
	want := enginetest.NewTrainer(t, enginetest.Reference{}, m, batch, 1, mix)
	f32, bf16 := available(t, Options{Graphs: true}), available(t, Options{Precision: BF16, Graphs: true})
	single, half := enginetest.NewTrainer(t, f32, m, batch, 2, mix), enginetest.NewTrainer(t, bf16, m, batch, 2, mix)
	for i := range steps {
		loss := want.Step(t, x, 1e-3)
		a, b := single.Step(t, x, 1e-3), half.Step(t, x, 1e-3)
		if i%20 == 0 {
			t.Logf("step %d: loss %.5f, f32 %.5f, bf16 %.5f", i, loss, a, b)
		}
		require.InEpsilon(t, loss, a, 1e-3, "step %d, f32", i)
		require.InEpsilon(t, loss, b, 2e-2, "step %d, bf16", i)
	}
}
