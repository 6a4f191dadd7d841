//go:build gpu

package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/exact"
)

// lossSums are exact sums of what the shares of a batch give, on the card: by rows, by proxies, by mixed
// rows, then a flag.
type lossSums struct {
	begun bool // since Begin
	card  piece
	parts [3]int // in elements
}

// at is where a part begins, in bytes; the last is the flag.
func (l *lossSums) at(part int) (bytes int64) {
	for _, n := range l.parts[:part] {
		bytes += aligned(8 * int64(n))
	}
	return bytes
}

func (l *lossSums) bytes() int64 { return l.at(len(l.parts)) + flagBytes }

// Sum implements engine.Summer.
func (c *comparison) Sum(lo, hi, n int) (clean, mixed float64, err error) {
	switch {
	case c.net.closed:
		return 0, 0, fmt.Errorf("cuda: loss: the network is closed")
	case c.batch == nil || n < 1:
		return 0, 0, fmt.Errorf("cuda: loss: no batch has begun, or %d summands are none", n)
	}
	return c.share(lo, hi, func(s *share, slab uintptr) (float64, float64, error) {
		if err := c.beginSums(); err != nil {
			return 0, 0, err
		}
		if err := c.add(s, slab, n); err != nil {
			return 0, 0, err
		}
		return c.bring(s, slab, engine.Gradients{})
	})
}

// beginSums makes room for the sums of the batch, from zero. The device has been entered.
func (c *comparison) beginSums() error {
	if c.sums.begun {
		return nil
	}
	l, n := c.batch, c.net
	c.sums.parts = [3]int{len(l.Rows), len(l.Proxies), 0}
	if l.mixesRows() {
		c.sums.parts[2] = len(l.Mix.Rows.Rows)
	}
	if err := n.memory.fit(&c.sums.card, c.sums.bytes()); err != nil {
		return err
	}
	c.sums.begun = true
	return n.device.check(cu.MemsetD8Async(cu.DevicePtr(c.sums.card.address), 0, c.sums.bytes(), n.device.main), "clearing sums")
}

// add adds the gradients of a share to the sums.
func (c *comparison) add(s *share, slab uintptr, n int) error {
	b, l := &builder{}, &c.sums
	limit := int32(math.Float32bits(float32(exact.Max(n))))
	flag := place{space: onTape, at: l.at(len(l.parts))}
	for i, from := range []*buffer{s.byRows, s.byProxies, s.byMixed} {
		if count := int64(l.parts[i]); from != nil && count > 0 {
			b.call("exact_add", kernels.Each(count), place{space: onTape, at: l.at(i)}, from, limit, flag, count)
		}
	}
	r := &run{net: c.net, half: &half{commands: b.commands}}
	r.base[onSlab], r.base[onTape] = slab, l.card.address
	return r.do(0, len(b.commands))
}

// Collect implements engine.Summer.
func (c *comparison) Collect(acc engine.Sums) error {
	l, n := &c.sums, c.net
	to := [][]int64{acc.Rows, acc.Proxies, acc.Mixed}
	if n.closed || c.batch == nil {
		return fmt.Errorf("cuda: loss: no batch has begun, or the network is closed")
	}
	if !l.begun {
		return nil // no share has anchors
	}
	for i, x := range to {
		if x != nil && len(x) != l.parts[i] {
			return fmt.Errorf("cuda: loss: sums of %d, %d and %d elements do not fit rows, proxies and mixed rows", len(acc.Rows), len(acc.Proxies), len(acc.Mixed))
		}
	}
	if err := n.device.enter(); err != nil {
		return err
	}
	defer n.device.leave()
	if err := n.pinned.fit(&c.home, l.bytes()); err != nil {
		return err
	}
	home := c.home.address
	err := n.device.check(cu.MemcpyDtoHAsync(pointer(home), cu.DevicePtr(l.card.address), l.bytes(), n.device.main), "bringing sums home")
	if err == nil {
		err = n.device.check(n.device.main.Synchronize(), "bringing sums home")
	}
	if err != nil {
		return err
	}
	if *(*int32)(pointer(home + uintptr(l.at(len(l.parts))))) != 0 {
		return exact.ErrRange
	}
	for i, x := range to {
		if len(x) > 0 {
			add(x, unsafe.Slice((*int64)(pointer(home+uintptr(l.at(i)))), len(x)))
		}
	}
	return nil
}
