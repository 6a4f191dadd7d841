//go:build gpu

package cuda

import (
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
)

// run is one execution of one half of a program.
type run struct {
	net     *network
	program *program
	half    *half
	slab    piece
	base    [spaces]uintptr
	skip    bool // leave parameter gradients out
}

// run readies a half: every convolution has its algorithm, workspace and slab are large enough.
func (n *network) run(p *program, h *half, tape piece) (*run, error) {
	if err := n.prepare(h); err != nil {
		return nil, err
	}
	r := &run{net: n, program: p, half: h}
	if h.slab > 0 {
		var err error
		if r.slab, err = n.memory.get(h.slab); err != nil {
			return nil, err
		}
	}
	for s, x := range n.fixed {
		r.base[s] = x.address
	}
	r.base[onTape], r.base[onSlab], r.base[ofWork] = tape.address, r.slab.address, n.work.address
	return r, nil
}

// prepare chooses algorithms and makes the workspace large enough.
func (n *network) prepare(h *half) error {
	if n.prepared[h] {
		return nil
	}
	var most int64
	for i := range h.commands {
		c := h.commands[i].conv
		if c == nil {
			continue
		}
		p, err := n.device.dnn.plan(c)
		if err != nil {
			return err
		}
		most = max(most, p.workspace[c.direction])
	}
	if most > n.work.bytes {
		n.memory.put(n.work)
		if err := n.captured.close(); err != nil { // they know the old workspace
			return err
		}
		n.work = piece{}
		var err error
		if n.work, err = n.memory.get(most); err != nil {
			return err
		}
	}
	n.prepared[h] = true
	return nil
}

func (r *run) end() { r.net.memory.put(r.slab) }

// address resolves a place.
func (r *run) address(p place) uintptr {
	switch {
	case p.space == nowhere, p.space == ofGrads && r.skip: // the sums of norms are needed all the same
		return 0
	case p.buf != nil:
		return r.base[p.space] + uintptr(p.buf.at)
	}
	return r.base[p.space] + uintptr(p.at)
}

