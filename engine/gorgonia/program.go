package gorgonia

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// key says what a program computes.
type key struct {
	stage model.Stage
	mode  engine.Mode
	n     int
}

// program is one stage over n rows as a Gorgonia graph, differentiated by Gorgonia, with the machine
// that runs it. One program serves one tape at a time.
//
// Forward and backward are one run of the machine in two parts. Between output and gradients lies
// the pause op: reached first, it keeps the output and stops the machine with an error; when the
// machine is run again it goes on from the same instruction, and pause now yields the gradient that
// the caller brought.
type program struct {
	key
	salt  uint32
	net   *network
	graph *gg.ExprGraph
	x     *gg.Node
	nodes map[model.Ref]*gg.Node // parameters in the graph
	ops   []*op
	vm    gg.VM
	dx    *op // computes the gradient by the input, if a backward exists

	out    []float32
	paused bool
	dOut   []float32
	opt    engine.Backward
	done   []bool // by parameter: its gradient is complete
	next   int    // parameters above have been reported to Ready
}

var errPause = errors.New("paused between forward and backward")

var errCollision = errors.New("two operations have the same hash")

// newProgram builds the program of k. Gorgonia merges nodes whose 32-bit hashes are equal without
// looking at them, so a graph in which two hashes meet by chance is built again with other ones.
func (net *network) newProgram(k key) (*program, error) {
	for salt := uint32(0); ; salt++ {
		p, err := net.buildProgram(k, salt<<20)
		if err == nil || !errors.Is(err, errCollision) || salt == 8 {
			return p, err
		}
	}
}

// buildProgram builds, differentiates and compiles the graph of k.
func (net *network) buildProgram(k key, salt uint32) (p *program, err error) {
	defer func() {
		if r := recover(); r != nil { // Gorgonia panics where a graph cannot be compiled
			err = fmt.Errorf("gorgonia: building the %v: %v", k.stage, r)
		}
	}()
	p = &program{key: k, salt: salt, net: net, graph: gg.NewGraph(), nodes: map[model.Ref]*gg.Node{}}
	in := net.model.StageInput(k.stage)
	p.x = gg.NewTensor(p.graph, gg.Float32, 4, gg.WithShape(p.rows(in)...), gg.WithName("x"))
	y, _, err := p.layers(net.model.Layers(k.stage), p.x, in)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	if err := p.differentiate(y); err != nil {
		return nil, fmt.Errorf("gorgonia: differentiating the %v: %w", k.stage, err)
	}
	if err := p.checkHashes(); err != nil {
		return nil, fmt.Errorf("gorgonia: building the %v: %w", k.stage, err)
	}
	p.countUses()
	p.done = make([]bool, len(net.model.Params))
	p.vm = gg.NewTapeMachine(p.graph)
	// The machine comes with a finalizer that has nothing to do without a GPU, but would keep the
	// machine, the graph and the ops, which refer to each other in a circle, from being collected.
	runtime.SetFinalizer(p.vm, nil)
	return p, nil
}

// rows is the shape of the program's n rows of s.
func (p *program) rows(s model.Shape) tensor.Shape { return tensor.Shape{p.n, s.C, s.H, s.W} }

// param returns the node of a parameter, whose value is its view of the flat block.
func (p *program) param(ref model.Ref) *gg.Node {
	if n := p.nodes[ref]; n != nil {
		return n
	}
	v := p.net.model.Params[ref]
	value := tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(v.Slice(p.net.mem.Params)))
	n := gg.NewTensor(p.graph, gg.Float32, len(v.Shape), gg.WithShape(v.Shape...), gg.WithName(v.Name), gg.WithValue(value))
	p.nodes[ref] = n
	return n
}

// differentiate puts the pause behind the output and has Gorgonia derive the gradients by all
// parameters of the stage and by the input.
func (p *program) differentiate(y *gg.Node) error {
	o := &op{name: "pause", out: y.Shape(), run: p.pause}
	dy, err := p.apply(o, y)
	if err != nil || p.mode == engine.Eval {
		return err
	}
	if y == p.x { // a stage without layers
		p.dx = o
		return nil
	}
	wrt := gg.Nodes{p.x}
	for ref := range p.net.model.Params {
		if n := p.nodes[model.Ref(ref)]; n != nil {
			wrt = append(wrt, n)
		}
	}
	grads, err := gg.Backpropagate(gg.Nodes{y}, gg.Nodes{dy}, wrt)
	if err != nil {
		return err
	}
	return p.collect(grads[0])
}

