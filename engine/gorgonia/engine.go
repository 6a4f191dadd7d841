package gorgonia

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"gonum.org/v1/gonum/blas"
	gg "gorgonia.org/gorgonia"
)

// gemm is the one routine of a BLAS that this package's kernels need.
type gemm interface {
	Sgemm(ta, tb blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)
}

// Engine opens networks on Gorgonia.
type Engine struct {
	blas   BLAS
	custom map[string]Builder
}

var _ engine.Engine = (*Engine)(nil)

// Option changes an Engine at its creation.
type Option func(*Engine)

// PureGo keeps the engine's own matrix products in Go, even where a native BLAS is installed.
func PureGo() Option { return func(e *Engine) { e.blas = BLAS{} } }

// New makes an engine. The first call in a process gives Gorgonia, whose BLAS is one for the
// process, the BLAS that FindBLAS finds.
func New(options ...Option) *Engine {
	useGorgonia()
	e := &Engine{blas: FindBLAS(), custom: map[string]Builder{}}
	for _, o := range options {
		o(e)
	}
	return e
}

// Name returns "gorgonia".
func (e *Engine) Name() string { return "gorgonia" }

// Description says in a line what computes.
func (e *Engine) Description() string {
	return "gorgonia: portable CPU engine in Go, matrix products by " + e.blas.String()
}

// Open implements engine.Engine.
func (e *Engine) Open(m *model.Network, mem engine.Memory, opt engine.Options) (engine.Net, error) {
	if err := mem.Check(m); err != nil {
		return nil, fmt.Errorf("gorgonia: opening %s: %w", m.Name, err)
	}
	if opt.Threads < 1 {
		return nil, fmt.Errorf("gorgonia: opening %s: %d threads are too few: use at least 1", m.Name, opt.Threads)
	}
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		if err := e.known(m.Layers(s)); err != nil {
			return nil, fmt.Errorf("gorgonia: opening %s: %w", m.Name, err)
		}
	}
	return &network{
		model: m, mem: mem, threads: opt.Threads, blas: e.blas, custom: e.custom,
		scratches: make([][]float32, opt.Threads), idle: map[key][]*program{},
	}, nil
}

// known refuses layers that the engine cannot compute.
func (e *Engine) known(layers []model.Layer) error {
	for _, l := range layers {
		switch l := l.(type) {
		case *model.Residual:
			if err := e.known(l.Main); err != nil {
				return err
			}
			if err := e.known(l.Shortcut); err != nil {
				return err
			}
		case *model.External:
			if e.custom[l.Name] == nil {
				return fmt.Errorf("layer %s is external: create the engine with gorgonia.Custom(%q, ...)", l.Name, l.Name)
			}
		case *model.Conv, *model.BatchNorm, *model.GroupNorm, *model.ReLU, *model.MaxPool, *model.AvgMaxPool, *model.Linear, *model.L2Norm:
		default:
			return fmt.Errorf("a layer of kind %T is unknown to this engine", l)
		}
	}
	return nil
}

// network is an opened network: its programs and the memory they share.
type network struct {
	model   *model.Network
	mem     engine.Memory
	threads int
	blas    gemm
	custom  map[string]Builder

	arena     arena
	scratches [][]float32 // one for each worker of parallel
	idle      map[key][]*program
	recent    []key // keys with idle programs, the least recently used first
	closed    bool
}

// maxKeys bounds the programs kept: a run needs two stages in two modes, with two numbers of rows
// each because the last rows of an evaluation are fewer.
const maxKeys = 12

// scratch returns n floats of a worker's own; only one kernel runs at a time.
func (net *network) scratch(worker, n int) []float32 {
	if cap(net.scratches[worker]) < n {
		net.scratches[worker] = make([]float32, n)
	}
	return net.scratches[worker][:n]
}

func (net *network) buffer(ref model.Ref) []float32 {
	return net.model.Buffers[ref].Slice(net.mem.Buffers)
}

