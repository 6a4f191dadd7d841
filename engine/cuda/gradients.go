//go:build gpu

package cuda

import (
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
)

// gradients brings a backward's parameter gradients home, range by range: as soon as the main stream
// has computed one, the copy stream carries it to pinned memory while the main stream goes on; then it
// is added to the caller's and reported.
type gradients struct {
	net      *network
	home     []float32 // pinned, all of them
	computed []cu.Event
	arrived  []cu.Event
	sent     []handOver
	taken    int // of sent: those that have been delivered
	ready    func(lo, hi int)
	skip     bool // this backward skips parameters
	exact    sums
}

// sums are exact sums on the card, see engine.Accumulator.
type sums struct {
	acc   []int64 // the caller's; nil while gradients go to Memory.Grads
	card  piece
	home  []int64 // pinned; nil until sums come home
	flag  []int32 // pinned
	limit int32
}

// flagBytes stand behind the sums on the card: whether a summand was out of range.
const flagBytes = alignment

func newGradients(n *network) (*gradients, error) {
	g := &gradients{net: n}
	home, err := n.pinned.get(max(4*int64(n.model.NumParams()), 1))
	if err != nil {
		return g, err
	}
	g.home = floats(home.address, n.model.NumParams())
	return g, nil
}

// begin readies a backward.
func (g *gradients) begin(opt engine.Backward) {
	g.sent, g.taken, g.ready, g.skip = g.sent[:0], 0, opt.Ready, opt.SkipParams
}

func (g *gradients) address(lo int) cu.DevicePtr {
	return cu.DevicePtr(g.net.fixed[ofGrads].address + 4*uintptr(lo))
}

func (g *gradients) sumAddress(lo int) cu.DevicePtr {
	return cu.DevicePtr(g.net.out.exact.card.address + 8*uintptr(lo))
}

// clear sets a stage's gradients to zero, unless they are part of a summand.
func (g *gradients) clear(s model.Stage) error {
	lo, hi := g.net.model.StageRange(s)
	if lo == hi || g.exact.acc != nil {
		return nil
	}
	return g.zero(g.address(lo), 4*int64(hi-lo), g.net.device.main)
}

func (g *gradients) zero(p cu.DevicePtr, bytes int64, s cu.Stream) error {
	return g.net.device.check(cu.MemsetD8Async(p, 0, bytes, s), "clearing gradients")
}

// accumulate begins sums of so many summands.
func (g *gradients) accumulate(acc []int64, summands int) error {
	e, n := &g.exact, g.net
	params := n.model.NumParams()
	if e.card.address == 0 && params > 0 {
		var err error
		if e.card, err = n.memory.get(aligned(8*int64(params)) + flagBytes); err != nil {
			return err
		}
		flag, err := n.pinned.get(4)
		if err != nil {
			n.memory.put(e.card)
			e.card = piece{}
			return err
		}
		e.flag = unsafe.Slice((*int32)(pointer(flag.address)), 1)
	}
	e.limit = int32(math.Float32bits(float32(exact.Max(summands))))
	if err := g.zero(g.sumAddress(0), e.card.bytes, n.device.main); err != nil {
		return err
	}
	e.acc = acc
	return g.zero(g.address(0), 4*int64(params), n.device.main)
}

func (g *gradients) flagAddress() cu.DevicePtr {
	return g.sumAddress(0) + cu.DevicePtr(aligned(8*int64(g.net.model.NumParams())))
}

// summand adds the gradients [lo, hi) to the sums.
func (g *gradients) summand(lo, hi int) error {
	count := int64(hi - lo)
	b := &builder{}
	b.call("exact_add", kernels.Each(count), place{space: onTape, at: 8 * int64(lo)}, place{space: ofGrads, at: 4 * int64(lo)},
		g.exact.limit, place{space: onSlab}, count)
	r := &run{net: g.net}
	r.base[onTape], r.base[ofGrads], r.base[onSlab] = uintptr(g.sumAddress(0)), uintptr(g.address(0)), uintptr(g.flagAddress())
	if err := r.launch(b.commands[0].launch); err != nil {
		return err
	}
	return g.zero(g.address(lo), 4*count, g.net.device.main)
}

