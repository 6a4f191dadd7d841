package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/metrixml/metrix/checkpoint"
)

// Load reads the tensors of a state dict from a safetensors file or from one of torch.save's
// formats, which it tells by the contents. Names come without the prefixes "module." and
// "_orig_mod."; values are converted to float32. It executes nothing. It allocates at most a small
// multiple of the file's size, and 200 MiB for the worst pickle that is let through. An error names the
// file and says what is wrong with it.
func Load(path string) ([]checkpoint.Tensor, error) {
	info, err := os.Stat(path) // before opening: opening a pipe would wait for its other end
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("weights: %s is not a plain file", path)
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("weights: %s is missing: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	tensors, err := load(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return nil, fmt.Errorf("weights: %s cannot be read: %w", path, err)
	}
	return tensors, nil
}

func load(r *io.SectionReader) ([]checkpoint.Tensor, error) {
	head := make([]byte, 512)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	head = head[:n]
	var tensors []checkpoint.Tensor
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		tensors, err = readTorch(openZip, r)
	case len(head) == 512 && bytes.Equal(head[257:262], []byte("ustar")):
		tensors, err = readTorch(openTar, r)
	case len(head) > 8 && head[8] == '{':
		tensors, err = checkpoint.ReadTensors(r, r.Size())
	case bytes.HasPrefix(head, []byte("\x80")):
		tensors, err = readTorch(openStream, r)
	default:
		return nil, fmt.Errorf("it is neither a safetensors file nor one that PyTorch's torch.save wrote")
	}
	if err != nil {
		return nil, err
	}
	return tensors, rename(tensors)
}

// rename takes the wrappers' prefixes off.
func rename(tensors []checkpoint.Tensor) error {
	seen := map[string]bool{}
	for i := range tensors {
		name := unwrap(tensors[i].Name)
		if seen[name] {
			return fmt.Errorf("two tensors are called %.100q without their prefixes", name)
		}
		seen[name] = true
		tensors[i].Name = name
	}
	return nil
}
