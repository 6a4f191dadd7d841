//go:build gpu

package cuda

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// available returns the engine with its own cache of algorithms, or skips the test where there is no card,
// emulated or not.
func available(t testing.TB, opt Options) *Engine {
	t.Helper()
	if opt.CacheDir == "" {
		opt.CacheDir = t.TempDir()
	}
	e, err := find(opt)
	var unavailable *Error
	if errors.As(err, &unavailable) && unavailable.Failure == Unavailable && os.Getenv("METRIX_CUDA_EMULATED") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestConforms(t *testing.T) {
	e := available(t, Options{})
	t.Log(e.Description())
	enginetest.Run(t, func() engine.Engine { return e }, enginetest.Single())
}