// checkRange asks the card whether a summand was too large.
func (g *gradients) checkRange() error {
	d, flag := g.net.device, g.exact.flag
	if err := d.check(cu.MemcpyDtoHAsync(unsafe.Pointer(&flag[0]), g.flagAddress(), 4, d.main), "settling sums"); err != nil {
		return err
	}
	if err := d.check(d.main.Synchronize(), "settling sums"); err != nil {
		return err
	}
	if flag[0] != 0 {
		return exact.ErrRange
	}
	return nil
}

// send lets a range go that the main stream has been told to compute, and delivers what has arrived
// meanwhile. While sums are made, a range goes only if the caller wants to hear of it.
func (g *gradients) send(h handOver) error {
	if g.skip || g.exact.acc != nil && g.ready == nil {
		return nil
	}
	if g.exact.acc != nil {
		if err := g.summand(h.lo, h.hi); err != nil {
			return err
		}
	}
	if err := g.carry(h); err != nil {
		return err
	}
	return g.deliver(false)
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

// carry lets the copy stream bring a range home.
func (g *gradients) carry(h handOver) error {
	d := g.net.device
	if err := g.makeRoom(); err != nil {
		return err
	}
	computed, err := g.event(&g.computed, len(g.sent))
	if err != nil {
		return err
	}
	arrived, err := g.event(&g.arrived, len(g.sent))
	if err != nil {
		return err
	}
	for _, do := range []func() error{
		func() error { return computed.Record(d.main) },
		func() error { return d.copies.Wait(computed, 0) },
		func() error { return g.copy(h) },
		func() error { return arrived.Record(d.copies) },
	} {
		if err := do(); err != nil {
			return d.check(err, "bringing gradients home")
		}
	}
	g.sent = append(g.sent, h)
	return nil
}

// makeRoom pins the host's memory for sums when the first of them come home.
func (g *gradients) makeRoom() error {
	e, params := &g.exact, g.net.model.NumParams()
	if e.acc == nil || e.home != nil {
		return nil
	}
	home, err := g.net.pinned.get(8 * int64(params))
	if err != nil {
		return err
	}
	e.home = unsafe.Slice((*int64)(pointer(home.address)), params)
	return nil
}

// copy starts the copies of a range. Errors are the driver's own.
func (g *gradients) copy(h handOver) error {
	d, count := g.net.device, int64(h.hi-h.lo)
	if g.exact.acc == nil {
		return cu.MemcpyDtoHAsync(unsafe.Pointer(&g.home[h.lo]), g.address(h.lo), 4*count, d.copies)
	}
	if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&g.exact.home[h.lo]), g.sumAddress(h.lo), 8*count, d.copies); err != nil {
		return err
	}
	if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&g.exact.flag[0]), g.flagAddress(), 4, d.copies); err != nil {
		return err
	}
	return cu.MemsetD8Async(g.sumAddress(h.lo), 0, 8*count, d.copies)
}

// deliver adds what has arrived, in order, to the caller's and reports it; it waits for all of it if
// wait is set.
func (g *gradients) deliver(wait bool) error {
	d := g.net.device
	for g.taken < len(g.sent) {
		arrived := g.arrived[g.taken]
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
		h := g.sent[g.taken]
		g.taken++
		if err := g.add(h); err != nil {
			return err
		}
		if g.ready != nil {
			g.ready(h.lo, h.hi)
		}
	}
	return nil
}

// resultNotReady is what the driver says of an event that is still to come.
const resultNotReady = 600

// add adds a range that is home to the caller's.
func (g *gradients) add(h handOver) error {
	const least = 1 << 18
	threads := g.net.threads
	if e := &g.exact; e.acc != nil {
		if e.flag[0] != 0 {
			return exact.ErrRange
		}
		dst, x := e.acc[h.lo:h.hi], e.home[h.lo:h.hi]
		parallel(threads, len(dst), least, func(lo, hi int) { add(dst[lo:hi], x[lo:hi]) })
		return nil
	}
	dst, x := g.net.mem.Grads[h.lo:h.hi], g.home[h.lo:h.hi]
	parallel(threads, len(dst), least, func(lo, hi int) { add(dst[lo:hi], x[lo:hi]) })
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
