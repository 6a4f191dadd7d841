package model

import "fmt"

// Stage is one of the two parts of a network between which features can be mixed.
type Stage int

const (
	// Trunk maps images to features.
	Trunk Stage = iota
	// Head maps features to unit embeddings.
	Head
)

// String returns "trunk" or "head".
func (s Stage) String() string {
	switch s {
	case Trunk:
		return "trunk"
	case Head:
		return "head"
	}
	return fmt.Sprintf("stage %d", int(s))
}

// Shape is the shape of one row between layers: channels, height, width. A vector of C values has
// height and width 1.
type Shape struct{ C, H, W int }

// Size is the number of floats of one row.
func (s Shape) Size() int { return s.C * s.H * s.W }

// String writes the shape as "64x7x7".
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }

// Param is one named view of a flat block: floats [Offset, Offset+Size).
type Param struct {
	Name         string
	Shape        []int
	Offset, Size int
	Stage        Stage
	// Decay says whether weight decay applies: not to biases, nor to the scale and shift of norms.
	Decay bool
	// Start says how Network.Init fills it.
	Start Start
}

// Ref is the index of a parameter in Network.Params, or of a statistic in Network.Buffers.
type Ref int

// None is the Ref of a parameter that a layer does not have.
const None Ref = -1

// Network is a network ready to be opened by an engine. It is read-only once assembled and may be
// shared by goroutines.
type Network struct {
	Name     string
	Input    Shape // one image
	Features Shape // one row at the cut between trunk and head
	Dim      int   // length of an embedding
	// Params and Buffers list the views of the two flat blocks in canonical order. Buffers are the
	// running means and variances of batch norms.
	Params, Buffers []Param
	Trunk, Head     []Layer
}

// NumParams is the length of the flat block of parameters.
func (n *Network) NumParams() int { return blockLen(n.Params) }

// NumBuffers is the length of the flat block of running statistics; 0 without batch norm.
func (n *Network) NumBuffers() int { return blockLen(n.Buffers) }

func blockLen(views []Param) int {
	if len(views) == 0 {
		return 0
	}
	last := views[len(views)-1]
	return last.Offset + last.Size
}

// Layers returns the layers of a stage.
func (n *Network) Layers(s Stage) []Layer {
	if s == Head {
		return n.Head
	}
	return n.Trunk
}

// StageInput is the shape of one row that enters a stage.
func (n *Network) StageInput(s Stage) Shape {
	if s == Head {
		return n.Features
	}
	return n.Input
}

// StageOutput is the shape of one row that leaves a stage.
func (n *Network) StageOutput(s Stage) Shape {
	if s == Head {
		return Shape{C: n.Dim, H: 1, W: 1}
	}
	return n.Features
}

// StageRange returns the range [lo, hi) of the flat parameter block that belongs to a stage. The
// ranges of the two stages are adjacent; a stage without parameters has lo == hi.
func (n *Network) StageRange(s Stage) (lo, hi int) {
	for _, p := range n.Params {
		if p.Stage == Trunk {
			lo = p.Offset + p.Size
		}
	}
	if s == Trunk {
		return 0, lo
	}
	return lo, n.NumParams()
}

// Slice returns the view p of a flat block.
func (p Param) Slice(block []float32) []float32 {
	return block[p.Offset : p.Offset+p.Size : p.Offset+p.Size]
}
