package onednn

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/metrixml/metrix/model"
)

const (
	forward = iota
	backwardData
	backwardWeights
)

// geometry is the C struct of that name in shim.c.
type geometry struct {
	direction, bf16, rows, in, height, width, out, outHeight, outWidth, kernelHeight, kernelWidth int64
	stride, pad, plainInput, bias, relu                                                           int64
}

// convolution is one convolution or linear layer of an opened network: its primitives by number of
// rows, and its weights in the library's layouts.
type convolution struct {
	lib   *library
	name  string
	w, b  model.Ref
	base  geometry
	fold  *model.BatchNorm // in Eval mode: the batch norm that is part of the weights
	byRow [3]map[int]uintptr
	like  [3]uintptr // fixes the layout of the weights
	// bytes that the primitives need to run
	scratch [3]int64

	packed  [2]region // by direction
	hash    [2]uint64 // of the parameters in packed
	fresh   [2]bool   // packed holds the parameters of that hash
	seen    [2]uint64 // network.version at the last look at the parameters
	digest  []uint64
	factor  []float32 // of fold, by output channel
	offset  []float32 // bias of fold
	scaled  []float32 // weights times factor
	weights int64     // floats
}

func (c *convolution) taps() int64 { return c.base.kernelHeight * c.base.kernelWidth }

// primitive returns the primitive for a number of rows, made at the first call.
func (c *convolution) primitive(direction, rows int) (uintptr, error) {
	if p := c.byRow[direction][rows]; p != 0 {
		return p, nil
	}
	if c.like[direction] == 0 && rows != 1 {
		// The layout of the weights must not depend on which call came first.
		if _, err := c.primitive(direction, 1); err != nil {
			return 0, err
		}
	}
	g := c.base
	g.direction, g.rows = int64(direction), int64(rows)
	if direction == backwardData {
		g.bias = 0
	}
	p, _, _ := purego.SyscallN(c.lib.newConv, uintptr(unsafe.Pointer(&g)), c.like[direction])
	runtime.KeepAlive(&g)
	if message := c.lib.errorOf(p); message != "" {
		purego.SyscallN(c.lib.freeConv, p)
		return 0, fmt.Errorf("layer %s, %d rows of %dx%dx%d: %s", c.name, rows, g.in, g.height, g.width, message)
	}
	if c.byRow[direction] == nil {
		c.byRow[direction] = map[int]uintptr{}
	}
	c.byRow[direction][rows] = p
	if c.like[direction] == 0 {
		c.like[direction] = p
	}
	bytes, _, _ := purego.SyscallN(c.lib.convScratch, p)
	c.scratch[direction] = max(c.scratch[direction], int64(bytes))
	return p, nil
}

func (c *convolution) ask(what uintptr, direction int) int64 {
	v, _, _ := purego.SyscallN(what, c.like[direction])
	return int64(v)
}

// close frees the primitives and the packed weights.
func (c *convolution) close() {
	for d := range c.byRow {
		for _, p := range c.byRow[d] {
			purego.SyscallN(c.lib.freeConv, p)
		}
		c.byRow[d], c.like[d] = nil, 0
	}
	for _, r := range c.packed {
		c.lib.release(r)
	}
	c.packed = [2]region{}
}

// claim allocates the packed weights of a direction.
func (c *convolution) claim(direction int) error {
	if c.packed[direction].base != nil {
		return nil
	}
	bytes := c.ask(c.lib.convWeights, direction)
	base := c.lib.alloc(bytes)
	if base == nil {
		return fmt.Errorf("layer %s: the system has no %d bytes for weights", c.name, bytes)
	}
	c.packed[direction] = region{base, bytes}
	return nil
}

// current says that the caller, who reports changes, has reported none since the last refresh.
func (c *convolution) current(net *network, directions int) bool {
	for d := range directions {
		if !c.fresh[d] || c.seen[d] != net.version {
			return false
		}
	}
	return net.told
}

// refresh brings the packed weights up to date with the parameters. It costs one read of the
// parameters when they have not changed since the last call, none if the caller reports changes.
func (c *convolution) refresh(w *worker, net *network, directions int) {
	if c.current(net, directions) {
		return
	}
	x := net.param(c.w)
	if c.fold != nil {
		c.refold(net)
	}
	w.run(c.lib.kernels[0].hash, [10]uintptr{floats(x), floats(c.digest)}, [8]int64{int64(len(x))})
	hash := c.digest[0] ^ c.digest[1]*0x9E3779B97F4A7C15
	if c.fold != nil {
		w.run(c.lib.kernels[0].hash, [10]uintptr{floats(c.factor), floats(c.digest)}, [8]int64{int64(len(c.factor))})
		hash = hash*31 + c.digest[0]
	}
	from := floats(x)
	for d := range directions {
		if c.fresh[d] && c.hash[d] == hash {
			c.seen[d] = net.version
			continue
		}
		if c.fold != nil {
			from = floats(c.scaled)
			w.run(c.lib.kernels[0].scale, [10]uintptr{from, floats(x), floats(c.factor)}, [8]int64{c.base.out, c.weights / c.base.out})
		}
		w.p = [10]uintptr{c.like[d], from, c.packed[d].address()}
		if status := w.call(c.lib.pack); status != 0 {
			w.fail(c.name, status)
			return
		}
		c.hash[d], c.fresh[d], c.seen[d] = hash, true, net.version
	}
}

// refold computes what a batch norm with running statistics makes of a convolution: factor times its
// weights, and a bias.
func (c *convolution) refold(net *network) {
	a, b := net.running(c.fold)
	for o := range c.factor {
		c.factor[o], c.offset[o] = float32(a[o]), float32(b[o])
		if c.b != model.None {
			c.offset[o] += float32(a[o]) * net.param(c.b)[o]
		}
	}
}

// bias is the address of the bias of a forward, or 0.
func (c *convolution) bias(net *network) uintptr {
	switch {
	case c.fold != nil:
		return floats(c.offset)
	case c.b != model.None:
		return floats(net.param(c.b))
	}
	return 0
}
