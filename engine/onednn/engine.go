package onednn

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// Precision is the type of activations and of what convolutions multiply. Weights, gradients by
// parameters, statistics and the head are single precision in both.
type Precision int

const (
	// F32 is single precision.
	F32 Precision = iota
	// BF16 is bfloat16 with sums in single precision: half the memory, and up to twice the speed on
	// processors with AVX512-BF16.
	BF16
)

// String returns "f32" or "bf16".
func (p Precision) String() string {
	if p == BF16 {
		return "bf16"
	}
	return "f32"
}

// Engine opens networks on oneDNN. Find makes it.
type Engine struct {
	lib       *library
	precision Precision
}

var _ engine.Engine = (*Engine)(nil)

// Name returns "onednn".
func (e *Engine) Name() string { return "onednn" }

// Description says in a line what computes.
func (e *Engine) Description() string {
	isa := "16 channels a vector"
	if e.lib.block < 16 {
		isa = "8 channels a vector"
	}
	return fmt.Sprintf("onednn: fast CPU engine on oneDNN %s, %s, %v", e.lib.version, isa, e.precision)
}

// With returns the engine with another precision. It refuses bfloat16 where the processor does not
// even have what is needed to emulate it at a fair speed, AVX-512.
func (e *Engine) With(p Precision) (*Engine, error) {
	if p == BF16 && e.lib.bf16 == 0 {
		return nil, fmt.Errorf("onednn: bf16 needs a processor with AVX-512: use f32")
	}
	return &Engine{e.lib, p}, nil
}

// Open implements engine.Engine.
func (e *Engine) Open(m *model.Network, mem engine.Memory, opt engine.Options) (engine.Net, error) {
	if err := check(m, mem, opt); err != nil {
		return nil, fmt.Errorf("onednn: opening %s: %w", m.Name, err)
	}
	net := &network{
		lib: e.lib, model: m, mem: mem, bf16: e.precision == BF16, arena: arena{lib: e.lib},
		l2Eps: []float64{model.L2Eps}, programs: map[key]*program{}, convs: map[convKey]*convolution{},
	}
	for range opt.Threads {
		net.workers = append(net.workers, &worker{})
	}
	for _, s := range []model.Stage{model.Trunk, model.Head} { // makes every convolution once
		if _, err := net.newGraph(s, engine.Frozen); err != nil {
			net.Close()
			return nil, fmt.Errorf("onednn: opening %s: %w", m.Name, err)
		}
	}
	return net, nil
}

func check(m *model.Network, mem engine.Memory, opt engine.Options) error {
	if err := mem.Check(m); err != nil {
		return err
	}
	if opt.Threads < 1 {
		return fmt.Errorf("%d threads are too few: use at least 1", opt.Threads)
	}
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		if err := known(m.Layers(s)); err != nil {
			return err
		}
	}
	return nil
}

// largestWindow keeps a place in a pooling window in a byte.
const largestWindow = 15

// known refuses layers that the engine cannot compute.
func known(layers []model.Layer) error {
	for _, l := range layers {
		switch l := l.(type) {
		case *model.Residual:
			if err := known(l.Main); err != nil {
				return err
			}
			if err := known(l.Shortcut); err != nil {
				return err
			}
		case *model.MaxPool:
			if l.Kernel > largestWindow {
				return fmt.Errorf("layer %s: this engine pools over windows of up to %d pixels a side, not %d", l.Name, largestWindow, l.Kernel)
			}
		case *model.External:
			return fmt.Errorf("layer %s is external: only the engine that it was written for computes it, see gorgonia.Custom", l.Name)
		case *model.Conv, *model.BatchNorm, *model.GroupNorm, *model.ReLU, *model.AvgMaxPool, *model.Linear, *model.L2Norm:
		default:
			return fmt.Errorf("a layer of kind %T is unknown to this engine", l)
		}
	}
	return nil
}
