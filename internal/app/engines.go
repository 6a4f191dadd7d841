package app

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
)

// openEngine returns the engine of a name; auto takes the fastest that is present.
func openEngine(name string) (engine.Engine, error) {
	switch name {
	case "", "auto", "gorgonia":
		return gorgonia.New(), nil
	}
	return nil, fmt.Errorf("engine %q is not part of this program; use auto or gorgonia", name)
}

// engineDescription says what computes, for people.
func engineDescription(e engine.Engine) string {
	if d, ok := e.(interface{ Description() string }); ok {
		return d.Description()
	}
	return e.Name()
}
