package onednn

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// network is an opened network: its programs and the memory that they share.
type network struct {
	lib     *library
	model   *model.Network
	mem     engine.Memory
	bf16    bool
	workers []*worker
	arena   arena
	l2Eps   []float64

	programs map[key]*program
	recent   []key // the least recently used first
	convs    map[convKey]*convolution
	dIn      []float32
	closed   bool

	told    bool   // the caller reports changes of parameters and running statistics
	version uint64 // of these, as reported
}

var _ engine.Keeper = (*network)(nil)

// Changed implements engine.Keeper.
func (net *network) Changed() {
	net.told = true
	net.version++
}

// convKey tells the convolutions of a network apart: the same layer has other weights in Eval mode.
type convKey struct {
	w    model.Ref
	fold bool
	base geometry
}

// maxPrograms bounds the programs kept: a run needs two stages in two modes with a few numbers of
// rows each.
const maxPrograms = 24

func (net *network) param(ref model.Ref) []float32 {
	return net.model.Params[ref].Slice(net.mem.Params)
}

func (net *network) grad(ref model.Ref) []float32 {
	return net.model.Params[ref].Slice(net.mem.Grads)
}

func (net *network) buffer(ref model.Ref) []float32 {
	return net.model.Buffers[ref].Slice(net.mem.Buffers)
}

func (net *network) bufferSum(ref model.Ref) []float32 {
	return net.model.Buffers[ref].Slice(net.mem.BufferSums)
}

// precision indexes library.kernels: 1 where activations of a stage are bfloat16. The head, whose
// work is small, always computes in single precision.
func (net *network) precision(s model.Stage) int { return count(net.bf16 && s == model.Trunk) }

// convolution returns the convolution of a layer, made at the first call.
func (net *network) convolution(name string, w, bias model.Ref, fold *model.BatchNorm, base geometry) (*convolution, error) {
	k := convKey{w, fold != nil, base}
	if c := net.convs[k]; c != nil {
		return c, nil
	}
	c := &convolution{
		lib: net.lib, name: name, w: w, b: bias, fold: fold, base: base,
		weights: int64(net.model.Params[w].Size), digest: make([]uint64, 2),
	}
	if fold != nil {
		c.factor, c.offset = make([]float32, fold.Channels), make([]float32, fold.Channels)
		c.scaled = make([]float32, c.weights)
	}
	directions := 3
	if fold != nil || base.relu != 0 {
		directions = 1 // Eval mode
	}
	for d := range directions {
		if _, err := c.primitive(d, 1); err != nil {
			c.close()
			return nil, err
		}
	}
	net.convs[k] = c
	return c, nil
}