// collect ends the graph in an op that holds the gradient by the input.
func (p *program) collect(dx *gg.Node) error {
	p.dx = &op{name: "input'", out: dx.Shape()}
	p.dx.run = func(dst []float32, in [][]float32) error {
		if p.opt.Input {
			copy(dst, in[0])
		}
		return nil
	}
	_, err := p.apply(p.dx, dx)
	return err
}

// pause is the border between forward and backward.
func (p *program) pause(dst []float32, in [][]float32) error {
	if p.dOut == nil {
		p.out, p.paused = in[0], true
		return errPause
	}
	copy(dst, p.dOut)
	return nil
}

// checkHashes looks for an op that Gorgonia would take for another node.
func (p *program) checkHashes() error {
	seen := map[uint32]*gg.Node{}
	for _, n := range p.graph.AllNodes() {
		other := seen[n.Hashcode()]
		seen[n.Hashcode()] = n
		if other == nil || other == n {
			continue
		}
		_, a := n.Op().(*op)
		_, b := other.Op().(*op)
		if a || b || n.Op() == nil || other.Op() == nil {
			return errCollision
		}
	}
	return nil
}

// countUses tells every op how many consumers it has. An op that Gorgonia's own operations read is
// never recycled within a run, since they may return views of their inputs.
func (p *program) countUses() {
	mine := map[*op]bool{}
	for _, o := range p.ops {
		for _, in := range o.inputs {
			if in != nil {
				in.uses++
			}
		}
		mine[o] = true
	}
	for _, n := range p.graph.AllNodes() {
		if o, ok := n.Op().(*op); ok && mine[o] {
			continue
		}
		children := p.graph.From(n.ID())
		for children.Next() {
			if c, ok := children.Node().(*gg.Node).Op().(*op); ok {
				c.uses = -1
			}
		}
	}
	if p.dx != nil {
		p.dx.uses = -1
	}
}

// gradOp is an op whose output is a parameter's view of Grads.
func (p *program) gradOp(name string, ref model.Ref) *op {
	v := p.net.model.Params[ref]
	return &op{name: name, out: v.Shape, into: v.Slice(p.net.mem.Grads)}
}

// paramGrad wraps a kernel that adds to a parameter's gradient: it is left out when the backward
// skips parameters, and reported when done.
func (p *program) paramGrad(ref model.Ref, run func(dst []float32, in [][]float32) error) func([]float32, [][]float32) error {
	return func(dst []float32, in [][]float32) error {
		if p.opt.SkipParams {
			return nil
		}
		if err := run(dst, in); err != nil {
			return err
		}
		p.report(ref)
		return nil
	}
}

// inputGrad wraps a kernel that computes the gradient by x: it is left out where x is the stage's
// input and nobody asked for it.
func (p *program) inputGrad(x *gg.Node, run func(dst []float32, in [][]float32) error) func([]float32, [][]float32) error {
	if x != p.x {
		return run
	}
	return func(dst []float32, in [][]float32) error {
		if !p.opt.Input {
			return nil
		}
		return run(dst, in)
	}
}

// report marks a parameter's gradient as complete and calls Ready for it once all later parameters
// are complete too, so that ranges come in strictly falling order.
func (p *program) report(ref model.Ref) {
	p.done[ref] = true
	for p.next > 0 && p.done[p.next-1] {
		p.next--
		if v := p.net.model.Params[p.next]; p.opt.Ready != nil {
			p.opt.Ready(v.Offset, v.Offset+v.Size)
		}
	}
}

// forward runs the machine up to the pause.
func (p *program) forward(x []float32) error {
	value := tensor.New(tensor.WithShape(p.x.Shape()...), tensor.WithBacking(x))
	if err := gg.Let(p.x, value); err != nil {
		return err
	}
	p.out, p.paused, p.dOut = nil, false, nil
	if err := p.vm.RunAll(); !p.paused {
		if err == nil {
			err = errors.New("the machine ran past the pause")
		}
		return err
	}
	return nil
}

// backward runs the rest and returns the gradient by the input.
func (p *program) backward(dOut []float32, opt engine.Backward) ([]float32, error) {
	p.dOut, p.opt = dOut, opt
	clear(p.done)
	p.next = len(p.done)
	for p.next > 0 && p.net.model.Params[p.next-1].Stage != p.stage {
		p.next--
	}
	err := p.vm.RunAll()
	p.dOut, p.opt = nil, engine.Backward{}
	if err != nil {
		return nil, err
	}
	if !opt.Input {
		return nil, nil
	}
	return p.dx.buf, nil
}

// reset makes the program ready for the next forward and gives its buffers back.
func (p *program) reset() {
	p.vm.Reset()
	for _, o := range p.ops {
		o.release()
	}
	p.out = nil
}
