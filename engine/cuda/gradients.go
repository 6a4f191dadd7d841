//go:build gpu

package cuda

import (
	"unsafe"

	"gorgonia.org/cu"
)

// gradients brings a backward's parameter gradients home, range by range: as soon as the main stream
// has computed one, the copy stream carries it to pinned memory while the main stream goes on; then it
// is added to the caller's and reported.
type gradients struct {
	net      *network
	home     []float32 // pinned, all of them
	computed []cu.Event
	arrived  []cu.Event
	pending  []handOver
	first    int // of computed and arrived that pending begins with
	ready    func(lo, hi int)
	off      bool // this backward skips parameters
}

func newGradients(n *network) (*gradients, error) {
	g := &gradients{net: n}
	home, err := n.pinned.get(max(4*int64(n.model.NumParams()), 1))
	if err != nil {
		return g, err
	}
	g.home = floats(home.address, n.model.NumParams())
	return g, nil
}

// resultNotReady is what the driver says of an event that is still to come.
const resultNotReady = 600

// begin readies a backward.
func (g *gradients) begin(r *run, ready func(lo, hi int)) error {
	g.pending, g.first, g.ready, g.off = g.pending[:0], 0, ready, r.skip
	lo, hi := g.net.model.StageRange(r.program.stage)
	if lo == hi { // a stage without parameters
		return nil
	}
	d := g.net.device
	return d.check(cu.MemsetD8Async(cu.DevicePtr(r.base[ofGrads]+4*uintptr(lo)), 0, 4*int64(hi-lo), d.main), "clearing gradients")
}

// event returns event i of a list that grows.
func (g *gradients) event(list *[]cu.Event, i int) (cu.Event, error) {
	if i < len(*list) {
		return (*list)[i], nil
	}
	e, err := cu.MakeEvent(cu.DisableTiming)
	if err != nil {
		return e, g.net.device.check(err, "making an event")
	}
	*list = append(*list, e)
	return e, nil
}

// send lets the copy stream carry the range of hand-over i, which the main stream has been told to
// compute, and delivers what has arrived meanwhile.
func (g *gradients) send(i int, h handOver) error {
	if g.off {
		return nil
	}
	d := g.net.device
	computed, err := g.event(&g.computed, i)
	if err != nil {
		return err
	}
	arrived, err := g.event(&g.arrived, i)
	if err != nil {
		return err
	}
	source := cu.DevicePtr(g.net.fixed[ofGrads].address + 4*uintptr(h.lo))
	for _, err := range []error{
		computed.Record(d.main),
		d.copies.Wait(computed, 0),
		cu.MemcpyDtoHAsync(unsafe.Pointer(&g.home[h.lo]), source, 4*int64(h.hi-h.lo), d.copies),
		arrived.Record(d.copies),
	} {
		if err != nil {
			return d.check(err, "bringing gradients home")
		}
	}
	g.pending = append(g.pending, h)
	return g.deliver(false)
}

// deliver adds what has arrived, in order, to the caller's gradients and reports it; it waits for all
// of it if wait is set.
func (g *gradients) deliver(wait bool) error {
	d := g.net.device
	for len(g.pending) > 0 {
		arrived := g.arrived[g.first]
		if !wait {
			err := arrived.Query()
			if err != nil && resultOf(err) == resultNotReady {
				return nil
			}
			if err != nil {
				return d.check(err, "bringing gradients home")
			}
		}
		if err := d.check(arrived.Synchronize(), "bringing gradients home"); err != nil {
			return err
		}
		h := g.pending[0]
		g.pending, g.first = g.pending[1:], g.first+1
		dst, x := g.net.mem.Grads[h.lo:h.hi], g.home[h.lo:h.hi]
		parallel(g.net.threads, len(dst), 1<<18, func(lo, hi int) { add(dst[lo:hi], x[lo:hi]) })
		if g.ready != nil {
			g.ready(h.lo, h.hi)
		}
	}
	return nil
}

// finish waits for the rest.
func (g *gradients) finish() error {
	err := g.deliver(true)
	g.ready = nil
	return err
}

func (g *gradients) close() error {
	if g == nil {
		return nil
	}
	d := g.net.device
	if err := d.destroy(g.computed); err != nil {
		return err
	}
	return d.destroy(g.arrived)
}
