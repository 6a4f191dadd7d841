package worker

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/optim"
)

// weightsOnDevice are the network's parameters and their optimizer's state where a net updates them
// itself (engine.Updater). The blocks on the host, t.weights and t.optimizer's, are then copies in the
// part that is the network's; proxies are the host's. At most one side is ahead of the other.
type weightsOnDevice struct {
	engine.Updater // nil: the host updates everything
	rule           engine.Rule
	groups         []optim.Group // those of the network
	state          *engine.State // views of t.optimizer's block
	ahead          bool          // the device has been updated since the copies were made
	behind         bool          // the host's copies have been written since
	settles        bool          // the sums of this step become gradients on the device, see settles
}

// prepareDevice hands the network's parameters to a net that updates them itself.
func (t *trainer) prepareDevice(cfg optim.Config, groups []optim.Group) error {
	u, ok := t.net.(engine.Updater)
	if !ok {
		return nil
	}
	w := weightsOnDevice{Updater: u, state: &engine.State{}, behind: true}
	w.rule = engine.Rule{Name: cfg.Name, Momentum: cfg.Momentum, Betas: cfg.Betas, Eps: cfg.Eps}
	for _, g := range groups {
		if g.Hi <= t.layout.params.hi {
			w.groups = append(w.groups, g)
			w.rule.Groups = append(w.rule.Groups, engine.Group{Lo: g.Lo, Hi: g.Hi, LRScale: g.LRScale, WeightDecay: g.WeightDecay})
		}
	}
	for _, s := range t.optimizer.State() {
		if s.Name == "steps" {
			w.state.Steps = s.Data[:len(w.groups)]
			continue
		}
		w.state.Moments = append(w.state.Moments, t.layout.params.of(s.Data))
	}
	t.device = w
	return u.Optimize(w.rule)
}

// written says that weights or the optimizer's state have been written on the host, all of them or
// after a fetch.
func (t *trainer) written() {
	t.device.ahead, t.device.behind = false, t.device.Updater != nil
}

// fetch brings weights and the optimizer's state to the host, where a device has newer ones. It comes
// before anything that reads them, except for proxies.
func (t *trainer) fetch() error {
	if !t.device.ahead {
		return nil
	}
	if err := t.device.Fetch(0, t.layout.params.hi, t.device.state); err != nil {
		return fmt.Errorf("fetching weights from the device: %w", err)
	}
	t.device.ahead = false
	return nil
}

// changed says that weights or statistics may have been written since the last pass.
func (t *trainer) changed() error {
	if t.device.behind {
		if err := t.device.Send(0, t.layout.params.hi, t.device.state); err != nil {
			return fmt.Errorf("sending weights to the device: %w", err)
		}
		t.device.behind = false
	}
	if k, ok := t.net.(engine.Keeper); ok {
		k.Changed()
	}
	return nil
}

// edit lets change overwrite weights of the network on the host, wherever they live.
func (t *trainer) edit(p part, change func([]float32) error) error {
	if !t.device.ahead {
		t.written()
		return change(p.of(t.weights))
	}
	if err := t.device.Fetch(p.lo, p.hi, nil); err != nil {
		return err
	}
	if err := change(p.of(t.weights)); err != nil {
		return err
	}
	return t.device.Send(p.lo, p.hi, nil)
}

// sendsEarly reports whether reduced gradients go to a device as they come from the ring: not if all
// must be known before one is clipped.
func (t *trainer) sendsEarly() bool {
	return t.device.Updater != nil && !(t.cfg.Recipe.Optimizer.ClipNorm > 0)
}

// settles reports whether the sums of a generation become gradients where they are: this worker is alone,
// and nothing need be known of all gradients before one is clipped. They never come to the host then, and
// t.sums does not hold them.
func (t *trainer) settles(g *generation) bool {
	_, ok := t.net.(engine.Settler)
	return ok && g.world == 1 && t.sendsEarly()
}

// settle makes gradients of the device's sums, clipped by value.
func (t *trainer) settle() error {
	active := t.layout.params
	if t.headOnly() {
		active = t.layout.head
	}
	return t.net.(engine.Settler).Settle(active.lo, active.hi, t.cfg.Recipe.Optimizer.ClipValue)
}

// reduced takes note that gradients of the trunk have been summed over all workers.
func (t *trainer) reduced(p part) error {
	if !t.sendsEarly() {
		return nil
	}
	return t.device.Reduced(p.lo, p.of(t.sums))
}

// optimize scales the reduced gradients of the active weights down to the recipe's norm and moves the
// weights. Each gradient is clipped already, and finite, since it was summed exactly.
func (t *trainer) optimize(active part) error {
	rest := active
	if t.sendsEarly() { // the trunk's are there
		rest.lo = max(rest.lo, t.layout.trunk.hi)
	}
	if limit := t.cfg.Recipe.Optimizer.ClipNorm; limit > 0 && !finite(optim.ClipNorm(rest.of(t.sums), limit)) {
		return errDiverged
	}
	lr := t.schedule.LR(int64(t.step), t.sampler.StepsPerEpoch())
	if t.device.Updater != nil {
		network := part{rest.lo, t.layout.params.hi}
		if !t.device.settles {
			if err := t.device.Reduced(network.lo, network.of(t.sums)); err != nil {
				return err
			}
		}
		first, last, err := optim.Active(t.device.groups, optim.Range{Lo: active.lo, Hi: network.hi})
		if err != nil {
			return err
		}
		if err := t.device.Update(lr, first, last); err != nil {
			return err
		}
		t.device.ahead = true
		active.lo = t.layout.proxies.lo
	}
	return t.optimizer.Step(t.weights, t.sums[:len(t.weights)], lr, optim.Range{Lo: active.lo, Hi: active.hi})
}
