package gorgonia

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	gg "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// op is a Gorgonia operation on float32 tensors made of two closures: what it computes, and how
// Gorgonia continues its derivative. All kernels of this package are ops.
//
// An op borrows its output from the network's arena when it runs and gives it back when its last
// consumer has run. The number of consumers is known once the graph is complete, so a buffer is
// reused as early as the graph allows; the tape machine alone would keep one per node.
type op struct {
	p    *program
	id   uint32 // distinguishes ops of the same name: Gorgonia merges nodes of equal hash
	name string
	out  tensor.Shape

	// run computes out, whose content is arbitrary before, from in.
	run func(out []float32, in [][]float32) error
	// diff builds the gradients by the inputs marked in wrt. Without it the op is not
	// differentiable.
	diff func(in gg.Nodes, out, grad *gg.Node) (gg.Nodes, error)
	wrt  []bool
	// into, if not nil, is where the output lies, instead of a buffer of the arena.
	into []float32

	inputs []*op // what computes each input; nil if not an op
	types  []hm.Type
	uses   int // number of consumers; negative: never give back before the tape is released
	left   int // consumers that have not run
	buf    []float32
	views  [][]float32
}

// apply adds o to the graph over children.
func (p *program) apply(o *op, children ...*gg.Node) (*gg.Node, error) {
	o.p, o.id = p, p.salt+uint32(len(p.ops)+1)
	for _, c := range children {
		source, _ := c.Op().(*op)
		o.inputs = append(o.inputs, source)
		o.types = append(o.types, c.Type())
	}
	o.views = make([][]float32, len(children))
	node, err := gg.ApplyOp(o, children...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.name, err)
	}
	p.ops = append(p.ops, o)
	return node, nil
}

// Do runs the kernel; Gorgonia calls it with the values of the inputs.
func (o *op) Do(values ...gg.Value) (gg.Value, error) {
	for i, v := range values {
		x, err := floats(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		o.views[i] = x
	}
	dst := o.into
	if dst == nil {
		o.release()
		o.buf = o.p.net.arena.get(o.out.TotalSize())
		o.left = o.uses
		dst = o.buf
	}
	if err := o.run(dst, o.views); err != nil {
		return nil, err
	}
	o.consume()
	return tensor.New(tensor.WithShape(o.out...), tensor.WithBacking(dst)), nil
}

// consume tells the inputs that this op has run.
func (o *op) consume() {
	for _, in := range o.inputs {
		if in == nil || in.uses < 0 {
			continue
		}
		if in.left--; in.left == 0 {
			in.release()
		}
	}
}

// release gives the output's buffer back.
func (o *op) release() {
	if o.buf != nil {
		o.p.net.arena.put(o.buf)
		o.buf = nil
	}
}

// floats returns the values of a contiguous float32 tensor.
func floats(v gg.Value) ([]float32, error) {
	t, ok := v.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("the engine computes with dense tensors, not %T", v)
	}
	x, ok := t.Data().([]float32)
	if !ok || t.RequiresIterator() {
		return nil, fmt.Errorf("the engine computes with contiguous float32 tensors, not %v of %v", t.Shape(), t.Dtype())
	}
	return x, nil
}

// Arity is the number of inputs.
func (o *op) Arity() int { return len(o.types) }

// Type is the function type that Gorgonia unifies with the inputs' types.
func (o *op) Type() hm.Type {
	out := gg.TensorType{Dims: len(o.out), Of: tensor.Float32}
	return hm.NewFnType(append(o.types[:len(o.types):len(o.types)], out)...)
}

// InferShape returns the output's shape.
func (o *op) InferShape(...gg.DimSizer) (tensor.Shape, error) { return o.out.Clone(), nil }

// ReturnsPtr says that the output is not a copy.
func (o *op) ReturnsPtr() bool { return true }

// CallsExtern says that nothing is batched for an external device.
func (o *op) CallsExtern() bool { return false }

// OverwritesInput says that inputs stay as they are.
func (o *op) OverwritesInput() int { return -1 }

// WriteHash makes every op distinct.
func (o *op) WriteHash(h hash.Hash) {
	_, _ = h.Write([]byte(o.name))
	_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, o.id))
}

// Hashcode is the 32-bit form of WriteHash.
func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String names the op in Gorgonia's errors.
func (o *op) String() string { return o.name }

// DiffWRT says by which inputs the op can be differentiated.
func (o *op) DiffWRT(int) []bool {
	if o.diff == nil {
		return make([]bool, len(o.types))
	}
	return o.wrt
}

// SymDiff lets the op build its own gradient.
func (o *op) SymDiff(in gg.Nodes, out, grad *gg.Node) (gg.Nodes, error) {
	if o.diff == nil {
		return nil, fmt.Errorf("%s cannot be differentiated", o.name)
	}
	return o.diff(in, out, grad)
}
