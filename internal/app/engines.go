package app

import (
	"fmt"
	"log/slog"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/engine/onednn"
)

// openEngine returns the engine of a name; auto takes the fastest that is present and says so.
func openEngine(name string, log *slog.Logger) (engine.Engine, error) {
	switch name {
	case "gorgonia":
		return gorgonia.New(), nil
	case "onednn":
		return onednn.Find()
	case "", "auto":
		e, err := onednn.Find()
		if err == nil {
			return e, nil
		}
		log.Warn("going on with the portable engine, which is several times slower", "reason", err)
		return gorgonia.New(), nil
	}
	return nil, fmt.Errorf("engine %q is not part of this program; use auto, gorgonia or onednn", name)
}

// engineDescription says what computes, for people.
func engineDescription(e engine.Engine) string {
	if d, ok := e.(interface{ Description() string }); ok {
		return d.Description()
	}
	return e.Name()
}
