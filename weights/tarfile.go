package weights

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// tarFile is the format before PyTorch 0.1.10: a tar archive of
//
//	storages  a count; for each storage (key, location, kind), an 8-byte count and the values;
//	          then a list of views (key, key of the storage, offset, size)
//	tensors   a count; for each tensor (key, key of the storage, kind), the number of extents in 4 of
//	          8 bytes, extents, strides and offset in 8 bytes each
//	pickle    the object, which refers to tensors by key
//
// Counts and tuples are pickles.
type tarFile struct {
	value    any
	sections map[string]section
	tensors  map[string]*tensor
}

func openTar(r *io.SectionReader) (torchFile, error) {
	t := &tarFile{sections: map[string]section{}, tensors: map[string]*tensor{}}
	var tensors, object []byte
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the tar archive cannot be read: %w", err)
		}
		switch header.Name {
		case "storages":
			err = t.readStorages(bufio.NewReaderSize(archive, 1<<20), r.Size())
		case "sys_info":
			err = littleEndianSystem(bufio.NewReader(archive))
		case "tensors":
			tensors, err = readMember(archive)
		case "pickle":
			object, err = readMember(archive)
		}
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", header.Name, err)
		}
	}
	if object == nil {
		return nil, fmt.Errorf("the tar archive has no member pickle, so it is none that torch.save wrote")
	}
	if err := t.readTensors(bytes.NewReader(tensors)); err != nil {
		return nil, fmt.Errorf("member tensors: %w", err)
	}
	var err error
	t.value, err = unpickle(bytes.NewReader(object), t.persistent)
	return t, err
}

func readMember(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPickle+1))
	if err == nil && len(b) > maxPickle {
		err = fmt.Errorf("it is longer than %d bytes", maxPickle)
	}
	return b, err
}

// readStorages reads all storages; together they are at most limit bytes.
func (t *tarFile) readStorages(r *bufio.Reader, limit int64) error {
	count, err := unpickleInt(r)
	if err != nil {
		return err
	}
	for range count {
		fields, err := unpickleTuple(r, 3)
		if err != nil {
			return err
		}
		s := &storage{key: keyOf(fields[0])}
		var ok bool
		if s.kind, ok = fields[2].(*kind); !ok || t.sections[s.key].storage != nil {
			return fmt.Errorf("storage %.40q is there twice or of an unknown kind", s.key)
		}
		var size int64
		if err := binary.Read(r, binary.LittleEndian, &size); err != nil {
			return fmt.Errorf("it ends inside storage %.40q", s.key)
		}
		s.size = int(size)
		if err := readStorage(s, r, limit); err != nil {
			return err
		}
		limit -= int64(len(s.data))
		t.sections[s.key] = section{s, 0, s.size}
	}
	return t.readViews(r)
}

func (t *tarFile) readViews(r *bufio.Reader) error {
	list, err := unpickle(r, nil)
	if err != nil {
		return err
	}
	views, _ := items(list)
	for _, v := range views {
		fields, _ := items(v)
		if len(fields) != 4 {
			return fmt.Errorf("a view of %d fields", len(fields))
		}
		offset, ok := fields[2].(int)
		size, okSize := fields[3].(int)
		of, okOf := t.sections[keyOf(fields[1])]
		if !ok || !okSize || !okOf {
			return fmt.Errorf("a view of storage %.40q, which is not there", keyOf(fields[1]))
		}
		if t.sections[keyOf(fields[0])], err = of.part(offset, size); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarFile) readTensors(r *bytes.Reader) error {
	count, err := unpickleInt(r)
	if err != nil {
		return err
	}
	for range count {
		fields, err := unpickleTuple(r, 3)
		if err != nil {
			return err
		}
		s, ok := t.sections[keyOf(fields[1])]
		if !ok {
			return fmt.Errorf("a tensor of storage %.40q, which is not there", keyOf(fields[1]))
		}
		x, err := readGeometry(r, s)
		if err != nil {
			return fmt.Errorf("tensor %.40q: %w", keyOf(fields[0]), err)
		}
		t.tensors[keyOf(fields[0])] = x
	}
	return nil
}

func readGeometry(r io.Reader, s section) (*tensor, error) {
	var rank [2]int32 // the second was meant to be the upper half of the first and is not always 0
	if err := binary.Read(r, binary.LittleEndian, &rank); err != nil {
		return nil, fmt.Errorf("it ends before its shape")
	}
	n := int(rank[0])
	if n < 0 || n > maxRank {
		return nil, fmt.Errorf("%d extents; at most %d are possible", n, maxRank)
	}
	numbers := make([]int64, 2*n+1)
	if err := binary.Read(r, binary.LittleEndian, numbers); err != nil {
		return nil, fmt.Errorf("it ends inside its shape")
	}
	x := &tensor{section: s, start: int(numbers[2*n]), shape: make([]int, n), stride: make([]int, n)}
	for i := range n {
		x.shape[i], x.stride[i] = int(numbers[i]), int(numbers[n+i])
	}
	return x, nil
}

// persistent resolves a reference: the key of a tensor or storage, or a tuple with a module.
func (t *tarFile) persistent(id any) (any, error) {
	if fields, ok := items(id); ok && len(fields) > 0 {
		return fields[0], nil
	}
	if x, ok := t.tensors[keyOf(id)]; ok {
		return x, nil
	}
	if s, ok := t.sections[keyOf(id)]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("a reference to %.40q, which is not there", keyOf(id))
}

// maxCount bounds the storages and the tensors of a tar archive; a ResNet-50 has 267.
const maxCount = 1 << 16

func (t *tarFile) root() any { return t.value }

func (t *tarFile) fill([]*storage) error { return nil } // all are read on opening

// keyOf is a key as text; Python wrote it as a number or as text.
func keyOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	}
	return fmt.Sprintf("?%T", v)
}

func unpickleInt(r byteReader) (int, error) {
	v, err := unpickle(r, nil)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int)
	if !ok || n < 0 || n > maxCount {
		return 0, fmt.Errorf("a count from 0 to %d is missing", maxCount)
	}
	return n, nil
}

func unpickleTuple(r byteReader, n int) ([]any, error) {
	v, err := unpickle(r, nil)
	if err != nil {
		return nil, err
	}
	fields, _ := items(v)
	if len(fields) != n {
		return nil, fmt.Errorf("a tuple of %d fields is missing", n)
	}
	return fields, nil
}
