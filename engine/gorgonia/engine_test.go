package gorgonia

import (
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConforms(t *testing.T) {
	t.Run("found", func(t *testing.T) {
		t.Log(New().Description())
		enginetest.Run(t, func() engine.Engine { return New() }, enginetest.Single())
	})
	t.Run("go", func(t *testing.T) {
		enginetest.Run(t, func() engine.Engine { return New(PureGo()) }, enginetest.Single())
	})
}
