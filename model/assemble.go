package model

import "fmt"

// maxFloats bounds one row and the whole parameter block: 2^31 floats are 8 GiB.
const maxFloats = 1 << 31

// builder lays parameters out while the layers are walked in canonical order.
type builder struct {
	stage           Stage
	params, buffers []Param
	seen            map[string]bool
	numParams       int
	numBuffers      int
}

// Assemble makes a network of layers: it checks every layer against the shape it sees, lays the
// parameters out and sets the layers' Refs. The layers must not be used in another network. The
// head must end in a vector, normally through L2Norm. Errors name the layer.
func Assemble(name string, input Shape, trunk, head []Layer) (*Network, error) {
	if input.C < 1 || input.H < 1 || input.W < 1 {
		return nil, fmt.Errorf("model: %s: the input shape %v must be at least 1 in each extent", name, input)
	}
	b := &builder{seen: map[string]bool{}}
	features, err := b.layers(Trunk, trunk, input)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", name, err)
	}
	out, err := b.layers(Head, head, features)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", name, err)
	}
	if out.H != 1 || out.W != 1 {
		return nil, fmt.Errorf("model: %s: the head ends in %v, but an embedding is a vector: pool or flatten before", name, out)
	}
	return &Network{
		Name: name, Input: input, Features: features, Dim: out.C,
		Params: b.params, Buffers: b.buffers, Trunk: trunk, Head: head,
	}, nil
}

func (b *builder) layers(s Stage, layers []Layer, in Shape) (Shape, error) {
	b.stage = s
	for i, l := range layers {
		if l == nil {
			return in, fmt.Errorf("layer %d of the %v is nil", i, s)
		}
		out, err := b.layer(l, in)
		if err != nil {
			return in, err
		}
		in = out
	}
	return in, nil
}

func (b *builder) layer(l Layer, in Shape) (Shape, error) {
	if err := l.assemble(b, in); err != nil {
		return in, err
	}
	out := l.Output(in)
	if out.C < 1 || out.H < 1 || out.W < 1 || out.C > maxFloats || out.H*out.W > maxFloats/out.C {
		return in, fmt.Errorf("layer %s turns %v into %v, which is empty or too large", label(l), in, out)
	}
	return out, nil
}

// param appends one parameter; the dimensions are at least 1.
func (b *builder) param(name string, start Start, decay bool, shape ...int) (Ref, error) {
	size, err := b.name(name, shape)
	if err != nil {
		return None, err
	}
	if b.numParams+size > maxFloats {
		return None, fmt.Errorf("parameter %s makes the network larger than %d floats", name, maxFloats)
	}
	b.params = append(b.params, Param{
		Name: name, Shape: shape, Offset: b.numParams, Size: size, Stage: b.stage, Decay: decay, Start: start,
	})
	b.numParams += size
	return Ref(len(b.params) - 1), nil
}

func (b *builder) buffer(name string, start Start, size int) (Ref, error) {
	if _, err := b.name(name, []int{size}); err != nil {
		return None, err
	}
	b.buffers = append(b.buffers, Param{
		Name: name, Shape: []int{size}, Offset: b.numBuffers, Size: size, Stage: b.stage, Start: start,
	})
	b.numBuffers += size
	return Ref(len(b.buffers) - 1), nil
}

// name checks that a view's name is new and its shape sane, and returns its size.
func (b *builder) name(name string, shape []int) (int, error) {
	if b.seen[name] {
		return 0, fmt.Errorf("two views are called %q: give the layers distinct names", name)
	}
	b.seen[name] = true
	size := 1
	for _, d := range shape {
		if d < 1 || size > maxFloats/d {
			return 0, fmt.Errorf("parameter %s has the impossible shape %v", name, shape)
		}
		size *= d
	}
	return size, nil
}

// label names a layer in an error.
func label(l Layer) string {
	switch l := l.(type) {
	case *Conv:
		return l.Name
	case *BatchNorm:
		return l.Name
	case *GroupNorm:
		return l.Name
	case *MaxPool:
		return l.Name
	case *Residual:
		return l.Name
	case *Linear:
		return l.Name
	case *External:
		return l.Name
	}
	return fmt.Sprintf("%T", l)
}

