package onednn

import (
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// available returns the engine, or skips the test where oneDNN is not installed.
func available(t testing.TB) *Engine {
	t.Helper()
	e, err := Find()
	if err != nil {
		t.Skip(err)
	}
	return e
}

func TestConforms(t *testing.T) {
	e := available(t)
	t.Log(e.Description())
	enginetest.Run(t, func() engine.Engine { return e }, enginetest.Single())
}

// half is the tolerance of bfloat16, which has 8 bits of precision.
func halfPrecision() enginetest.Tolerance {
	return enginetest.Tolerance{Output: 2e-2, Gradient: 2e-2, Rows: 1e-6, SameBits: true}
}

func TestConformsInBF16(t *testing.T) {
	e, err := available(t).With(BF16)
	if err != nil {
		t.Skip(err)
	}
	require.Equal(t, "onednn", e.Name())
	enginetest.Run(t, func() engine.Engine { return e }, halfPrecision())
}
