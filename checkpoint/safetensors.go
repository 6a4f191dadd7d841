package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// Tensor is a named array of float32 in row-major order. An empty shape is a single value.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Bounds on a safetensors header; a ResNet-50 with optimizer needs 40 KiB.
const (
	maxHeader  = 16 << 20
	maxTensors = 1 << 17
	maxRank    = 16
)

// span is a tensor's entry in the header.
type span struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"` // bytes, from the end of the header
}

// WriteTensors writes tensors to w as a safetensors file of type F32, in the given order. Names
// must differ and not be empty, and each shape must describe its data.
func WriteTensors(w io.Writer, tensors []Tensor) error {
	header, err := encodeHeader(tensors)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 1<<20)
	if err := binary.Write(b, binary.LittleEndian, uint64(len(header))); err != nil {
		return err
	}
	if _, err := b.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := writeFloats(b, t.Data); err != nil {
			return err
		}
	}
	return b.Flush()
}

// encodeHeader keeps the order of the tensors, which encoding a map would not, and pads with spaces
// to a multiple of 8 as the format asks.
func encodeHeader(tensors []Tensor) ([]byte, error) {
	header := []byte{'{'}
	seen := map[string]bool{}
	offset := int64(0)
	for i, t := range tensors {
		n, err := elements(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		switch {
		case t.Name == "" || t.Name == metadataKey || seen[t.Name]:
			return nil, fmt.Errorf("tensor %d is named %q, which is empty, reserved or taken", i, t.Name)
		case n != int64(len(t.Data)):
			return nil, fmt.Errorf("tensor %q has shape %v for %d values", t.Name, t.Shape, len(t.Data))
		}
		seen[t.Name] = true
		s := span{DType: "F32", Shape: []int64{}, Offsets: [2]int64{offset, offset + 4*n}}
		for _, d := range t.Shape {
			s.Shape = append(s.Shape, int64(d))
		}
		offset = s.Offsets[1]
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		entry, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if i > 0 {
			header = append(header, ',')
		}
		header = append(append(append(header, name...), ':'), entry...)
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if len(header) > maxHeader {
		return nil, fmt.Errorf("the header of %d tensors takes %d bytes; at most %d are allowed", len(tensors), len(header), maxHeader)
	}
	return header, nil
}

func writeFloats(w io.Writer, x []float32) error {
	var buf [16 << 10]byte
	for len(x) > 0 {
		n := min(len(x), len(buf)/4)
		for i, v := range x[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		x = x[n:]
	}
	return nil
}

// ReadTensors reads a safetensors file of exactly size bytes from r, in the order of its data.
// Types F32, F64, F16, BF16 and the integers are converted to float32. An error says what is wrong
// with the file. Size must be the true size of r: it bounds what is allocated.
func ReadTensors(r io.Reader, size int64) ([]Tensor, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	var length uint64
	if err := binary.Read(b, binary.LittleEndian, &length); err != nil {
		return nil, fmt.Errorf("the file is shorter than the 8 bytes of a safetensors length")
	}
	if size < 8 || length > uint64(size-8) || length > maxHeader {
		return nil, fmt.Errorf("the header claims %d bytes of a file of %d; at most %d are allowed", length, size, maxHeader)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(b, header); err != nil {
		return nil, fmt.Errorf("the file ends inside its header")
	}
	names, spans, err := decodeHeader(header, size-8-int64(length))
	if err != nil {
		return nil, err
	}
	tensors := make([]Tensor, 0, len(spans))
	for i, s := range spans {
		t, err := s.read(b, names[i])
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", names[i], err)
		}
		tensors = append(tensors, t)
	}
	if _, err := b.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("the file is longer than the %d bytes expected", size)
	}
	return slices.Clip(tensors), nil
}

// elements is the product of a shape, 1 for an empty one.
func elements[T int | int64](shape []T) (int64, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("a shape of %d dimensions; at most %d are allowed", len(shape), maxRank)
	}
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/16/int64(d) {
			return 0, fmt.Errorf("shape %v describes no array that fits in memory", shape)
		}
		n *= int64(d)
	}
	return n, nil
}
