package weights

import (
	"fmt"
	"io"

	"github.com/metrixml/metrix/model"
)

// The names of an ONNX file's input, N x C x H x W normalised images, and output, N x Dim unit
// embeddings.
const (
	InputName  = "images"
	OutputName = "embeddings"
)

// writeONNX writes network, head and normalisation as one graph of standard operations of opset 17.
// Batch norms stay operations of their own with the running statistics; runtimes fold them into the
// convolutions themselves.
func writeONNX(w io.Writer, m Model) error {
	g := &graph{network: m.Network, params: m.Params, buffers: m.Buffers, have: map[string]bool{}}
	v := value{name: InputName, shape: m.Network.Input}
	for _, s := range []model.Stage{model.Trunk, model.Head} {
		var err error
		if v, err = g.layers(m.Network.Layers(s), v); err != nil {
			return err
		}
	}
	g.finish(g.flatten(v))
	return g.encode(w, m.Metadata)
}

// graph is an ONNX graph in the making.
type graph struct {
	network         *model.Network
	params, buffers []float32
	nodes           []onnxNode
	tensors         []onnxTensor
	have            map[string]bool // names of tensors
}

// value is what flows between nodes: rows of a shape, N x C x H x W or, flat, N x C.
type value struct {
	name  string
	shape model.Shape
	flat  bool
}

// node adds an operation and returns the name of its output. An empty name numbers it.
func (g *graph) node(op, name string, inputs []string, attributes ...attribute) string {
	if name == "" {
		name = fmt.Sprintf("%s_%d", op, len(g.nodes))
	}
	g.nodes = append(g.nodes, onnxNode{op: op, name: name, output: name + "_out", inputs: inputs, attributes: attributes})
	return name + "_out"
}

// param adds the parameter as a constant, with other extents than its own if some are given, and
// returns its name.
func (g *graph) param(ref model.Ref, dims ...int) string {
	p := g.network.Params[ref]
	if len(dims) == 0 {
		dims = p.Shape
	}
	return g.floats(p.Name, p.Slice(g.params), dims...)
}

func (g *graph) buffer(ref model.Ref) string {
	b := g.network.Buffers[ref]
	return g.floats(b.Name, b.Slice(g.buffers), b.Shape...)
}

func (g *graph) floats(name string, data []float32, dims ...int) string {
	if !g.have[name] {
		g.have[name] = true
		g.tensors = append(g.tensors, onnxTensor{name: name, dims: dims, floats: data})
	}
	return name
}

func (g *graph) ints(name string, data ...int) string {
	g.tensors = append(g.tensors, onnxTensor{name: name, dims: []int{len(data)}, ints: data})
	return name
}

func (g *graph) layers(layers []model.Layer, v value) (value, error) {
	for _, l := range layers {
		var err error
		if v, err = g.layer(l, v); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (g *graph) layer(l model.Layer, v value) (value, error) {
	out := l.Output(v.shape)
	switch l := l.(type) {
	case *model.Conv:
		return value{g.conv(l, v), out, false}, nil
	case *model.BatchNorm:
		inputs := []string{v.name, g.param(l.W), g.param(l.B), g.buffer(l.Mean), g.buffer(l.Var)}
		return value{g.node("BatchNormalization", l.Name, inputs, attribute{"epsilon", float32(model.NormEps)}), out, v.flat}, nil
	case *model.GroupNorm:
		return value{g.groupNorm(l, v), out, false}, nil
	case *model.ReLU:
		return value{g.node("Relu", "", []string{v.name}), out, v.flat}, nil
	case *model.MaxPool:
		return value{g.node("MaxPool", l.Name, []string{v.name}, window(l.Kernel, l.Stride, l.Pad)...), out, false}, nil
	case *model.Residual:
		return g.residual(l, v)
	case *model.AvgMaxPool:
		average := g.node("GlobalAveragePool", "", []string{v.name})
		largest := g.node("GlobalMaxPool", "", []string{v.name})
		return g.flatten(value{g.node("Add", "pool", []string{average, largest}), out, false}), nil
	case *model.Linear:
		return value{g.linear(l, g.flatten(v)), out, true}, nil
	case *model.L2Norm:
		in := g.flatten(v).name
		return value{g.node("LpNormalization", "l2norm", []string{in}, attribute{"axis", 1}, attribute{"p", 2}), out, true}, nil
	case *model.External:
		return v, fmt.Errorf("layer %s is external: its computation is not known here, so export to safetensors instead", l.Name)
	}
	return v, fmt.Errorf("a layer of kind %T cannot be written as ONNX", l)
}

// window are the attributes of a sliding window.
func window(kernel, stride, pad int) []attribute {
	return []attribute{
		{"kernel_shape", []int{kernel, kernel}}, {"strides", []int{stride, stride}}, {"pads", []int{pad, pad, pad, pad}},
	}
}

func (g *graph) conv(l *model.Conv, v value) string {
	inputs := []string{v.name, g.param(l.W)}
	if l.B != model.None {
		inputs = append(inputs, g.param(l.B))
	}
	return g.node("Conv", l.Name, inputs, window(l.Kernel, l.Stride, l.Pad)...)
}

// groupNorm writes a group norm as an instance norm over N x Groups x rest, which every opset has, then
// scale and shift by channel. Group norm as an operation of its own came with opset 18 and was
// redefined with 21.
func (g *graph) groupNorm(l *model.GroupNorm, v value) string {
	ones := make([]float32, l.Groups)
	for i := range ones {
		ones[i] = 1
	}
	groups := g.node("Reshape", l.Name+".groups", []string{v.name, g.ints(l.Name+".groups_shape", 0, l.Groups, -1)})
	inputs := []string{
		groups,
		g.floats(fmt.Sprintf("ones_%d", l.Groups), ones, l.Groups),
		g.floats(fmt.Sprintf("zeros_%d", l.Groups), make([]float32, l.Groups), l.Groups),
	}
	normed := g.node("InstanceNormalization", l.Name, inputs, attribute{"epsilon", float32(model.NormEps)})
	shape := g.ints(l.Name+".shape", 0, v.shape.C, v.shape.H, v.shape.W)
	back := g.node("Reshape", l.Name+".channels", []string{normed, shape})
	scaled := g.node("Mul", l.Name+".scale", []string{back, g.param(l.W, l.Channels, 1, 1)})
	return g.node("Add", l.Name+".shift", []string{scaled, g.param(l.B, l.Channels, 1, 1)})
}

func (g *graph) residual(l *model.Residual, v value) (value, error) {
	main, err := g.layers(l.Main, v)
	if err != nil {
		return v, err
	}
	short, err := g.layers(l.Shortcut, v)
	if err != nil {
		return v, err
	}
	return value{g.node("Add", l.Name, []string{main.name, short.name}), main.shape, main.flat}, nil
}

func (g *graph) linear(l *model.Linear, v value) string {
	inputs := []string{v.name, g.param(l.W)}
	if l.B != model.None {
		inputs = append(inputs, g.param(l.B))
	}
	return g.node("Gemm", l.Name, inputs, attribute{"transB", 1})
}

// flatten makes rows vectors.
func (g *graph) flatten(v value) value {
	if v.flat {
		return v
	}
	return value{g.node("Flatten", "", []string{v.name}, attribute{"axis", 1}), v.shape, true}
}

// finish gives the last value the output's name.
func (g *graph) finish(v value) {
	if n := len(g.nodes); n > 0 && g.nodes[n-1].output == v.name {
		g.nodes[n-1].output = OutputName
		return
	}
	g.node("Identity", OutputName, []string{v.name})
	g.nodes[len(g.nodes)-1].output = OutputName
}
