package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"
)

// metadataKey is the header's entry that is not a tensor; its contents are not read.
const metadataKey = "__metadata__"

// decodeHeader returns the tensors of a header in the order of their data, which must fill exactly
// dataSize bytes without gap or overlap.
func decodeHeader(header []byte, dataSize int64) ([]string, []span, error) {
	names, spans, err := headerEntries(header)
	if err != nil {
		return nil, nil, fmt.Errorf("the header is not the JSON of a safetensors file: %w", err)
	}
	sort.Stable(byOffset{names, spans})
	next := int64(0)
	for i, s := range spans {
		n, err := elements(s.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", names[i], err)
		}
		width, ok := dtypeBytes(s.DType)
		switch {
		case !ok:
			return nil, nil, fmt.Errorf("tensor %q has type %q, which is not read here", names[i], s.DType)
		case s.Offsets[0] != next || s.Offsets[1]-next != n*width:
			return nil, nil, fmt.Errorf("tensor %q lies at bytes %d to %d; %s values of shape %v must lie at %d to %d",
				names[i], s.Offsets[0], s.Offsets[1], s.DType, s.Shape, next, next+n*width)
		case s.Offsets[1] > dataSize:
			return nil, nil, fmt.Errorf("tensor %q ends at byte %d of %d", names[i], s.Offsets[1], dataSize)
		}
		next = s.Offsets[1]
	}
	if next != dataSize {
		return nil, nil, fmt.Errorf("the tensors take %d bytes; the file has %d", next, dataSize)
	}
	return names, spans, nil
}

// headerEntries walks the header's object, which a plain map would not show repeated names of.
func headerEntries(header []byte) ([]string, []span, error) {
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("it must start with a brace")
	}
	var names []string
	var spans []span
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := t.(string) // a key of an object is always a string
		if seen[name] {
			return nil, nil, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			var skip map[string]string
			if err := dec.Decode(&skip); err != nil {
				return nil, nil, err
			}
			continue
		}
		var s span
		if err := dec.Decode(&s); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if len(spans) == maxTensors {
			return nil, nil, fmt.Errorf("more than %d tensors", maxTensors)
		}
		names, spans = append(names, name), append(spans, s)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	if rest := bytes.TrimSpace(header[dec.InputOffset():]); len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return names, spans, nil
}

type byOffset struct {
	names []string
	spans []span
}

func (b byOffset) Len() int { return len(b.spans) }

func (b byOffset) Less(i, j int) bool {
	x, y := b.spans[i].Offsets, b.spans[j].Offsets
	return x[0] < y[0] || x[0] == y[0] && x[1] < y[1]
}

func (b byOffset) Swap(i, j int) {
	b.names[i], b.names[j] = b.names[j], b.names[i]
	b.spans[i], b.spans[j] = b.spans[j], b.spans[i]
}

func dtypeBytes(dtype string) (int64, bool) {
	switch dtype {
	case "F64", "I64", "U64":
		return 8, true
	case "F32", "I32", "U32":
		return 4, true
	case "F16", "BF16", "I16", "U16":
		return 2, true
	case "I8", "U8", "BOOL":
		return 1, true
	}
	return 0, false
}

// read reads the tensor's values. The header has been checked against the size of the file, so what
// is allocated here is at most 4 times what is there.
func (s span) read(r io.Reader, name string) (Tensor, error) {
	t := Tensor{Name: name, Shape: make([]int, len(s.Shape))}
	for i, d := range s.Shape {
		t.Shape[i] = int(d)
	}
	width, _ := dtypeBytes(s.DType)
	left := (s.Offsets[1] - s.Offsets[0]) / width
	t.Data = make([]float32, left)
	var buf [16 << 10]byte
	for dst := t.Data; len(dst) > 0; {
		n := min(len(dst), len(buf)/int(width))
		b := buf[:n*int(width)]
		if _, err := io.ReadFull(r, b); err != nil {
			return Tensor{}, fmt.Errorf("the file ends inside its values")
		}
		decodeFloats(dst[:n], s.DType, b, int(width))
		dst = dst[n:]
	}
	return t, nil
}

func decodeFloats(dst []float32, dtype string, b []byte, width int) {
	if dtype == "F32" { // what we write, and nearly all there is
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return
	}
	for i := range dst {
		dst[i] = decodeFloat(dtype, b[i*width:])
	}
}

func decodeFloat(dtype string, b []byte) float32 {
	le := binary.LittleEndian
	switch dtype {
	case "F64":
		return float32(math.Float64frombits(le.Uint64(b)))
	case "BF16":
		return math.Float32frombits(uint32(le.Uint16(b)) << 16)
	case "F16":
		return float16(le.Uint16(b))
	case "I64":
		return float32(int64(le.Uint64(b)))
	case "U64":
		return float32(le.Uint64(b))
	case "I32":
		return float32(int32(le.Uint32(b)))
	case "U32":
		return float32(le.Uint32(b))
	case "I16":
		return float32(int16(le.Uint16(b)))
	case "U16":
		return float32(le.Uint16(b))
	case "I8":
		return float32(int8(b[0]))
	}
	return float32(b[0]) // U8, BOOL
}

// float16 widens an IEEE half-precision value.
func float16(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10)&31, uint32(h)&0x3ff
	switch exp {
	case 0: // zero and subnormals: frac x 2^-24
		x := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(x) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
