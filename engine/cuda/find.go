//go:build gpu

package cuda

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/probe"
	"github.com/metrixml/metrix/model"
)

// Engine opens networks on one card. Find makes it.
type Engine struct {
	device  *device
	options Options
}

var _ engine.Engine = (*Engine)(nil)

// Find returns the engine on a card, or a sentence that says what is missing and how to get it. The
// card's context lasts until Close, or as long as the process.
func Find(opt Options) (engine.Engine, error) {
	e, err := find(opt)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func find(opt Options) (*Engine, error) {
	if opt.Precision > BF16 {
		return nil, fmt.Errorf("cuda: there is no precision %v: use f32, tf32 or bf16", opt.Precision)
	}
	if problem := probe.Look().Problem(); problem != "" {
		return nil, &Error{Unavailable, problem}
	}
	d, err := openDevice(opt)
	if err != nil {
		return nil, err
	}
	e := &Engine{d, opt}
	d.logger.Info(e.Description())
	return e, nil
}

// Name returns "cuda".
func (e *Engine) Name() string { return "cuda" }

// Description says in a line what computes.
func (e *Engine) Description() string {
	d := e.device
	return fmt.Sprintf("cuda: %s, CUDA %d.%d, cuDNN %d, %v", d.name, d.version/1000, d.version%1000/10, d.dnn.version, e.options.Precision)
}

// Close lets go of the card. The engine's networks must be closed by then.
func (e *Engine) Close() error {
	e.device.close()
	return nil
}

// Open implements engine.Engine.
func (e *Engine) Open(m *model.Network, mem engine.Memory, opt engine.Options) (engine.Net, error) {
	if err := check(m, mem, opt); err != nil {
		return nil, fmt.Errorf("cuda: opening %s: %w", m.Name, err)
	}
	if err := e.device.enter(); err != nil {
		return nil, err
	}
	defer e.device.leave()
	n, err := open(e.device, m, mem, opt, e.options)
	if err != nil {
		return nil, fmt.Errorf("cuda: opening %s: %w", m.Name, err)
	}
	return n, nil
}

func check(m *model.Network, mem engine.Memory, opt engine.Options) error {
	if err := mem.Check(m); err != nil {
		return err
	}
	if opt.Threads < 1 {
		return fmt.Errorf("%d threads are too few: use at least 1", opt.Threads)
	}
	return nil
}
