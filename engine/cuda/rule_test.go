package cuda

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
)

func TestRulesMustFit(t *testing.T) {
	groups := []engine.Group{{Lo: 0, Hi: 3, LRScale: 1}, {Lo: 3, Hi: 5, LRScale: 1}}
	require.NoError(t, checkRule(engine.Rule{Name: "adamw", Groups: groups}, 5))
	assert.ErrorContains(t, checkRule(engine.Rule{Name: "lion", Groups: groups}, 5), "there is no optimizer")
	assert.ErrorContains(t, checkRule(engine.Rule{Name: sgd, Groups: groups}, 6), "cover 5 of 6")
	assert.ErrorContains(t, checkRule(engine.Rule{Name: sgd, Groups: groups[1:]}, 5), "must begin at 0")
	assert.ErrorContains(t, checkRule(engine.Rule{Name: sgd, Groups: []engine.Group{{}}}, 0), "not be empty")
	for _, name := range []string{"adamw", "adam", sgd} {
		constants := constantsOf(engine.Rule{Name: name, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8}, 1e-3, groups, []float32{1, 2})
		assert.NotEmpty(t, constants)
		assert.LessOrEqual(t, len(constants), len(groups)*groupBytes)
	}
}
