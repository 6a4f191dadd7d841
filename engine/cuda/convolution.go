//go:build gpu

package cuda

import (
	"fmt"
	"slices"
	"unsafe"

	"gorgonia.org/cu"
)

// cuDNN's numbers.
const (
	nhwc             = 1
	typeFloat        = 0
	typeBFloat16     = 9
	crossCorrelation = 1
	defaultMath      = 0 // of single precision: TF32 where the card has it
	tensorMath       = 1
	fmaMath          = 3
	deterministic    = 1
	activationReLU   = 1
	propagateNaN     = 1
)

// perf is cudnnConvolution*AlgoPerf_t.
type perf struct {
	algorithm, status int32
	_                 [2]int32 // its estimate of the time
	memory            uint64
	determinism, math int32
	_                 [4]int32
}

// planKey tells convolutions apart that cuDNN computes differently.
type planKey = convShape

// convPlan is the descriptors of a convolution, and the algorithm of each direction once it is chosen.
type convPlan struct {
	shape      convShape
	x, w, y    uintptr
	offset     uintptr    // descriptor of a value for each channel
	unfinished bool       // cuDNN refuses to finish it: a kernel does
	conv       [3]uintptr // by direction, for each has its own math
	chosen     [3]bool
	algorithm  [3]int32
	workspace  [3]int64
}

// maxPlans bounds the descriptors kept, which are a few hundred bytes each.
const maxPlans = 4096

// plan returns the plan of a shape with the algorithm of a direction chosen.
func (n *dnn) plan(c *convolve) (*convPlan, error) {
	p := n.plans[c.shape]
	if p == nil {
		if len(n.plans) >= maxPlans {
			for _, p := range n.plans {
				p.free(n)
			}
			clear(n.plans)
		}
		p = &convPlan{shape: c.shape}
		if err := p.describe(n); err != nil {
			p.free(n)
			return nil, fmt.Errorf("layer %s: %w", c.layer, err)
		}
		n.plans[c.shape] = p
	}
	if !p.chosen[c.direction] {
		if err := p.choose(n, c.direction); err != nil {
			return nil, fmt.Errorf("layer %s: %w", c.layer, err)
		}
	}
	return p, nil
}

func (p *convPlan) describe(n *dnn) error {
	s, call := &p.shape, n.device.driver.call
	kind := uintptr(typeFloat)
	if s.bf16 {
		kind = typeBFloat16
	}
	var status uintptr
	do := func(function uintptr, args ...uintptr) {
		if status == 0 {
			status = call(function, args...)
		}
	}
	for _, t := range []struct {
		descriptor *uintptr
		c, h, w    int
	}{{&p.x, s.c, s.h, s.w}, {&p.y, s.k, s.oh, s.ow}, {&p.offset, s.k, 1, 1}} {
		rows := s.n
		if t.descriptor == &p.offset {
			rows = 1
		}
		do(n.f.newTensor, uintptr(unsafe.Pointer(t.descriptor)))
		do(n.f.setTensor, *t.descriptor, nhwc, kind, uintptr(rows), uintptr(t.c), uintptr(t.h), uintptr(t.w))
	}
	do(n.f.newFilter, uintptr(unsafe.Pointer(&p.w)))
	do(n.f.setFilter, p.w, kind, nhwc, uintptr(s.k), uintptr(s.c), uintptr(s.kernel), uintptr(s.kernel))
	math := uintptr(n.math)
	if s.bf16 {
		math = tensorMath
	}
	for i := range p.conv {
		do(n.f.newConv, uintptr(unsafe.Pointer(&p.conv[i])))
		do(n.f.setConv, p.conv[i], uintptr(s.pad), uintptr(s.pad), uintptr(s.stride), uintptr(s.stride), 1, 1, crossCorrelation, typeFloat)
		do(n.f.setMath, p.conv[i], math)
	}
	return n.check(status, "describing a convolution")
}

// free gives the descriptors back.
func (p *convPlan) free(n *dnn) {
	for function, list := range map[uintptr][]uintptr{
		n.f.freeTensor: {p.x, p.y, p.offset}, n.f.freeFilter: {p.w}, n.f.freeConv: p.conv[:],
	} {
		for _, d := range list {
			if d != 0 {
				n.device.driver.call(function, d)
			}
		}
	}
}

