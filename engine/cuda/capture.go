//go:build gpu

package cuda

import (
	"slices"
	"unsafe"
)

// captures keeps stretches of commands as CUDA graphs, which the driver starts in one call. A graph knows
// the addresses of its operands, so one serves one tape and slab; since these go round, a run soon has
// all it needs. A stretch is captured the second time it is met; what cannot be captured runs command by
// command for good.
type captures struct {
	device *device
	known  map[captureKey]*capture
	recent []captureKey // the least recently used first
	off    bool
}

type captureKey struct {
	half *half
	from int
	skip bool
	tape uintptr
	slab uintptr
	work uintptr
}

// capture is one stretch; exec is 0 until it has been captured.
type capture struct{ exec uintptr }

// maxCaptures bounds the graphs kept: a step has a dozen stretches.
const maxCaptures = 256

// shortStretch is the number of commands under which a graph saves nothing.
const shortStretch = 4

func newCaptures(d *device) *captures {
	return &captures{device: d, known: map[captureKey]*capture{}}
}

// segment runs the commands [from, to), as a graph where that is possible.
func (r *run) segment(from, to int) error {
	c := r.net.captured
	if !r.net.graphs || c.off || to-from < shortStretch {
		return r.do(from, to)
	}
	k := captureKey{r.half, from, r.skip, r.base[onTape], r.base[onSlab], r.base[ofWork]}
	have := c.known[k]
	if have == nil {
		if err := c.remember(k); err != nil {
			return err
		}
		return r.do(from, to)
	}
	c.touch(k)
	if have.exec == 0 {
		exec, err := c.capture(func() error { return r.do(from, to) })
		if err != nil {
			return err
		}
		if exec == 0 {
			return r.do(from, to)
		}
		have.exec = exec
	}
	d := r.net.device
	return d.call(d.driver.call(d.driver.launchGraph, have.exec, handle(d.main)), "starting a graph")
}

// capture makes a graph of what do starts. It returns 0 where that fails, and no graph is made any more.
func (c *captures) capture(do func() error) (exec uintptr, err error) {
	const relaxed = 2 // CU_STREAM_CAPTURE_MODE_RELAXED: other threads may do as they like
	d := c.device
	if result := d.driver.call(d.driver.beginCapture, handle(d.main), relaxed); result != 0 {
		return 0, c.giveUp(result)
	}
	failed := do()
	var graph uintptr
	result := d.driver.call(d.driver.endCapture, handle(d.main), uintptr(unsafe.Pointer(&graph)))
	if FailureOf(failed) == Lost {
		return 0, failed
	}
	if failed != nil || result != 0 {
		return 0, c.giveUp(result)
	}
	result = d.driver.call(d.driver.instantiateGraph, uintptr(unsafe.Pointer(&exec)), graph, 0)
	d.driver.call(d.driver.destroyGraph, graph)
	if result != 0 {
		return 0, c.giveUp(result)
	}
	return exec, nil
}

// giveUp turns graphs off, unless the card is lost.
func (c *captures) giveUp(result uintptr) error {
	if err := c.device.call(result, "capturing a graph"); FailureOf(err) == Lost {
		return err
	}
	c.off = true
	c.device.logger.Warn("cuda: kernels are started one by one: they cannot be captured in a graph", "result", int(int32(result)))
	return nil
}

func (c *captures) remember(k captureKey) error {
	c.known[k] = &capture{}
	if c.recent = append(c.recent, k); len(c.recent) > maxCaptures {
		oldest := c.recent[0]
		c.recent = c.recent[1:]
		return c.drop(oldest)
	}
	return nil
}

func (c *captures) touch(k captureKey) {
	if i := slices.Index(c.recent, k); i >= 0 {
		c.recent = append(slices.Delete(c.recent, i, i+1), k)
	}
}

func (c *captures) drop(k captureKey) error {
	exec := c.known[k].exec
	delete(c.known, k)
	if exec == 0 {
		return nil
	}
	return c.device.call(c.device.driver.call(c.device.driver.destroyExec, exec), "giving a graph back")
}

// forget drops the graphs that are named.
func (c *captures) forget(drop func(captureKey) bool) (first error) {
	c.recent = slices.DeleteFunc(c.recent, func(k captureKey) bool {
		if !drop(k) {
			return false
		}
		if err := c.drop(k); err != nil && first == nil {
			first = err
		}
		return true
	})
	return first
}

// close drops all.
func (c *captures) close() error {
	return c.forget(func(captureKey) bool { return true })
}
