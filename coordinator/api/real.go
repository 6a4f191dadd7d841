package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/metrixml/metrix/run"
)

// Real is a float64 that survives JSON also when it is not finite, as the strings "NaN", "+Inf" and
// "-Inf": a diverged loss must not silence a worker.
type Real float64

// MarshalJSON writes a number, or a string where JSON has no number.
func (r Real) MarshalJSON() ([]byte, error) {
	f := float64(r)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte(strconv.Quote(strconv.FormatFloat(f, 'g', -1, 64))), nil
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Real) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"NaN"`:
		*r = Real(math.NaN())
	case `"+Inf"`:
		*r = Real(math.Inf(1))
	case `"-Inf"`:
		*r = Real(math.Inf(-1))
	default:
		var f float64
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("api: %.40q is no number: %w", b, err)
		}
		*r = Real(f)
	}
	return nil
}

// progressWire is Progress as it travels.
type progressWire struct {
	Step            run.Step        `json:"step"`
	Loss            Real            `json:"loss"`
	ImagesPerSecond Real            `json:"images_per_second"`
	Phases          map[string]Real `json:"phases,omitempty"`
}

// MarshalJSON writes p; values that are not finite travel as in Real.
func (p Progress) MarshalJSON() ([]byte, error) {
	w := progressWire{Step: p.Step, Loss: Real(p.Loss), ImagesPerSecond: Real(p.ImagesPerSecond)}
	if len(p.Phases) > 0 {
		w.Phases = make(map[string]Real, len(p.Phases))
		for name, seconds := range p.Phases {
			w.Phases[name] = Real(seconds)
		}
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Progress) UnmarshalJSON(b []byte) error {
	var w progressWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*p = Progress{Step: w.Step, Loss: float64(w.Loss), ImagesPerSecond: float64(w.ImagesPerSecond)}
	if len(w.Phases) > 0 {
		p.Phases = make(map[string]float64, len(w.Phases))
		for name, seconds := range w.Phases {
			p.Phases[name] = float64(seconds)
		}
	}
	return nil
}
