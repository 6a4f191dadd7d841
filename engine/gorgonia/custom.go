package gorgonia

import (
	"fmt"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
)

// Graph is what a user's builder gets to work with.
type Graph struct {
	*gg.ExprGraph
	// X holds n rows of the layer's input, n x C x H x W.
	X *gg.Node
	// Params holds the declared parameters by their declared names.
	Params map[string]*gg.Node
	// Mode says what the graph is for; graphs that do not care ignore it.
	Mode engine.Mode
}

// Builder adds a user's layer to a graph and returns its output: n rows, row-major, of the size the
// layer declares as its Out. It is called once for every number of rows and mode, and must build the
// same computation each time. Gorgonia differentiates what it builds; every declared parameter must
// take part.
type Builder func(g Graph) (*gg.Node, error)

// Custom brings the computation of the model.External layers of the given name.
func Custom(name string, build Builder) Option {
	return func(e *Engine) { e.custom[name] = build }
}

// external lets the user's builder continue the graph. Its parameters pass through an op each, so
// that their gradients can be collected where they arise.
func (p *program) external(l *model.External, x *gg.Node) (*gg.Node, error) {
	g := Graph{ExprGraph: p.graph, X: x, Params: map[string]*gg.Node{}, Mode: p.mode}
	for i, declared := range l.Params {
		n, err := p.tapParam(l.Refs[i])
		if err != nil {
			return nil, err
		}
		g.Params[declared.Name] = n
	}
	y, err := p.net.custom[l.Name](g)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.Name, err)
	}
	if y == nil || y.Shape().TotalSize() != p.n*l.Out.Size() {
		return nil, fmt.Errorf("layer %s: the graph must return %d rows of %v", l.Name, p.n, l.Out)
	}
	for _, declared := range l.Params {
		if p.graph.To(g.Params[declared.Name].ID()).Len() == 0 {
			return nil, fmt.Errorf("parameter %s of layer %s is not used in its graph", declared.Name, l.Name)
		}
	}
	return p.reshape(l.Name, y, l.Out)
}

// tapParam copies a parameter into the graph: Gorgonia's operations may overwrite what they read.
// The gradient that comes back is added to Grads.
func (p *program) tapParam(ref model.Ref) (*gg.Node, error) {
	v := p.net.model.Params[ref]
	o := &op{name: v.Name, out: v.Shape, wrt: []bool{true}}
	o.run = func(dst []float32, in [][]float32) error {
		copy(dst, in[0])
		return nil
	}
	o.diff = func(_ gg.Nodes, _, grad *gg.Node) (gg.Nodes, error) {
		d := p.gradOp(v.Name+"'", ref)
		d.run = p.paramGrad(ref, func(dst []float32, in [][]float32) error {
			if len(in[0]) != len(dst) {
				return fmt.Errorf("the gradient by %s has %d values, not %d", v.Name, len(in[0]), len(dst))
			}
			addTo(dst, in[0])
			return nil
		})
		node, err := p.apply(d, grad)
		return gg.Nodes{node}, err
	}
	return p.apply(o, p.param(ref))
}

// reshape copies the user's output into rows of the declared shape.
func (p *program) reshape(name string, y *gg.Node, out model.Shape) (*gg.Node, error) {
	copyRows := func(dst, src []float32) { copy(dst, src) }
	return p.unary(name+".out", y, out, copyRows, copyRows)
}
