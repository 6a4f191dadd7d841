//go:build gpu

package cuda

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
)

// Parameters that the card moves go the way of package optim's, to the bit.
func TestConformsUpdates(t *testing.T) {
	for _, precision := range []Precision{F32, BF16} {
		t.Run(precision.String(), func(t *testing.T) {
			t.Setenv("METRIX_EMULATOR_ORDER", "late") // what is not waited for is not there
			enginetest.Updates(t, func() engine.Engine { return available(t, Options{Precision: precision, Graphs: true}) })
		})
	}
}

func TestUpdatesRefuse(t *testing.T) {
	e, m := available(t, Options{}), small(t, "group")
	net, _ := opened(t, e, m)
	u, n := net.(engine.Settler), m.NumParams()
	assert.ErrorContains(t, u.Settle(0, n, 0), "there is no rule")
	assert.ErrorContains(t, u.Update(1, 0, 1), "there is no rule")
	require.NoError(t, u.Optimize(engine.Rule{Name: "adam", Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, Groups: []engine.Group{{Hi: n, LRScale: 1}}}))
	assert.ErrorContains(t, u.Optimize(engine.Rule{Name: "adam", Groups: []engine.Group{{Hi: n}}}), "has a rule already")
	assert.ErrorContains(t, u.Settle(0, n, 0), "it has not begun")
	assert.ErrorContains(t, u.Update(1, 0, 2), "no groups [0, 2)")
	assert.ErrorContains(t, u.Reduced(n-1, make([]float32, 2)), "no parameters")
	assert.ErrorContains(t, u.Fetch(0, n, &engine.State{}), "the state must have 2 moments")
}
