package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda"
	"github.com/metrixml/metrix/engine/cuda/probe"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/engine/onednn"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
)

// engineUsage lists the engines for the help of a flag.
const engineUsage = "auto, cuda, onednn or gorgonia"

// deviceUsage explains --device.
const deviceUsage = "GPU to use, counted from 0 among the visible ones; -1 takes number LOCAL_RANK (set by torchrun and metrix train), or else the first"

// engineNames are the engines, the fastest first.
var engineNames = [...]string{"cuda", "onednn", "gorgonia"}

// rankDevice asks for the card of this process's local rank instead of one by its number.
const rankDevice = -1

// envLocalRank is how torchrun and metrix train tell the processes of one host apart.
const envLocalRank = "LOCAL_RANK"

// envGraphs set to off makes the CUDA engine start its kernels one by one: for people who look for a fault.
const envGraphs = "METRIX_CUDA_GRAPHS"

// skipped is an engine that cannot be used, and why.
type skipped struct {
	name   string
	reason error
}

// findEngine returns the engine of a recipe; for auto the fastest that can be used, and the faster ones
// that cannot. device counts the visible cards from 0, or is rankDevice.
func findEngine(e recipe.Engine, device int, log *slog.Logger) (engine.Engine, []skipped, error) {
	if e.Name != "auto" {
		if !slices.Contains(engineNames[:], e.Name) {
			return nil, nil, fmt.Errorf("engine %q is not part of this program; use %s", e.Name, engineUsage)
		}
		eng, err := openNamed(e.Name, e.Precision, device, log)
		return eng, nil, err
	}
	var faster []skipped
	for _, name := range engineNames {
		eng, err := openNamed(name, e.Precision, device, log)
		if err == nil {
			return eng, faster, nil
		}
		if cuda.FailureOf(err) == cuda.Lost { // it was there: going on without it would be another run
			return nil, faster, err
		}
		faster = append(faster, skipped{name, err})
	}
	var errs []error
	for _, s := range faster {
		errs = append(errs, s.reason)
	}
	return nil, faster, fmt.Errorf("no engine computes in %s here: %w", e.Precision, errors.Join(errs...))
}

// openNamed returns the engine of a name, or why it cannot be used.
func openNamed(name, precision string, device int, log *slog.Logger) (engine.Engine, error) {
	switch {
	case name == "cuda":
		return openCUDA(precision, device, log)
	case precision == "tf32", precision == "bf16" && name == "gorgonia":
		return nil, fmt.Errorf("%s: it does not compute in %s", name, precision)
	case name == "onednn":
		return openOneDNN(precision)
	}
	return gorgonia.New(), nil
}

func openCUDA(precision string, device int, log *slog.Logger) (engine.Engine, error) {
	opt := cuda.Options{Device: device, Logger: log, Graphs: os.Getenv(envGraphs) != "off"}
	for _, p := range []cuda.Precision{cuda.F32, cuda.TF32, cuda.BF16} {
		if p.String() == precision {
			opt.Precision = p
		}
	}
	if device == rankDevice {
		var err error
		if opt.Device, err = deviceOfRank(os.Getenv(envLocalRank), probe.Devices); err != nil {
			return nil, err
		}
	}
	return cuda.Find(opt)
}

// deviceOfRank deals the visible cards to the processes of a host: process i takes card i, and where
// there are more processes than cards they share them. Without a rank it is the first card.
func deviceOfRank(rank string, devices func() int) (int, error) {
	if rank == "" {
		return 0, nil
	}
	i, err := strconv.Atoi(rank)
	if err != nil || i < 0 {
		return 0, fmt.Errorf("%s is %q; it must be the number of this process on its host, from 0", envLocalRank, rank)
	}
	return i % max(1, devices()), nil
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

// openEngine is findEngine for programs that compute: it says on the log what auto goes on without.
func openEngine(e recipe.Engine, device int, log *slog.Logger) (engine.Engine, error) {
	eng, faster, err := findEngine(e, device, log)
	if err != nil {
		return nil, engineError(err)
	}
	for _, s := range faster {
		if !errors.Is(s.reason, cuda.ErrNotBuilt) { // the plain programs are for machines without a card
			log.Warn("going on with a slower engine, "+eng.Name(), "instead of", s.name, "reason", s.reason)
		}
	}
	return eng, nil
}

// engineError marks an engine that cannot be opened as the user's to mend. Not so if it is the machine
// or its card that fails: then another try, here or elsewhere, may do, and a Job must make it.
func engineError(err error) error {
	switch cuda.FailureOf(err) {
	case cuda.Lost, cuda.Unavailable:
		return err
	}
	return cli.Usage(err)
}

// closeEngine gives back what an engine holds, where it holds something.
func closeEngine(e engine.Engine) error {
	if c, ok := e.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// engineDescription says what computes, for people.
func engineDescription(e engine.Engine) string {
	if d, ok := e.(interface{ Description() string }); ok {
		return d.Description()
	}
	return e.Name()
}
