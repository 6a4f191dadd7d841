package model

import (
	"fmt"
	"slices"
	"strings"
)

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
	// Cut is the layer or stage after which features are mixed, one of Cuts: the trunk ends there, with
	// the norm, the activation and the pooling that follow, and what comes after belongs to the head.
	// It changes neither parameters nor embeddings. The default is the end, before the pooling.
	Cut string
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
	if cuts := s.Cuts(); s.Cut != "" && !slices.Contains(cuts, s.Cut) {
		return fmt.Errorf("model: %s has no layer %q to cut after: use one of %s", s.Arch, s.Cut, strings.Join(cuts, ", "))
	}
	return nil
}

// Cuts lists what the trunk of an architecture can be cut after: its convolutions, its blocks, and the
// stages they belong to ("layer3" is after the last of "layer3.0", "layer3.1" and so on).
func (s Spec) Cuts() []string {
	s = s.withDefaults()
	trunk, _ := s.layers()
	var cuts []string
	for _, l := range trunk {
		if !startsBlock(l) {
			continue
		}
		name := label(l)
		stage, _, isBlock := strings.Cut(name, ".")
		if n := len(cuts); isBlock && n > 0 && cuts[n-1] == stage { // the stage comes after its blocks
			cuts = cuts[:n-1]
		}
		if cuts = append(cuts, name); isBlock {
			cuts = append(cuts, stage)
		}
	}
	return cuts
}

// startsBlock reports whether a network can be cut before a layer.
func startsBlock(l Layer) bool {
	switch l.(type) {
	case *Conv, *Residual:
		return true
	}
	return false
}

// cut divides the layers after the last one that is named so or belongs to the stage named so.
func cut(layers []Layer, name string) (trunk, rest []Layer) {
	end := len(layers)
	for i, l := range layers {
		if is := label(l); is == name || strings.HasPrefix(is, name+".") {
			for end = i + 1; end < len(layers) && !startsBlock(layers[end]); end++ {
			}
		}
	}
	return layers[:end:end], layers[end:]
}

// Build makes the network of a spec. Its errors are those of Validate.
func Build(spec Spec) (*Network, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	spec = spec.withDefaults()
	layers, channels := spec.layers()
	trunk, rest := layers, []Layer(nil)
	if spec.Cut != "" {
		trunk, rest = cut(layers, spec.Cut)
	}
	return Assemble(spec.Arch, Shape{3, spec.Side, spec.Side}, trunk, append(rest, EmbeddingHead(channels, spec.Dim)...))
}

// layers are those from the image to the pooling, and the channels that leave the last.
func (s Spec) layers() (trunk []Layer, channels int) {
	switch s.Arch {
	case "conv4":
		return conv4(s)
	case "resnet18":
		return resnet(s, basicBlock, [4]int{2, 2, 2, 2})
	case "resnet34":
		return resnet(s, basicBlock, [4]int{3, 4, 6, 3})
	case "resnet50":
		return resnet(s, bottleneck, [4]int{3, 4, 6, 3})
	case "resnet101":
		return resnet(s, bottleneck, [4]int{3, 4, 23, 3})
	}
	return nil, 0
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