func (net *network) bufferSum(ref model.Ref) []float32 {
	return net.model.Buffers[ref].Slice(net.mem.BufferSums)
}

// Forward implements engine.Net.
func (net *network) Forward(stage model.Stage, mode engine.Mode, x []float32, n int) (engine.Tape, error) {
	size := net.model.StageInput(stage).Size()
	switch {
	case net.closed:
		return nil, fmt.Errorf("gorgonia: forward of the %v: the network is closed", stage)
	case stage != model.Trunk && stage != model.Head, mode > engine.Eval:
		return nil, fmt.Errorf("gorgonia: forward of %v in mode %d: there is no such stage or mode", stage, mode)
	case n < 1 || len(x) != n*size:
		return nil, fmt.Errorf("gorgonia: forward of the %v: %d rows of %d floats do not make %d floats", stage, n, size, len(x))
	}
	p, err := net.acquire(key{stage, mode, n})
	if err != nil {
		return nil, err
	}
	t := &tape{p: p}
	if mode != engine.Eval { // x is the caller's again after this call
		t.x = net.arena.get(len(x))
		copy(t.x, x)
		x = t.x
	}
	if err := p.forward(x); err != nil {
		t.Release()
		return nil, fmt.Errorf("gorgonia: forward of the %v, %d rows: %w", stage, n, err)
	}
	return t, nil
}

// acquire takes an idle program for k, or builds one.
func (net *network) acquire(k key) (*program, error) {
	if list := net.idle[k]; len(list) > 0 {
		net.idle[k] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	net.arena.trim()
	return net.newProgram(k)
}

// giveBack keeps a program for the next forward of its key, and forgets the key that has waited
// longest when there are too many.
func (net *network) giveBack(p *program) {
	p.reset()
	if net.closed {
		return
	}
	for i, k := range net.recent {
		if k == p.key {
			net.recent = append(net.recent[:i], net.recent[i+1:]...)
			break
		}
	}
	net.recent = append(net.recent, p.key)
	if len(net.recent) > maxKeys {
		delete(net.idle, net.recent[0])
		net.recent = net.recent[1:]
	}
	net.idle[p.key] = append(net.idle[p.key], p)
}

// Backward implements engine.Net.
func (net *network) Backward(t engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	own, ok := t.(*tape)
	switch {
	case !ok || own.p == nil || own.p.net != net:
		return nil, fmt.Errorf("gorgonia: backward: the tape is not of this network, or already consumed")
	case own.p.mode == engine.Eval:
		return nil, fmt.Errorf("gorgonia: backward of the %v: a tape of an Eval forward cannot go backward: use Frozen", own.p.stage)
	case len(dOut) != len(own.p.out):
		return nil, fmt.Errorf("gorgonia: backward of the %v: the gradient has %d floats, the output %d", own.p.stage, len(dOut), len(own.p.out))
	}
	defer own.Release()
	if opt.SkipParams && !opt.Input {
		return nil, nil
	}
	dx, err := own.p.backward(dOut, opt)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: backward of the %v: %w", own.p.stage, err)
	}
	return dx, nil
}

// Close implements engine.Net.
func (net *network) Close() error {
	net.closed = true
	net.arena.trim()
	clear(net.idle)
	net.recent, net.scratches = nil, nil
	return nil
}

// tape is a program that stands between forward and backward.
type tape struct {
	p *program
	x []float32 // copy of the input, from the arena
}

// Out implements engine.Tape.
func (t *tape) Out() []float32 {
	if t.p == nil {
		return nil
	}
	return t.p.out
}

// Release implements engine.Tape.
func (t *tape) Release() {
	if t.p == nil {
		return
	}
	net := t.p.net
	net.giveBack(t.p)
	if t.x != nil {
		net.arena.put(t.x)
	}
	*t = tape{}
}

var _ gg.Op = (*op)(nil)
