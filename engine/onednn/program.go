package onednn

import (
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// key says what a program computes.
type key struct {
	stage model.Stage
	mode  engine.Mode
	n     int
}

// program is one stage over n rows, forward and backward. It serves any number of tapes, one call at
// a time.
type program struct {
	key
	net       *network
	graph     *graph
	forward   *half
	backward  [2]*half // without and with the gradient by the input; made when first asked for
	tapeBytes int64
	sums      []sums // by norm
}

func (net *network) newProgram(k key) (*program, error) {
	g, err := net.newGraph(k.stage, k.mode)
	if err != nil {
		return nil, err
	}
	p := &program{key: k, net: net, graph: g}
	b := g.builder(k.n, false)
	for _, o := range g.ops {
		o.forward(b)
	}
	if p.forward, err = b.finish(); err != nil {
		return nil, err
	}
	p.tapeBytes = b.tape
	for _, n := range g.norms {
		size := k.n * n.channels
		p.sums = append(p.sums, sums{make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, size)})
	}
	directions := 2
	if k.mode == engine.Eval {
		directions = 1
	}
	return p, net.claim(g.convs, directions)
}

// back returns the backward half.
func (p *program) back(input bool) (*half, error) {
	i := count(input)
	if p.backward[i] != nil {
		return p.backward[i], nil
	}
	b := p.graph.builder(p.n, input)
	for _, v := range p.graph.values {
		v.gradient = nil
		v.buf.pinned = -1
	}
	for j := len(p.graph.ops) - 1; j >= 0; j-- {
		p.graph.ops[j].backward(b)
	}
	h, err := b.finish()
	p.backward[i] = h
	return h, err
}

// execution is one run of one half of a program.
type execution struct {
	net  *network
	p    *program
	n    int
	tape *tape
	slab uintptr

	x, out, dOut, dIn []float32
	opt               engine.Backward
	done              []bool // by parameter: its gradient is complete
	next              int    // parameters from here on have been reported
}

// at is the address of a buffer for a span's rows.
func (r *execution) at(w *worker, b *buffer, s span) uintptr {
	switch {
	case b == nil:
		return 0
	case b.onTape:
		return r.tape.memory.address() + uintptr(b.at+int64(s.lo)*b.row)
	case b.local:
		return w.local.address() + uintptr(b.at)
	}
	return r.slab + uintptr(b.at+int64(s.lo)*b.row)
}

// run goes through the sections.
func (r *execution) run(h *half) error {
	net := r.net
	for _, w := range net.workers {
		if err := w.equip(net.lib, h.scratch, h.local); err != nil {
			return err
		}
	}
	slab, err := net.arena.get(h.slab)
	if err != nil {
		return err
	}
	defer net.arena.put(slab)
	r.slab = slab.address()
	for _, s := range h.sections {
		if err := r.section(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *execution) section(s *section) error {
	extra := s.extra
	if r.opt.SkipParams {
		extra = nil
	}
	err := parallel(r.net.workers, len(extra)+len(s.spans), func(w *worker, i int) {
		if i < len(extra) {
			extra[i](r, w)
			return
		}
		for _, do := range s.steps {
			if do(r, w, s.spans[i-len(extra)]); w.err != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	for _, do := range s.after {
		do(r)
	}
	return nil
}

// report marks the gradients of parameters as complete, and calls Ready for each parameter once all
// later ones are complete too, so that ranges come in falling order.
func (r *execution) report(refs ...model.Ref) {
	for _, ref := range refs {
		if ref != model.None {
			r.done[ref] = true
		}
	}
	for r.next > 0 && r.done[r.next-1] {
		r.next--
		if p := r.net.model.Params[r.next]; r.opt.Ready != nil && !r.opt.SkipParams && p.Stage == r.p.stage {
			r.opt.Ready(p.Offset, p.Offset+p.Size)
		}
	}
}

// unreported is where the parameters of later stages begin.
func (p *program) unreported() int {
	i := len(p.net.model.Params)
	for i > 0 && p.net.model.Params[i-1].Stage != p.stage {
		i--
	}
	return i
}
