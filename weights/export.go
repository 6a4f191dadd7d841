package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/model"
)

// Format is a kind of file that a network is exported to.
type Format string

const (
	// Safetensors holds parameters and running statistics by name: torchvision's names for ResNets,
	// "embedding.weight" and "embedding.bias" for the head.
	Safetensors Format = "safetensors"
	// ONNX holds the network itself, from normalised images to unit embeddings.
	ONNX Format = "onnx"
)

// Model is a network with its values.
type Model struct {
	Network *model.Network
	// Params and Buffers are the flat blocks, in the network's canonical order.
	Params, Buffers []float32
	// Metadata is written to an ONNX file's metadata_props.
	Metadata map[string]string
}

// check says in a sentence why a model cannot be written.
func (m Model) check() error {
	if len(m.Params) != m.Network.NumParams() || len(m.Buffers) != m.Network.NumBuffers() {
		return fmt.Errorf("%d parameters and %d statistics are not the %d and %d of the network %s",
			len(m.Params), len(m.Buffers), m.Network.NumParams(), m.Network.NumBuffers(), m.Network.Name)
	}
	for _, t := range Tensors(m.Network, m.Params, m.Buffers) {
		for _, v := range t.Data {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("%s has a value that is not finite: the training has diverged", t.Name)
			}
		}
	}
	return nil
}

// Tensors are the parameters and statistics of a network by name, as views of the two blocks.
func Tensors(n *model.Network, params, buffers []float32) []checkpoint.Tensor {
	out := make([]checkpoint.Tensor, 0, len(n.Params)+len(n.Buffers))
	for _, p := range n.Params {
		out = append(out, checkpoint.Tensor{Name: p.Name, Shape: p.Shape, Data: p.Slice(params)})
	}
	for _, b := range n.Buffers {
		out = append(out, checkpoint.Tensor{Name: b.Name, Shape: b.Shape, Data: b.Slice(buffers)})
	}
	return out
}

// Write writes the model to w.
func Write(w io.Writer, format Format, m Model) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	var err error
	switch format {
	case Safetensors:
		err = checkpoint.WriteTensors(w, Tensors(m.Network, m.Params, m.Buffers))
	case ONNX:
		err = writeONNX(w, m)
	default:
		err = fmt.Errorf("the format %q is unknown: use onnx or safetensors", format)
	}
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// ErrExists is returned by Export for a file that is there and must not be overwritten.
var ErrExists = errors.New("the file exists")

// Export writes the model to a file, whole or not at all: into a temporary file beside it, synced to
// the disk and then renamed. A file that is there is only replaced if overwrite is true.
func Export(path string, format Format, m Model, overwrite bool) error {
	if err := free(path, overwrite); err != nil {
		return fmt.Errorf("weights: export to %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("weights: export to %s: %w", path, err)
	}
	err = Write(f, format, m)
	if err == nil {
		err = f.Chmod(0o644) // CreateTemp makes it private
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = free(path, overwrite)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("weights: export to %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// free checks that path may become the exported file.
func free(path string, overwrite bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("it is a folder")
	case !overwrite:
		return ErrExists
	}
	return nil
}
