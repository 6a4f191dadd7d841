package model

import "fmt"

// Spec says which network to build. The zero values of Norm and Width mean the architecture's own.
type Spec struct {
	// Arch is "conv4", "resnet18", "resnet34", "resnet50" or "resnet101".
	Arch string
	// Side is the height and width of an image in pixels, 16 to 1024; ResNets need 32.
	Side int
	// Dim is the length of an embedding, 1 to 8192.
	Dim int
	// Norm is "group" or "batch". The default is group for conv4 and batch for ResNets.
	Norm string
	// Width is the number of channels of the first stage, a multiple of 8 up to 512. The default is
	// 32 for conv4 and 64, torchvision's, for ResNets.
	Width int
}

// withDefaults fills the values that depend on the architecture.
func (s Spec) withDefaults() Spec {
	norm, width := "batch", 64
	if s.Arch == "conv4" {
		norm, width = "group", 32
	}
	if s.Norm == "" {
		s.Norm = norm
	}
	if s.Width == 0 {
		s.Width = width
	}
	return s
}

// Validate says in a sentence what is wrong with a spec.
func (s Spec) Validate() error {
	s = s.withDefaults()
	least := 32
	switch s.Arch {
	case "conv4":
		least = 16
	case "resnet18", "resnet34", "resnet50", "resnet101":
	default:
		return fmt.Errorf("model: the architecture %q is unknown: use conv4, resnet18, resnet34, resnet50 or resnet101", s.Arch)
	}
	if s.Side < least || s.Side > 1024 {
		return fmt.Errorf("model: %s takes images of %d to 1024 pixels a side, not %d", s.Arch, least, s.Side)
	}
	if s.Dim < 1 || s.Dim > 8192 {
		return fmt.Errorf("model: an embedding has 1 to 8192 dimensions, not %d", s.Dim)
	}
	if s.Norm != "group" && s.Norm != "batch" {
		return fmt.Errorf("model: the norm %q is unknown: use group or batch", s.Norm)
	}
	if s.Width < 8 || s.Width > 512 || s.Width%8 != 0 {
		return fmt.Errorf("model: the width is a multiple of 8 from 8 to 512, not %d", s.Width)
	}
	return nil
}

// Build makes the network of a spec. Its errors are those of Validate.
func Build(spec Spec) (*Network, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	spec = spec.withDefaults()
	var trunk []Layer
	var channels int
	switch spec.Arch {
	case "conv4":
		trunk, channels = conv4(spec)
	case "resnet18":
		trunk, channels = resnet(spec, basicBlock, [4]int{2, 2, 2, 2})
	case "resnet34":
		trunk, channels = resnet(spec, basicBlock, [4]int{3, 4, 6, 3})
	case "resnet50":
		trunk, channels = resnet(spec, bottleneck, [4]int{3, 4, 6, 3})
	case "resnet101":
		trunk, channels = resnet(spec, bottleneck, [4]int{3, 4, 23, 3})
	}
	return Assemble(spec.Arch, Shape{3, spec.Side, spec.Side}, trunk, EmbeddingHead(channels, spec.Dim))
}

// EmbeddingHead is the head of every network built here: global average plus global maximum pooling,
// a linear layer "embedding" from channels to dim values, and the L2 norm.
func EmbeddingHead(channels, dim int) []Layer {
	return []Layer{
		&AvgMaxPool{},
		&Linear{Name: "embedding", In: channels, Out: dim, Bias: true},
		&L2Norm{},
	}
}

// normLayer makes the norm a spec asks for.
func (s Spec) normLayer(name string, channels, groups int) Layer {
	if s.Norm == "batch" {
		return &BatchNorm{Name: name, Channels: channels}
	}
	return &GroupNorm{Name: name, Channels: channels, Groups: groups}
}
