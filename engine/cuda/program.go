package cuda

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// key says what a program computes.
type key struct {
	stage  model.Stage
	mode   engine.Mode
	n      int
	images images
}

// images is what the trunk takes in place of floats: bytes, see engine.Images. Height is 0 for floats.
type images struct {
	height, width   int
	mean, deviation [3]float32
}

// bytes is what n images take.
func (i images) bytes(n int) int64 { return 3 * int64(n) * int64(i.height) * int64(i.width) }

// program is one stage over n rows, forward and backward. It serves any number of tapes.
type program struct {
	key
	graph    *graph
	forward  *half
	backward [2]*half // without and with the gradient by the input; made when first asked for
	tape     int64    // bytes of a tape
}

func newProgram(l *layout, k key) (*program, error) {
	g, err := newGraph(l, k.stage, k.mode)
	if err != nil {
		return nil, err
	}
	g.images = k.images
	p := &program{key: k, graph: g}
	if err := p.enoughRows(); err != nil {
		return nil, err
	}
	b := g.builder(k.n, false, 0)
	for _, o := range g.ops {
		o.forward(b)
	}
	p.forward, p.tape = b.finish(), b.tape
	p.forward.hand = nil
	return p, nil
}

// enoughRows refuses statistics of one value, whose unbiased variance does not exist, and more values
// than cuDNN counts.
func (p *program) enoughRows() error {
	const most = 1 << 31
	for _, o := range p.graph.ops {
		n, ok := o.(*norm)
		if ok && n.live() && int64(p.n)*int64(n.x.area()) < 2 {
			return fmt.Errorf("batch norm %s sees one value per channel: use more rows in a call, or frozen batch norm", n.name)
		}
	}
	for _, v := range p.graph.values {
		if v.size(p.n) >= most {
			return fmt.Errorf("%d rows of %v are too many for one call: use fewer", p.n, v.shape)
		}
	}
	return nil
}

// back returns the backward half.
func (p *program) back(input bool) *half {
	i := 0
	if input {
		i = 1
	}
	if p.backward[i] == nil {
		b := p.graph.builder(p.n, input, p.tape)
		for j := len(p.graph.ops) - 1; j >= 0; j-- {
			p.graph.ops[j].backward(b)
		}
		p.backward[i] = b.finish()
	}
	return p.backward[i]
}
