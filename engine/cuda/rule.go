package cuda

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
)

// sgd is the one optimizer with a single moment.
const sgd = "sgd"

// groupBytes is what the constants of a group take at most.
const groupBytes = 64

// checkRule says what is wrong with a rule for so many parameters.
func checkRule(r engine.Rule, params int) error {
	if r.Name != sgd && r.Name != "adam" && r.Name != "adamw" {
		return fmt.Errorf("there is no optimizer %q: use adamw, adam or sgd", r.Name)
	}
	next := 0
	for i, g := range r.Groups {
		if g.Lo != next || g.Hi <= g.Lo {
			return fmt.Errorf("group %d covers [%d, %d) but must begin at %d and not be empty", i, g.Lo, g.Hi, next)
		}
		next = g.Hi
	}
	if next != params {
		return fmt.Errorf("the groups cover %d of %d parameters", next, params)
	}
	return nil
}

// constantsOf is the memory of what a step updates groups with, of which steps counts the updates with
// this one.
func constantsOf(r engine.Rule, lr float64, groups []engine.Group, steps []float32) []byte {
	var text bytes.Buffer
	for i, g := range groups {
		var c any = kernels.SGDGroup{Rate: float32(lr * g.LRScale), Decay: float32(g.WeightDecay)}
		if r.Name != sgd {
			c = kernels.AdamOf(r.Betas, r.Eps, lr*g.LRScale, g.WeightDecay, float64(steps[i]), r.Name == "adamw")
		}
		_ = binary.Write(&text, binary.LittleEndian, c) // a buffer takes all, and structs of floats have a fixed size
	}
	return text.Bytes()
}
