//go:build gpu

package cuda

import (
	"fmt"
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

var (
	_ engine.Updater = (*network)(nil)
	_ engine.Settler = (*network)(nil)
)

// updates moves parameters on the card. Reduced gradients arrive on a stream of their own, which waits
// for the update before; the main stream waits for them.
type updates struct {
	net       *network
	rule      engine.Rule
	steps     []float32 // of each group
	moments   []piece
	gradients piece
	tables    piece    // on the card: where groups start, and their constants
	arrivals  *uploads // on their own stream
	arrived   cu.Event
	moved     cu.Event
}

// momentsOf is how many values of state a rule has per parameter.
func momentsOf(r engine.Rule) int {
	if r.Name == sgd {
		return 1
	}
	return 2
}

// Optimize implements engine.Updater.
func (n *network) Optimize(rule engine.Rule) error {
	if err := checkRule(rule, n.model.NumParams()); err != nil {
		return fmt.Errorf("cuda: updating: %w", err)
	}
	if n.closed || n.updates != nil {
		return fmt.Errorf("cuda: updating: the network is closed, or has a rule already")
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	n.updates = &updates{net: n, rule: rule, steps: make([]float32, len(rule.Groups)), moments: make([]piece, momentsOf(rule))}
	if err := n.updates.claim(); err != nil {
		return fmt.Errorf("cuda: updating: %w", err)
	}
	n.watch.chunks = slices.DeleteFunc(n.watch.chunks, func(c chunk) bool { return c.space == ofParams })
	return nil
}

// claim takes what lasts as long as the network, which gives memory back.
func (u *updates) claim() (err error) {
	d, bytes := u.net.device, 4*int64(u.net.model.NumParams())
	for i := range u.moments {
		if u.moments[i], err = u.net.memory.get(bytes); err != nil {
			return err
		}
		err = d.check(cu.MemsetD8Async(cu.DevicePtr(u.moments[i].address), 0, bytes, d.main), "clearing moments")
		if err != nil {
			return err
		}
	}
	if u.gradients, err = u.net.memory.get(bytes); err != nil {
		return err
	}
	if u.tables, err = u.net.memory.get(u.constants() + int64(len(u.rule.Groups))*groupBytes); err != nil {
		return err
	}
	stream, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return d.check(err, "making a stream")
	}
	if u.arrivals, err = newUploads(u.net, stream); err != nil {
		return err
	}
	for _, e := range []*cu.Event{&u.arrived, &u.moved} {
		if *e, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return d.check(err, "making an event")
		}
	}
	return nil
}

// constants is where the groups' constants lie in the tables, behind their starts.
func (u *updates) constants() int64 { return aligned(8 * int64(len(u.rule.Groups)+1)) }

func (u *updates) close() error {
	if u == nil {
		return nil
	}
	first := u.net.device.destroy([]cu.Event{u.arrived, u.moved})
	if u.arrivals == nil {
		return first
	}
	if err := u.arrivals.close(); first == nil {
		first = err
	}
	if err := u.net.device.check(u.arrivals.stream.Destroy(), "giving a stream back"); first == nil {
		first = err
	}
	return first
}

// Reduced implements engine.Updater. It does not enter the device, which a Backward may be in.
func (n *network) Reduced(lo int, x []float32) error {
	u := n.updates
	if n.closed || u == nil || lo < 0 || lo+len(x) > n.model.NumParams() {
		return fmt.Errorf("cuda: updating: there is no rule, or no parameters [%d, %d)", lo, lo+len(x))
	}
	return n.device.visit(func() error { return u.arrivals.send(u.gradients.address+4*uintptr(lo), bytesOf(x)) })
}

// Settle implements engine.Settler.
func (n *network) Settle(lo, hi int, clip float64) error {
	if n.updates == nil {
		return fmt.Errorf("cuda: settling sums: there is no rule")
	}
	return n.inExactRange(lo, hi, func() error {
		if err := n.updates.settle(lo, hi, float32(clip)); err != nil {
			return err
		}
		return n.out.checkRange()
	})
}

// settle makes gradients of the sums [lo, hi), on the main stream: the update before, which reads
// gradients there too, is over by then.
func (u *updates) settle(lo, hi int, clip float32) error {
	n, count := u.net, int64(hi-lo)
	b := &builder{}
	gradients := place{space: ofGrads, at: 4 * int64(lo)}
	b.call("exact_float32", kernels.Each(count), gradients, place{space: onSlab, at: 8 * int64(lo)}, count)
	if clip > 0 {
		b.call("clip_value", kernels.Each(count), gradients, clip, count)
	}
	r := &run{net: n, half: &half{commands: b.commands}}
	r.base[ofGrads], r.base[onSlab] = u.gradients.address, uintptr(n.out.sumAddress(0))
	if err := r.do(0, len(b.commands)); err != nil {
		return err
	}
	return n.out.zero(n.out.sumAddress(lo), 8*count, n.device.main)
}

