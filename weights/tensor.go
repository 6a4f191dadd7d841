package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/x448/float16"

	"github.com/metrixml/metrix/checkpoint"
)

const maxRank = 16

// kind is the type of a storage's values.
type kind struct {
	width int // bytes
	value func(b []byte) float32
}

// kinds are the storage classes of torch.
var kinds = map[string]*kind{
	"FloatStorage":    {4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }},
	"DoubleStorage":   {8, func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }},
	"HalfStorage":     {2, func(b []byte) float32 { return float16.Frombits(binary.LittleEndian.Uint16(b)).Float32() }},
	"BFloat16Storage": {2, func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }},
	"LongStorage":     {8, func(b []byte) float32 { return float32(int64(binary.LittleEndian.Uint64(b))) }},
	"IntStorage":      {4, func(b []byte) float32 { return float32(int32(binary.LittleEndian.Uint32(b))) }},
	"ShortStorage":    {2, func(b []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(b))) }},
	"CharStorage":     {1, func(b []byte) float32 { return float32(int8(b[0])) }},
	"ByteStorage":     {1, func(b []byte) float32 { return float32(b[0]) }},
	"BoolStorage":     {1, func(b []byte) float32 { return float32(b[0]) }},
}

// storage is a block of values that tensors are views of.
type storage struct {
	kind *kind
	key  string
	size int    // values
	data []byte // nil until read
}

// bytes is the storage's length, or an error if it is longer than limit bytes.
func (s *storage) bytes(limit int64) (int64, error) {
	if s.size < 0 || int64(s.size) > limit/int64(s.kind.width) {
		return 0, fmt.Errorf("storage %.40q claims %d values of %d bytes; the file has no room for them", s.key, s.size, s.kind.width)
	}
	return int64(s.size) * int64(s.kind.width), nil
}

// section is a storage from one of its values on.
type section struct {
	*storage
	offset, size int
}

// part returns values [offset, offset+size) of the section.
func (s section) part(offset, size int) (section, error) {
	if offset < 0 || size < 0 || offset > s.size || size > s.size-offset {
		return section{}, fmt.Errorf("a view of values %d to %d of the %d of storage %.40q", offset, offset+size, s.size, s.key)
	}
	return section{s.storage, s.offset + offset, size}, nil
}

// tensor is a strided view of a section.
type tensor struct {
	section
	start         int
	shape, stride []int
}

// PySetState implements types.PyStateSettable: what a parameter knows beside its values is left out.
func (*tensor) PySetState(any) error { return nil }

// rebuildTensor makes a tensor of (section, offset, shape, stride, ...).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor of %d arguments", len(args))
	}
	s, ok := args[0].(section)
	if !ok {
		return &opaque{"tensor of an unknown storage"}, nil
	}
	start, ok := args[1].(int)
	shape, okShape := ints(args[2])
	stride, okStride := ints(args[3])
	if !ok || !okShape || !okStride {
		return nil, fmt.Errorf("a tensor whose offset, shape or stride are not integers")
	}
	return &tensor{s, start, shape, stride}, nil
}

func ints(v any) ([]int, bool) {
	elements, ok := items(v)
	if !ok || len(elements) > maxRank {
		return nil, false
	}
	out := make([]int, len(elements))
	for i, e := range elements {
		if out[i], ok = e.(int); !ok {
			return nil, false
		}
	}
	return out, true
}

// elements is the number of the tensor's values. Every one of them lies in the section, and there
// are not more of them than of the section's, so that they fit in memory.
func (t *tensor) elements() (int, error) {
	if len(t.shape) != len(t.stride) {
		return 0, fmt.Errorf("shape %v does not go with stride %v", t.shape, t.stride)
	}
	if slices.ContainsFunc(slices.Concat(t.shape, t.stride), func(v int) bool { return v < 0 }) {
		return 0, fmt.Errorf("shape %v and stride %v: negative extents are impossible", t.shape, t.stride)
	}
	if slices.Contains(t.shape, 0) {
		return 0, nil
	}
	n, last := 1, t.start
	for i, d := range t.shape {
		if d > t.size/n {
			return 0, fmt.Errorf("shape %v needs more values than the %d of its storage", t.shape, t.size)
		}
		n *= d
		if d > 1 {
			if t.stride[i] > (t.size-last)/(d-1) {
				last = t.size
				break
			}
			last += (d - 1) * t.stride[i]
		}
	}
	if t.start < 0 || last < 0 || last >= t.size {
		return 0, fmt.Errorf("offset %d, shape %v and stride %v lead out of a storage of %d values", t.start, t.shape, t.stride, t.size)
	}
	return n, nil
}

// floats returns the tensor's n values in row-major order.
func (t *tensor) floats(n int) []float32 {
	out := make([]float32, 0, n)
	if n == 0 {
		return out
	}
	width := t.kind.width
	index := make([]int, len(t.shape))
	for at := t.offset + t.start; ; {
		out = append(out, t.kind.value(t.data[at*width:]))
		axis := len(index) - 1
		for ; axis >= 0; axis-- {
			index[axis]++
			at += t.stride[axis]
			if index[axis] < t.shape[axis] {
				break
			}
			at -= t.shape[axis] * t.stride[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return out
		}
	}
}

// read makes the tensors of a state dict. Their storages have been read; limit is the size of the
// file, and bounds the number of all values together.
func read(list []named, limit int64) ([]checkpoint.Tensor, error) {
	out := make([]checkpoint.Tensor, 0, len(list))
	for _, t := range list {
		n, err := t.elements()
		if err == nil && int64(n) > limit {
			err = fmt.Errorf("with it the tensors hold more values than the file has bytes")
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %.100q: %w", t.name, err)
		}
		limit -= int64(n)
		out = append(out, checkpoint.Tensor{Name: t.name, Shape: t.shape, Data: t.floats(n)})
	}
	return out, nil
}
