package model

// NormEps is added to variances by BatchNorm and GroupNorm.
const NormEps = 1e-5

// L2Eps is the length below which L2Norm divides by L2Eps instead and lets no gradient through.
const L2Eps = 1e-12

// Layer is one of the kinds of this file: *Conv, *BatchNorm, *GroupNorm, *ReLU, *MaxPool,
// *Residual, *AvgMaxPool, *Linear, *L2Norm, *External. Fields of type Ref are set by Assemble.
type Layer interface {
	// Output is the shape of a row that leaves the layer when one of shape in enters. It assumes
	// that the layer accepts in, which Assemble checks.
	Output(in Shape) Shape
	// assemble checks the layer against the shape it sees and lays out its parameters.
	assemble(b *builder, in Shape) error
}

// Conv is a square convolution (cross-correlation, as in every framework) with zero padding. Its
// weight is Out x In x Kernel x Kernel.
type Conv struct {
	Name                         string
	In, Out, Kernel, Stride, Pad int
	Bias                         bool
	W, B                         Ref
}

// BatchNorm normalises each channel over the rows and pixels of a forward (biased variance), or
// with the running statistics Mean and Var, which are Refs into Network.Buffers. Then it scales by
// W and shifts by B.
type BatchNorm struct {
	Name      string
	Channels  int
	W, B      Ref
	Mean, Var Ref
}

// GroupNorm normalises each row by itself, over the pixels of Groups equal groups of channels, then
// scales by W and shifts by B per channel.
type GroupNorm struct {
	Name             string
	Channels, Groups int
	W, B             Ref
}

// ReLU is max(x, 0); its gradient at 0 is 0.
type ReLU struct{}

// MaxPool takes the largest value of each Kernel x Kernel window; padding never wins. The gradient
// goes to the first largest value in row-major order.
type MaxPool struct {
	Name                string
	Kernel, Stride, Pad int
}

// Residual adds two branches of the same input. An empty Shortcut passes the input on.
type Residual struct {
	Name           string
	Main, Shortcut []Layer
}

// AvgMaxPool adds the global average and the global maximum of each channel: C x H x W to C. The
// gradient of the maximum goes to its first position.
type AvgMaxPool struct{}

// Linear multiplies a flattened row by the transpose of the Out x In weight and adds the bias.
type Linear struct {
	Name    string
	In, Out int
	Bias    bool
	W, B    Ref
}

// L2Norm divides a row by its Euclidean length.
type L2Norm struct{}

// External is a layer whose computation the user brings to an engine under the same name, for
// example as a graph of the engine's own library. Only its parameters and output shape are known
// here. An engine to which nothing was brought under that name refuses to open the network.
type External struct {
	Name   string
	Params []Declared
	Out    Shape
	Refs   []Ref // one for each of Params
}

// Declared is a parameter of an External layer. Its name in the network is the layer's name, a dot,
// and Name.
type Declared struct {
	Name  string
	Shape []int
	Start Start
	Decay bool
}

// window is the output length of a sliding window of k with stride s and padding p over n.
func window(n, k, s, p int) int { return (n+2*p-k)/s + 1 }

// Output implements Layer.
func (c *Conv) Output(in Shape) Shape {
	return Shape{c.Out, window(in.H, c.Kernel, c.Stride, c.Pad), window(in.W, c.Kernel, c.Stride, c.Pad)}
}

// Output implements Layer.
func (*BatchNorm) Output(in Shape) Shape { return in }

// Output implements Layer.
func (*GroupNorm) Output(in Shape) Shape { return in }

// Output implements Layer.
func (*ReLU) Output(in Shape) Shape { return in }

// Output implements Layer.
func (m *MaxPool) Output(in Shape) Shape {
	return Shape{in.C, window(in.H, m.Kernel, m.Stride, m.Pad), window(in.W, m.Kernel, m.Stride, m.Pad)}
}

// Output implements Layer.
func (r *Residual) Output(in Shape) Shape {
	for _, l := range r.Main {
		in = l.Output(in)
	}
	return in
}

// Output implements Layer.
func (*AvgMaxPool) Output(in Shape) Shape { return Shape{in.C, 1, 1} }

// Output implements Layer.
func (l *Linear) Output(Shape) Shape { return Shape{l.Out, 1, 1} }

// Output implements Layer.
func (*L2Norm) Output(in Shape) Shape { return in }

// Output implements Layer.
func (e *External) Output(Shape) Shape { return e.Out }