// Update implements engine.Updater.
func (n *network) Update(lr float64, first, last int) error {
	u := n.updates
	switch {
	case n.closed || u == nil || first < 0 || first > last || last > len(u.rule.Groups):
		return fmt.Errorf("cuda: updating: there is no rule, or no groups [%d, %d)", first, last)
	case first == last:
		return nil
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	if err := u.move(lr, first, last); err != nil {
		return fmt.Errorf("cuda: updating: %w", err)
	}
	return n.moved(u.rule.Groups[first].Lo, u.rule.Groups[last-1].Hi)
}

// move starts the update of groups [first, last).
func (u *updates) move(lr float64, first, last int) error {
	d := u.net.device
	for _, do := range []func() error{
		func() error { return u.arrived.Record(u.arrivals.stream) },
		func() error { return d.main.Wait(u.arrived, 0) },
	} {
		if err := do(); err != nil {
			return d.check(err, "waiting for gradients")
		}
	}
	groups := u.rule.Groups[first:last]
	starts := []int64{int64(groups[0].Lo)}
	for i, g := range groups {
		starts = append(starts, int64(g.Hi))
		u.steps[first+i]++
	}
	if err := u.net.up.send(u.tables.address, bytesOf(starts)); err != nil {
		return err
	}
	constants := constantsOf(u.rule, lr, groups, u.steps[first:last])
	if err := u.net.up.send(u.tables.address+uintptr(u.constants()), constants); err != nil {
		return err
	}
	if err := u.launch(starts[len(groups)]-starts[0], int32(len(groups))); err != nil {
		return err
	}
	if err := d.check(u.moved.Record(d.main), "recording an event"); err != nil {
		return err
	}
	return d.check(u.arrivals.stream.Wait(u.moved, 0), "waiting for the update")
}

// launch starts the kernel over the groups in the tables, elements in all.
func (u *updates) launch(elements int64, groups int32) error {
	at := func(address uintptr) place { return place{space: onSlab, at: int64(address)} }
	args := []any{at(u.net.fixed[ofParams].address)}
	for _, m := range u.moments {
		args = append(args, at(m.address))
	}
	args = append(args, at(u.gradients.address), at(u.tables.address), at(u.tables.address+uintptr(u.constants())))
	kernel := "adam"
	if u.rule.Name == sgd {
		kernel = "sgd"
		args = append(args, float32(u.rule.Momentum))
	}
	b := &builder{}
	b.call(kernel, kernels.Each(elements), append(args, groups)...)
	return u.net.device.launch(b.commands[0].launch, func(p place) uintptr { return uintptr(p.at) })
}

// moved makes what is made of the parameters [lo, hi) anew.
func (n *network) moved(lo, hi int) error {
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		if from, to := n.model.StageRange(s); max(from, lo) < min(to, hi) {
			n.watch.version[s]++
			n.watch.unfolded[s] = true
			if err := n.convert(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// Fetch implements engine.Updater.
func (n *network) Fetch(lo, hi int, state *engine.State) error {
	return n.exchange(lo, hi, state, func(host []float32, card uintptr) error {
		return n.device.check(cu.MemcpyDtoH(unsafe.Pointer(unsafe.SliceData(host)), cu.DevicePtr(card), 4*int64(len(host))), "fetching parameters")
	}, func(host, own []float32) { copy(host, own) })
}

// Send implements engine.Updater.
func (n *network) Send(lo, hi int, state *engine.State) error {
	err := n.exchange(lo, hi, state, func(host []float32, card uintptr) error {
		return n.up.send(card, bytesOf(host))
	}, func(host, own []float32) { copy(own, host) })
	if err != nil {
		return err
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	return n.moved(lo, hi)
}

// exchange calls carry for the parameters [lo, hi) and for the moments, and count for the steps.
func (n *network) exchange(lo, hi int, state *engine.State, carry func(host []float32, card uintptr) error, count func(host, own []float32)) error {
	u := n.updates
	if n.closed || u == nil || lo < 0 || lo > hi || hi > n.model.NumParams() {
		return fmt.Errorf("cuda: updating: there is no rule, or no parameters [%d, %d)", lo, hi)
	}
	if err := u.checkState(state); err != nil {
		return err
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	if err := n.device.check(n.device.main.Synchronize(), "updating"); err != nil || lo == hi {
		return err
	}
	if err := carry(n.mem.Params[lo:hi], n.fixed[ofParams].address+4*uintptr(lo)); err != nil || state == nil {
		return err
	}
	for i, m := range state.Moments {
		if err := carry(m, u.moments[i].address); err != nil {
			return err
		}
	}
	count(state.Steps, u.steps)
	return nil
}

func (u *updates) checkState(s *engine.State) error {
	if s == nil {
		return nil
	}
	right := len(s.Moments) == len(u.moments) && len(s.Steps) == len(u.steps)
	for _, m := range s.Moments {
		right = right && len(m) == u.net.model.NumParams()
	}
	if !right {
		return fmt.Errorf("cuda: updating: the state must have %d moments of %d parameters and the steps of %d groups",
			len(u.moments), u.net.model.NumParams(), len(u.steps))
	}
	return nil
}
