package app

import (
	"fmt"
	"log/slog"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/engine/onednn"
	"github.com/metrixml/metrix/recipe"
)

// openEngine returns the engine of a recipe; auto takes the fastest that is present and says so.
func openEngine(e recipe.Engine, log *slog.Logger) (engine.Engine, error) {
	switch e.Name {
	case "gorgonia":
		return gorgonia.New(), nil
	case "onednn":
		return openOneDNN(e.Precision)
	case "auto":
		fast, err := openOneDNN(e.Precision)
		if err == nil || e.Precision != "f32" {
			return fast, err
		}
		log.Warn("going on with the portable engine, which is several times slower", "reason", err)
		return gorgonia.New(), nil
	}
	return nil, fmt.Errorf("engine %q is not part of this program; use auto, gorgonia or onednn", e.Name)
}

func openOneDNN(precision string) (engine.Engine, error) {
	e, err := onednn.Find()
	if err != nil {
		return nil, err
	}
	p := onednn.F32
	if precision == "bf16" {
		p = onednn.BF16
	}
	return e.With(p)
}

// engineDescription says what computes, for people.
func engineDescription(e engine.Engine) string {
	if d, ok := e.(interface{ Description() string }); ok {
		return d.Description()
	}
	return e.Name()
}
