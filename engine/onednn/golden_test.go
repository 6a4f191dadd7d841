package onednn

import (
	"testing"

	"github.com/metrixml/metrix/engine/enginetest"
)

func TestStepsOfPyTorch(t *testing.T) {
	if underRace {
		t.Skip("three steps of 25 million parameters take minutes under the race detector, and the other tests run the same code")
	}
	t.Run("f32", func(t *testing.T) { enginetest.Steps(t, available(t), enginetest.SingleSteps()) })
	t.Run("bf16", func(t *testing.T) {
		e, err := available(t).With(BF16)
		if err != nil {
			t.Skip(err)
		}
		enginetest.Steps(t, e, enginetest.HalfSteps())
	})
}
