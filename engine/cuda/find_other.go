//go:build !gpu

package cuda

import "github.com/metrixml/metrix/engine"

// Find refuses with ErrNotBuilt.
func Find(Options) (engine.Engine, error) { return nil, ErrNotBuilt }
