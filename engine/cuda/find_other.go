//go:build !gpu

package cuda

import (
	"errors"

	"github.com/metrixml/metrix/engine"
)

// Find refuses: this build holds no CUDA engine.
func Find(Options) (engine.Engine, error) {
	return nil, errors.New("cuda: this program was built without GPU support; use the metrix-gpu image, or bin/metrix-gpu and bin/worker-gpu, which 'make gpu' builds")
}