// operands are the descriptors in the order in which cuDNN takes them, the written one last.
func (p *convPlan) operands(direction int) [3]uintptr {
	switch direction {
	case backwardData:
		return [3]uintptr{p.w, p.y, p.x}
	case backwardWeights:
		return [3]uintptr{p.x, p.y, p.w}
	}
	return [3]uintptr{p.x, p.w, p.y}
}

// choose asks the cache for the algorithm of a direction; what is not there is measured.
func (p *convPlan) choose(n *dnn, direction int) error {
	candidates, err := p.candidates(n, direction)
	if err != nil {
		return err
	}
	c, err := n.cache.choose(fmt.Sprintf("%s %+v", directions[direction], p.shape), candidates, func(list []choice) (choice, bool, error) {
		return p.measure(n, direction, list)
	})
	if err != nil {
		return err
	}
	p.algorithm[direction] = c.Algorithm
	if p.workspace[direction], err = p.ask(n, direction, c); err != nil {
		return err
	}
	p.chosen[direction] = true
	n.device.logger.Debug("cuda: convolution", "direction", directions[direction], "shape", fmt.Sprintf("%+v", p.shape), "algorithm", c.Algorithm, "workspace", p.workspace[direction])
	return nil
}

var directions = [...]string{"forward", "data", "weights"}

