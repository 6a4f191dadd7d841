//go:build gpu

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
)

var (
	_ engine.Comparer = (*network)(nil)
	_ engine.Summer   = (*comparison)(nil)
)

// comparison is a loss on the card of a network, whose memory it uses.
type comparison struct {
	net    *network
	kind   lossKind
	batch  *lossBatch // of the step
	rows   piece      // its rows, on the card
	tables piece      // of a share, on the card
	home   piece      // pinned: what a share gives
	sums   lossSums
}

// Comparison implements engine.Comparer.
func (n *network) Comparison(l engine.Loss) (engine.Comparison, error) {
	k, err := newLossKind(l)
	if err != nil {
		return nil, err
	}
	return &comparison{net: n, kind: k}, nil
}

// fit makes a piece of a pool large enough; what it holds is lost.
func (p *pool) fit(x *piece, bytes int64) (err error) {
	if x.bytes >= bytes && x.address != 0 {
		return nil
	}
	p.put(*x)
	*x = piece{}
	*x, err = p.get(bytes)
	return err
}

// Begin implements engine.Comparison.
func (c *comparison) Begin(b engine.Batch) error {
	c.batch, c.sums.begun = nil, false
	if c.net.closed {
		return fmt.Errorf("cuda: loss: the network is closed")
	}
	l, err := newLossBatch(c.kind, b)
	if err != nil {
		return err
	}
	if err := c.net.device.enter(); err != nil {
		return err
	}
	defer c.net.device.leave()
	if err := c.send(l); err != nil {
		return fmt.Errorf("cuda: loss of %d rows: %w", len(l.Labels), err)
	}
	c.batch = l
	return nil
}

// send brings the rows of a step to the card.
func (c *comparison) send(l *lossBatch) error {
	n := c.net
	if err := n.memory.fit(&c.rows, l.bytes); err != nil {
		return err
	}
	to := func(p place, x []float32) error { return n.up.send(c.rows.address+uintptr(p.at), bytesOf(x)) }
	if err := to(l.rows, l.Rows); err != nil {
		return err
	}
	if l.classes > 0 {
		if err := to(l.raw, l.Proxies); err != nil {
			return err
		}
	}
	if l.mixesRows() {
		if err := to(l.mixed, l.Mix.Rows.Rows); err != nil {
			return err
		}
	}
	return c.run(l.prepare(), 0)
}

// run runs commands in single precision.
func (c *comparison) run(commands []command, slab uintptr) error {
	r := &run{net: c.net, half: &half{commands: commands}}
	r.base[onSlab], r.base[ofBatch], r.base[ofTables] = slab, c.rows.address, c.tables.address
	return c.net.device.blas.inSingle(func() error { return r.do(0, len(commands)) })
}

// Share implements engine.Comparison.
func (c *comparison) Share(grad engine.Gradients, lo, hi int) (clean, mixed float64, err error) {
	switch l := c.batch; {
	case c.net.closed:
		return 0, 0, fmt.Errorf("cuda: loss: the network is closed")
	case l == nil:
		return 0, 0, fmt.Errorf("cuda: loss: no batch has begun")
	case wrongSize(grad.Rows, l.Rows), wrongSize(grad.Proxies, l.Proxies), grad.Mixed != nil && (!l.mixesRows() || wrongSize(grad.Mixed, l.Mix.Rows.Rows)):
		return 0, 0, fmt.Errorf("cuda: loss: gradients of %d, %d and %d floats do not fit rows, proxies and mixed rows", len(grad.Rows), len(grad.Proxies), len(grad.Mixed))
	}
	return c.share(lo, hi, func(s *share, slab uintptr) (float64, float64, error) { return c.bring(s, slab, grad) })
}

// share evaluates the anchors [lo, hi) and hands what they give, on a slab, to finish.
func (c *comparison) share(lo, hi int, finish func(s *share, slab uintptr) (clean, mixed float64, err error)) (clean, mixed float64, err error) {
	s, err := newShare(c.kind, c.batch, lo, hi)
	if err != nil || lo == hi {
		return 0, 0, err
	}
	c.draw(s)
	if err := c.net.device.enter(); err != nil {
		return 0, 0, err
	}
	defer c.net.device.leave()
	if clean, mixed, err = c.evaluate(s, finish); err != nil {
		return 0, 0, fmt.Errorf("cuda: loss of the anchors [%d, %d): %w", lo, hi, err)
	}
	return clean, mixed, nil
}

func wrongSize(grad, x []float32) bool { return grad != nil && len(grad) != len(x) }

// draw fills in the lambdas of pairs, in the order of the plan.
func (c *comparison) draw(s *share) {
	if s.lambdas < 0 {
		return
	}
	parallel(c.net.threads, s.plan.Touched, 1, func(lo, hi int) {
		drawn := make([]float32, s.columns)
		for p := lo; p < hi; p++ {
			s.batch.Mix.PerPair(drawn, int(s.plan.Order[p]))
			to := s.tables[s.lambdas+4*int64(p)*int64(s.columns):]
			for n, i := range s.plan.Order {
				binary.LittleEndian.PutUint32(to[4*n:], math.Float32bits(drawn[i]))
			}
		}
	})
}

// evaluate runs a share and adds up what it gives.
func (c *comparison) evaluate(s *share, finish func(*share, uintptr) (float64, float64, error)) (clean, mixed float64, err error) {
	n := c.net
	if err := n.memory.fit(&c.tables, int64(len(s.tables))); err != nil {
		return 0, 0, err
	}
	slab, err := n.memory.get(s.bytes)
	if err != nil {
		return 0, 0, err
	}
	defer n.memory.put(slab)
	if err := n.up.send(c.tables.address, s.tables); err != nil {
		return 0, 0, err
	}
	if err := c.run(s.commands, slab.address); err != nil {
		return 0, 0, err
	}
	return finish(s, slab.address)
}

// bring waits for a share and carries its results home.
func (c *comparison) bring(s *share, slab uintptr, grad engine.Gradients) (clean, mixed float64, err error) {
	d := c.net.device
	results := []struct {
		from *buffer
		to   []float32
	}{{s.byRows, grad.Rows}, {s.byProxies, grad.Proxies}, {s.byMixed, grad.Mixed}}
	at := []int64{aligned(s.value.bytes)}
	for i, r := range results {
		at = append(at, at[i]+aligned(4*int64(len(r.to))))
	}
	if err := c.net.pinned.fit(&c.home, at[len(results)]); err != nil {
		return 0, 0, err
	}
	carry := func(from *buffer, to, bytes int64) error {
		if from == nil || bytes == 0 {
			return nil
		}
		err := cu.MemcpyDtoHAsync(pointer(c.home.address+uintptr(to)), cu.DevicePtr(slab+uintptr(from.at)), bytes, d.main)
		return d.check(err, "bringing the loss home")
	}
	if err := carry(s.value, 0, s.value.bytes); err != nil {
		return 0, 0, err
	}
	for i, r := range results {
		if err := carry(r.from, at[i], 4*int64(len(r.to))); err != nil {
			return 0, 0, err
		}
	}
	if err := d.check(d.main.Synchronize(), "computing the loss"); err != nil {
		return 0, 0, err
	}
	for i, r := range results {
		if r.from != nil && len(r.to) > 0 {
			add(r.to, floats(c.home.address+uintptr(at[i]), len(r.to)))
		}
	}
	value := unsafe.Slice((*float64)(pointer(c.home.address)), 2)
	return value[0], value[1], nil
}