func checkWindow(name string, kernel, stride, pad int, in Shape) error {
	if kernel < 1 || stride < 1 || pad < 0 || pad >= kernel {
		return fmt.Errorf("layer %s: kernel %d, stride %d, padding %d are impossible: need kernel >= 1, stride >= 1, 0 <= padding < kernel", name, kernel, stride, pad)
	}
	if in.H+2*pad < kernel || in.W+2*pad < kernel {
		return fmt.Errorf("layer %s: a window of %d does not fit into %v: use larger images", name, kernel, in)
	}
	return nil
}

func (c *Conv) assemble(b *builder, in Shape) (err error) {
	if c.In != in.C || c.Out < 1 {
		return fmt.Errorf("layer %s: a convolution from %d to %d channels cannot take %v", c.Name, c.In, c.Out, in)
	}
	if err := checkWindow(c.Name, c.Kernel, c.Stride, c.Pad, in); err != nil {
		return err
	}
	if c.W, err = b.param(c.Name+".weight", Kaiming, true, c.Out, c.In, c.Kernel, c.Kernel); err != nil {
		return err
	}
	c.B = None
	if c.Bias {
		c.B, err = b.param(c.Name+".bias", Zero, false, c.Out)
	}
	return err
}

// scaleShift lays out the two parameters of a norm.
func (b *builder) scaleShift(name string, channels int) (w, s Ref, err error) {
	if w, err = b.param(name+".weight", One, false, channels); err != nil {
		return None, None, err
	}
	s, err = b.param(name+".bias", Zero, false, channels)
	return w, s, err
}

func (n *BatchNorm) assemble(b *builder, in Shape) (err error) {
	if n.Channels != in.C {
		return fmt.Errorf("layer %s: a batch norm of %d channels cannot take %v", n.Name, n.Channels, in)
	}
	if n.W, n.B, err = b.scaleShift(n.Name, n.Channels); err != nil {
		return err
	}
	if n.Mean, err = b.buffer(n.Name+".running_mean", Zero, n.Channels); err != nil {
		return err
	}
	n.Var, err = b.buffer(n.Name+".running_var", One, n.Channels)
	return err
}

func (n *GroupNorm) assemble(b *builder, in Shape) (err error) {
	if n.Channels != in.C || n.Groups < 1 || n.Channels%n.Groups != 0 {
		return fmt.Errorf("layer %s: a group norm of %d channels in %d groups cannot take %v", n.Name, n.Channels, n.Groups, in)
	}
	n.W, n.B, err = b.scaleShift(n.Name, n.Channels)
	return err
}

func (*ReLU) assemble(*builder, Shape) error { return nil }

func (m *MaxPool) assemble(_ *builder, in Shape) error {
	return checkWindow(m.Name, m.Kernel, m.Stride, m.Pad, in)
}

func (r *Residual) assemble(b *builder, in Shape) error {
	main, err := b.layers(b.stage, r.Main, in)
	if err != nil {
		return err
	}
	short, err := b.layers(b.stage, r.Shortcut, in)
	if err != nil {
		return err
	}
	if main != short {
		return fmt.Errorf("layer %s: the main branch gives %v and the shortcut %v: they cannot be added", r.Name, main, short)
	}
	return nil
}

func (*AvgMaxPool) assemble(*builder, Shape) error { return nil }

func (l *Linear) assemble(b *builder, in Shape) (err error) {
	if l.In != in.Size() || l.Out < 1 {
		return fmt.Errorf("layer %s: a linear layer from %d to %d values cannot take %v", l.Name, l.In, l.Out, in)
	}
	if l.W, err = b.param(l.Name+".weight", Kaiming, true, l.Out, l.In); err != nil {
		return err
	}
	l.B = None
	if l.Bias {
		l.B, err = b.param(l.Name+".bias", Zero, false, l.Out)
	}
	return err
}

func (*L2Norm) assemble(_ *builder, in Shape) error {
	if in.H != 1 || in.W != 1 {
		return fmt.Errorf("an L2 norm takes a vector, not %v: pool before", in)
	}
	return nil
}

func (e *External) assemble(b *builder, _ Shape) error {
	e.Refs = make([]Ref, len(e.Params))
	for i, p := range e.Params {
		ref, err := b.param(e.Name+"."+p.Name, p.Start, p.Decay, p.Shape...)
		if err != nil {
			return err
		}
		e.Refs[i] = ref
	}
	return nil
}