// do runs the commands [from, to).
func (r *run) do(from, to int) error {
	for i := from; i < to; i++ {
		c := &r.half.commands[i]
		if c.params && r.skip {
			continue
		}
		var err error
		switch {
		case c.launch != nil:
			err = r.launch(c.launch)
		case c.conv != nil:
			err = r.convolve(c.conv)
		case c.product != nil:
			p := c.product
			err = r.net.device.blas.multiply(p, r.address(p.a), r.address(p.b), r.address(p.c))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) convolve(c *convolve) error {
	n := r.net.device.dnn
	p, err := n.plan(c)
	if err != nil {
		return err
	}
	x, w, y := r.address(c.x), r.address(c.w), r.address(c.y)
	if c.finish != nil && p.finishes(n, c, x, w, y, r.address(c.finish.offset), r.address(c.finish.residual), r.base[ofWork]) {
		return nil
	}
	err = p.run(n, c, p.algorithm[c.direction], x, w, y, r.base[ofWork], p.workspace[c.direction])
	if err != nil || c.finish == nil {
		return err
	}
	return r.launch(c.finish.launch)
}

// scratch is where a kernel's arguments lie while it is launched; the driver copies them.
type scratch struct {
	words   [128]uint64
	pointer [32]uintptr
	cu      [32]unsafe.Pointer
}

func (r *run) launch(l *launch) error {
	return r.net.device.launch(l, r.address)
}

// launch starts a kernel on the main stream.
func (d *device) launch(l *launch, address func(place) uintptr) error {
	f, err := d.function(l.kernel)
	if err != nil {
		return err
	}
	s, used, wide := &d.scratch, 0, false
	for i := range l.args {
		a := &l.args[i]
		word := unsafe.Pointer(&s.words[used])
		s.pointer[i], s.cu[i] = uintptr(word), word
		if a.value == nil {
			s.words[used] = uint64(address(a.place))
			used++
			continue
		}
		words := (len(a.value) + 7) / 8
		copy(unsafe.Slice((*byte)(word), 8*words), a.value)
		used += words
		wide = wide || words > 1
	}
	g, b := l.geometry.Grid, l.geometry.Block
	if !wide {
		fn := *(*cu.Function)(unsafe.Pointer(&f))
		err := fn.Launch(int(g[0]), int(g[1]), int(g[2]), int(b[0]), int(b[1]), int(b[2]), 0, d.main, s.cu[:len(l.args)])
		return d.check(err, "starting %s", l.kernel)
	}
	result := d.driver.call(d.driver.launchKernel, f, uintptr(g[0]), uintptr(g[1]), uintptr(g[2]), uintptr(b[0]), uintptr(b[1]), uintptr(b[2]),
		0, handle(d.main), uintptr(unsafe.Pointer(&s.pointer)), 0)
	return d.call(result, "starting %s", l.kernel)
}

// input is the caller's: rows as floats, or images [lo, hi) of those that have been taken.
type input struct {
	rows   []byte
	taken  *taken
	lo, hi int
}

// begin gives the half its input: what the run before has left on the card, or the caller's.
func (r *run) begin(before *run, x input) error {
	d, in := r.net.device, r.base[onSlab]+uintptr(r.half.in.at)
	if before == nil {
		if err := r.clearSums(); err != nil {
			return err
		}
		if x.taken != nil {
			return x.taken.place.lend(x, in, r.base[onSlab]+uintptr(r.half.crops.at))
		}
		return r.net.up.send(in, x.rows)
	}
	source := cu.DevicePtr(before.base[onSlab] + uintptr(before.half.out.at))
	return d.check(cu.MemcpyDtoDAsync(cu.DevicePtr(in), source, r.half.in.bytes, d.main), "handing rows on")
}

// backward runs the commands of a backward and lets the gradients go as they are complete.
func (r *run) backward() error {
	out := r.net.out
	if err := out.clear(r.program.stage); err != nil {
		return err
	}
	at := 0
	for _, hand := range r.half.hand {
		if err := r.segment(at, hand.after); err != nil {
			return err
		}
		at = hand.after
		if err := out.send(hand); err != nil {
			return err
		}
	}
	return r.segment(at, len(r.half.commands))
}

// download starts bringing the result to pinned memory.
func (r *run) download(dst []float32) error {
	d := r.net.device
	source := cu.DevicePtr(r.base[onSlab] + uintptr(r.half.out.at))
	return d.check(cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), source, 4*int64(len(dst)), d.main), "bringing rows home")
}

// clearSums readies the statistics of a Train forward.
func (r *run) clearSums() error {
	n := r.net
	if r.half != r.program.forward || r.program.mode != engine.Train || len(n.sums) == 0 {
		return nil
	}
	return n.device.check(cu.MemsetD8Async(cu.DevicePtr(r.base[ofSums]), 0, 4*int64(len(n.sums)), n.device.main), "clearing statistics")
}

// addSums waits for a forward of some stages and adds its statistics to the caller's.
func (n *network) addSums(keys []key) error {
	d := n.device
	live := keys[0].mode == engine.Train && len(n.sums) > 0
	if live {
		source := cu.DevicePtr(n.fixed[ofSums].address)
		err := cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(n.sums)), source, 4*int64(len(n.sums)), d.main)
		if err := d.check(err, "bringing statistics home"); err != nil {
			return err
		}
	}
	if err := d.check(d.main.Synchronize(), "forward"); err != nil || !live {
		return err
	}
	for _, p := range n.model.Buffers {
		if slices.ContainsFunc(keys, func(k key) bool { return k.stage == p.Stage }) {
			add(p.Slice(n.mem.BufferSums), p.Slice(n.sums))
		}
	}
	return nil
}

func add[T float32 | int64](dst, x []T) {
	for i, v := range x {
		dst[i] += v
	}
}