// claim makes room for the packed weights of convolutions.
func (net *network) claim(convs []*convolution, directions int) error {
	for _, c := range convs {
		for d := range directions {
			if err := c.claim(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// program returns the program of a key.
func (net *network) program(k key) (*program, error) {
	for i, other := range net.recent {
		if other == k {
			net.recent = append(append(net.recent[:i:i], net.recent[i+1:]...), k)
			return net.programs[k], nil
		}
	}
	p, err := net.newProgram(k)
	if err != nil {
		return nil, err
	}
	net.programs[k] = p
	if net.recent = append(net.recent, k); len(net.recent) > maxPrograms {
		delete(net.programs, net.recent[0])
		net.recent = net.recent[1:]
	}
	return p, nil
}

// Forward implements engine.Net.
func (net *network) Forward(stage model.Stage, mode engine.Mode, x []float32, n int) (engine.Tape, error) {
	switch {
	case net.closed:
		return nil, fmt.Errorf("onednn: forward of the %v: the network is closed", stage)
	case stage != model.Trunk && stage != model.Head, mode > engine.Eval:
		return nil, fmt.Errorf("onednn: forward of %v in mode %d: there is no such stage or mode", stage, mode)
	case n < 1 || len(x) != n*net.model.StageInput(stage).Size():
		return nil, fmt.Errorf("onednn: forward of the %v: %d rows of %d floats do not make %d floats",
			stage, n, net.model.StageInput(stage).Size(), len(x))
	}
	t, err := net.forward(key{stage, mode, n}, x)
	if err != nil {
		return nil, fmt.Errorf("onednn: forward of the %v, %d rows: %w", stage, n, err)
	}
	return t, nil
}

func (net *network) forward(k key, x []float32) (*tape, error) {
	p, err := net.program(k)
	if err != nil {
		return nil, err
	}
	if err := p.enoughRows(); err != nil {
		return nil, err
	}
	if err := net.refresh(p); err != nil {
		return nil, err
	}
	t, err := net.newTape(p)
	if err != nil {
		return nil, err
	}
	r := &execution{net: net, p: p, n: k.n, tape: t, x: x, out: t.out}
	for _, n := range p.graph.norms {
		n.begin(r)
	}
	if err := r.run(p.forward); err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// refresh brings packed weights up to date.
func (net *network) refresh(p *program) error {
	directions := 2
	if p.mode == engine.Eval {
		directions = 1
	}
	return parallel(net.workers, len(p.graph.convs), func(w *worker, i int) {
		p.graph.convs[i].refresh(w, net, directions)
	})
}

// enoughRows refuses statistics of one value, whose unbiased variance does not exist.
func (p *program) enoughRows() error {
	for _, n := range p.graph.norms {
		if n.kind == ofBatch && int64(p.n)*n.area < 2 {
			return fmt.Errorf("batch norm %s sees one value per channel: use more rows in a call, or frozen batch norm", n.bn.Name)
		}
	}
	return nil
}

// Backward implements engine.Net.
func (net *network) Backward(t engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	own, ok := t.(*tape)
	switch {
	case !ok || own.p == nil || own.p.net != net:
		return nil, fmt.Errorf("onednn: backward: the tape is not of this network, or already consumed")
	case own.p.mode == engine.Eval:
		return nil, fmt.Errorf("onednn: backward of the %v: a tape of an Eval forward cannot go backward: use Frozen", own.p.stage)
	case len(dOut) != len(own.out):
		return nil, fmt.Errorf("onednn: backward of the %v: the gradient has %d floats, the output %d", own.p.stage, len(dOut), len(own.out))
	}
	defer own.Release()
	if opt.SkipParams && !opt.Input {
		return nil, nil
	}
	dIn, err := net.backward(own, dOut, opt)
	if err != nil {
		return nil, fmt.Errorf("onednn: backward of the %v: %w", own.p.stage, err)
	}
	return dIn, nil
}

func (net *network) backward(t *tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	p := t.p
	h, err := p.back(opt.Input)
	if err != nil {
		return nil, err
	}
	r := &execution{net: net, p: p, n: p.n, tape: t, dOut: dOut, opt: opt, done: make([]bool, len(net.model.Params))}
	r.next = p.unreported()
	if opt.Input {
		size := p.n * net.model.StageInput(p.stage).Size()
		if cap(net.dIn) < size {
			net.dIn = make([]float32, size)
		}
		r.dIn = net.dIn[:size]
	}
	if err := r.run(h); err != nil {
		return nil, err
	}
	return r.dIn, nil
}

// Close implements engine.Net.
func (net *network) Close() error {
	if net.closed {
		return nil
	}
	net.closed = true
	for _, c := range net.convs {
		c.close()
	}
	for _, w := range net.workers {
		net.lib.release(w.scratch)
		net.lib.release(w.local)
		w.scratch, w.local = region{}, region{}
	}
	net.arena.close()
	net.programs, net.recent, net.convs, net.dIn = nil, nil, nil, nil
	return nil
}

// tape is one forward's memory.
type tape struct {
	p      *program
	memory region
	norms  []affine
	out    []float32
}

func (net *network) newTape(p *program) (*tape, error) {
	memory, err := net.arena.get(p.tapeBytes)
	if err != nil {
		return nil, err
	}
	t := &tape{p: p, memory: memory, out: make([]float32, p.n*net.model.StageOutput(p.stage).Size())}
	for _, n := range p.graph.norms {
		size := n.floatsFor(p.n)
		t.norms = append(t.norms, affine{make([]float32, size), make([]float32, size), make([]float32, size), make([]float64, size)})
	}
	return t, nil
}

// Out implements engine.Tape.
func (t *tape) Out() []float32 { return t.out }

// Release implements engine.Tape.
func (t *tape) Release() {
	if t.p == nil {
		return
	}
	net := t.p.net
	if net.closed {
		net.lib.release(t.memory)
	} else {
		net.arena.put(t.memory)
	}
	*t = tape{}
}
