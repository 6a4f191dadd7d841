package weights

import (
	"fmt"
	"io"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/metrixml/metrix/checkpoint"
)

// torchFile is one of the three formats, after its pickle has been read.
type torchFile interface {
	// root is what the pickle holds.
	root() any
	// fill reads the data of the wanted storages.
	fill(wanted []*storage) error
}

// readTorch reads the state dict of a file of size bytes.
func readTorch(open func(r *io.SectionReader) (torchFile, error), r *io.SectionReader) ([]checkpoint.Tensor, error) {
	file, err := open(r)
	if err != nil {
		return nil, err
	}
	list, err := stateDict(file.root())
	if err != nil {
		return nil, err
	}
	wanted, err := storagesOf(list, r.Size())
	if err != nil {
		return nil, err
	}
	if err := file.fill(wanted); err != nil {
		return nil, err
	}
	return read(list, r.Size())
}

// storagesOf lists the storages of the tensors, each once. Together they are at most limit bytes.
func storagesOf(list []named, limit int64) ([]*storage, error) {
	var out []*storage
	seen := map[*storage]bool{}
	for _, t := range list {
		if seen[t.storage] {
			continue
		}
		seen[t.storage] = true
		n, err := t.storage.bytes(limit)
		if err != nil {
			return nil, err
		}
		limit -= n
		out = append(out, t.storage)
	}
	return out, nil
}

// registry are the storages that a pickle refers to, by key.
type registry map[string]*storage

// persistent resolves a reference of the zip and stream formats:
//
//	("storage", kind, key, location, size[, view])    view is None or (key, offset, size)
//	("module", module, source file, source)
func (r registry) persistent(id any) (any, error) {
	fields, _ := items(id)
	if len(fields) >= 2 && fields[0] == "module" {
		return fields[1], nil
	}
	if len(fields) < 5 || fields[0] != "storage" {
		return nil, fmt.Errorf("a reference to something that is no storage")
	}
	k, ok := fields[1].(*kind)
	if !ok {
		return fields[1], nil // of a kind not known here: its tensors are placeholders too
	}
	key, okKey := fields[2].(string)
	size, okSize := fields[4].(int)
	if !okKey || !okSize {
		return nil, fmt.Errorf("a storage without a name or size")
	}
	s, there := r[key]
	if !there {
		s = &storage{kind: k, key: key, size: size}
		r[key] = s
	}
	if s.kind != k || s.size != size {
		return nil, fmt.Errorf("storage %.40q is referred to in two ways", key)
	}
	whole := section{s, 0, size}
	if len(fields) == 5 || fields[5] == nil {
		return whole, nil
	}
	view, ok := ints(tail(fields[5]))
	if !ok || len(view) != 2 {
		return nil, fmt.Errorf("a view of storage %.40q without offset and size", key)
	}
	return whole.part(view[0], view[1])
}

// tail is a list or tuple without its first element.
func tail(v any) any {
	elements, ok := items(v)
	if !ok || len(elements) == 0 {
		return nil
	}
	return types.NewTupleFromSlice(elements[1:])
}

// readStorage reads a storage's data from r, which may end early.
func readStorage(s *storage, r io.Reader, limit int64) error {
	n, err := s.bytes(limit)
	if err != nil {
		return err
	}
	s.data = make([]byte, n)
	if _, err := io.ReadFull(r, s.data); err != nil {
		return fmt.Errorf("storage %.40q: the file ends, or is corrupt, inside its values", s.key)
	}
	return nil
}