// candidates are the deterministic algorithms in the order of cuDNN's own estimate; those that take too
// much memory only if there are no others.
func (p *convPlan) candidates(n *dnn, direction int) ([]choice, error) {
	const most = 16
	var found [most]perf
	var count int32
	o := p.operands(direction)
	status := n.device.driver.call(n.f.algorithms[direction], n.handle, o[0], o[1], p.conv[direction], o[2], most,
		uintptr(unsafe.Pointer(&count)), uintptr(unsafe.Pointer(&found)))
	if err := n.check(status, "asking for algorithms"); err != nil {
		return nil, err
	}
	var list, large []choice
	for _, a := range found[:count] {
		exact := !p.shape.bf16 && n.math == fmaMath
		if a.status != 0 || a.determinism != deterministic || exact && (a.math == tensorMath || a.math == tensorMath+1) {
			continue
		}
		if exact {
			a.math = fmaMath
		}
		c := choice{Algorithm: a.algorithm, Math: a.math}
		if a.memory > largestWorkspace {
			large = append(large, c)
			continue
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		list = large
	}
	if len(list) == 0 {
		return nil, &Error{Refused, fmt.Sprintf("%s: cuDNN %d has no deterministic algorithm for this convolution (%s of %+v): use f32, or a newer cuDNN",
			n.device.name, n.version, directions[direction], p.shape)}
	}
	return list, nil
}

// ask sets a choice's math and returns the workspace it needs.
func (p *convPlan) ask(n *dnn, direction int, c choice) (int64, error) {
	call := n.device.driver.call
	if err := n.check(call(n.f.setMath, p.conv[direction], uintptr(c.Math)), "setting the math of a convolution"); err != nil {
		return 0, err
	}
	var bytes uint64
	o := p.operands(direction)
	status := call(n.f.workspace[direction], n.handle, o[0], o[1], p.conv[direction], o[2], uintptr(c.Algorithm), uintptr(unsafe.Pointer(&bytes)))
	return int64(bytes), n.check(status, "asking for a workspace")
}

// run calls cuDNN.
func (p *convPlan) run(n *dnn, c *convolve, algorithm int32, x, w, y, workspace uintptr, bytes int64) error {
	o := p.operands(c.direction)
	a, b, out := x, w, y
	switch c.direction {
	case backwardData:
		a, b, out = w, y, x
	case backwardWeights:
		a, b, out = x, y, w
	}
	one, beta := uintptr(unsafe.Pointer(&n.one[0])), uintptr(unsafe.Pointer(&n.one[1]))
	if c.add {
		beta = one
	}
	status := n.device.driver.call(n.f.run[c.direction], n.handle, one, o[0], a, o[1], b, p.conv[c.direction],
		uintptr(algorithm), workspace, uintptr(bytes), beta, o[2], out)
	return n.check(status, "layer %s, %s", c.layer, directions[c.direction])
}

// finishes lets cuDNN do a convolution and what comes behind it, a ReLU at the end, in one, and says whether it
// did. Which types and shapes it does this for is not in its documentation for every version, so it is
// asked once for each; what it refuses a kernel does from then on.
func (p *convPlan) finishes(n *dnn, c *convolve, x, w, y, offset, residual, workspace uintptr) bool {
	if p.unfinished || !c.finish.relu || n.relu == 0 {
		return false
	}
	one, scale := uintptr(unsafe.Pointer(&n.one[0])), uintptr(unsafe.Pointer(&n.one[1]))
	if residual != 0 {
		scale = one
	} else {
		residual = y // is not read, but must be somewhere
	}
	status := n.device.driver.call(n.f.finish, n.handle, one, p.x, x, p.w, w, p.conv[forward], uintptr(p.algorithm[forward]),
		workspace, uintptr(p.workspace[forward]), scale, p.y, residual, p.offset, offset, n.relu, p.y, y)
	p.unfinished = status != 0
	return status == 0
}

// most algorithms that are measured: cuDNN's estimate is good enough to leave the others out.
const measured = 4

// largestWorkspace is what an algorithm may take, in bytes, where there is another.
const largestWorkspace = 1 << 30

// measure times the first candidates on memory of zeros and returns the fastest. It is sure if there was
// memory to time all.
func (p *convPlan) measure(n *dnn, direction int, list []choice) (best choice, sure bool, err error) {
	d := n.device
	s := &p.shape
	size := elementSize(s.bf16)
	xBytes, yBytes := aligned(int64(s.n)*int64(s.h*s.w)*int64(s.c)*size), aligned(int64(s.n)*int64(s.oh*s.ow)*int64(s.k)*size)
	wBytes := aligned(int64(s.k) * int64(s.kernel*s.kernel) * int64(s.c) * size)
	base, err := d.alloc(xBytes + yBytes + wBytes)
	if err != nil {
		return list[0], false, d.unlessLost(err)
	}
	defer func() { _ = d.free(base) }() // after a failure, which is reported, nothing is left to do
	if err := d.check(cu.MemsetD8Async(cu.DevicePtr(base), 0, xBytes+yBytes+wBytes, d.main), "clearing memory"); err != nil {
		return list[0], false, err
	}
	c := &convolve{shape: p.shape, direction: direction, layer: "to be measured"}
	least := float64(-1)
	best, sure = list[0], true
	for _, candidate := range list[:min(len(list), measured)] {
		ms, err := p.time(n, c, candidate, base, base+uintptr(xBytes), base+uintptr(xBytes+wBytes))
		if err != nil {
			if err := d.unlessLost(err); err != nil {
				return best, false, err
			}
			sure = sure && FailureOf(err) != OutOfMemory
			continue
		}
		if least < 0 || ms < least {
			best, least = candidate, ms
		}
	}
	return best, sure, d.check(d.main.Synchronize(), "measuring a convolution")
}

// time returns the least of a few times in milliseconds.
func (p *convPlan) time(n *dnn, c *convolve, candidate choice, x, w, y uintptr) (float64, error) {
	d := n.device
	bytes, err := p.ask(n, c.direction, candidate)
	if err != nil {
		return 0, err
	}
	var workspace uintptr
	if bytes > 0 {
		if workspace, err = d.alloc(bytes); err != nil {
			return 0, err
		}
		defer func() { _ = d.free(workspace) }()
	}
	start, end, err := d.events()
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = cu.DestroyEvent(&start), cu.DestroyEvent(&end) }()
	var times []float64
	for range 4 { // the first warms up
		if err := d.check(start.Record(d.main), "recording an event"); err != nil {
			return 0, err
		}
		if err := p.run(n, c, candidate.Algorithm, x, w, y, workspace, bytes); err != nil {
			return 0, err
		}
		if err := d.check(end.Record(d.main), "recording an event"); err != nil {
			return 0, err
		}
		if err := d.check(end.Synchronize(), "measuring a convolution"); err != nil {
			return 0, err
		}
		ms, err := start.Elapsed(end)
		if err != nil {
			return 0, d.check(err, "measuring a convolution")
		}
		times = append(times, ms)
	}
	return slices.Min(times[1:]), nil
}

// events makes two events that take the time.
func (d *device) events() (start, end cu.Event, err error) {
	if start, err = cu.MakeEvent(cu.DefaultEvent); err == nil {
		end, err = cu.MakeEvent(cu.DefaultEvent)
	}
	return start, end, d.check(err, "making an event")
}

// unlessLost drops an error that another choice may do without.
func (d *device) unlessLost(err error) error {
	if FailureOf(err) == Lost {
		return err
	}
	return nil
}
