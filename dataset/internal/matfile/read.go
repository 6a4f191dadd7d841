package matfile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf16"
)

// Limits of a file. The index of Cars196 has 8 MB unpacked and 113 000 matrices.
const (
	maxBytes  = 32 << 20 // of the file, and of all that its variables unpack to
	maxArrays = 1 << 20
	maxDepth  = 8 // of arrays inside arrays
	maxDims   = 8
)

// Read reads all variables of a file. Its errors begin with what is wrong, not with a file's name.
func Read(r io.Reader) ([]*Array, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("it has more than %d bytes; this is no index", maxBytes)
	}
	p := &parser{left: maxBytes}
	if err := p.header(b); err != nil {
		return nil, err
	}
	var vars []*Array
	for b = b[headerBytes:]; len(b) > 0; {
		var e element
		if e, b, err = p.next(b); err != nil {
			return nil, fmt.Errorf("variable %d: %w", len(vars)+1, err)
		}
		v, err := p.variable(e)
		if err != nil {
			return nil, fmt.Errorf("variable %d: %w", len(vars)+1, err)
		}
		vars = append(vars, v)
	}
	return vars, nil
}

// parser reads one file.
type parser struct {
	order  binary.ByteOrder
	left   int // bytes that may still be unpacked
	arrays int // so far
}

func (p *parser) header(b []byte) error {
	if bytes.HasPrefix(b, []byte("MATLAB 7.3")) {
		return errors.New("it is a MATLAB 7.3 file; save it again in MATLAB with the option -v7")
	}
	if len(b) < headerBytes {
		return fmt.Errorf("it has %d bytes, too few for a MATLAB file", len(b))
	}
	switch string(b[endianAt:headerBytes]) {
	case "IM":
		p.order = binary.LittleEndian
	case "MI":
		p.order = binary.BigEndian
	default:
		return errors.New("it does not begin like a MATLAB 5 file")
	}
	if v := p.order.Uint16(b[versionAt:]); v != version {
		return fmt.Errorf("its version is %#x; it must be %#x, that of MATLAB 5 to 7", v, version)
	}
	return nil
}

// element is one tagged piece of data.
type element struct {
	typ  uint32
	data []byte
}

// next takes the first element off b.
func (p *parser) next(b []byte) (element, []byte, error) {
	if len(b) < 8 {
		return element{}, nil, errors.New("it is cut short")
	}
	first := p.order.Uint32(b)
	if n := int(first >> 16); n != 0 { // the small format: two halves of a word, then the data
		if n > 4 {
			return element{}, nil, fmt.Errorf("a small element says that it has %d bytes", n)
		}
		return element{first & 0xffff, b[4 : 4+n]}, b[8:], nil
	}
	n := uint64(p.order.Uint32(b[4:]))
	b = b[8:]
	if n > uint64(len(b)) {
		return element{}, nil, fmt.Errorf("it is cut short: an element of %d bytes has %d", n, len(b))
	}
	end := int(n)
	if first != typeCompressed {
		end = padded(end)
	}
	if end > len(b) {
		return element{}, nil, errors.New("it is cut short in the padding of an element")
	}
	return element{first, b[:n]}, b[end:], nil
}

// typed takes an element of the given type off b.
func (p *parser) typed(b []byte, what string, types ...uint32) ([]byte, []byte, error) {
	e, rest, err := p.next(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	for _, t := range types {
		if e.typ == t {
			return e.data, rest, nil
		}
	}
	return nil, nil, fmt.Errorf("%s: the element has type %d; it must have %d", what, e.typ, types[0])
}

// variable reads what an element at the top of a file holds.
func (p *parser) variable(e element) (*Array, error) {
	if e.typ == typeCompressed {
		data, err := p.unpack(e.data)
		if err != nil {
			return nil, err
		}
		var rest []byte
		if e, rest, err = p.next(data); err != nil {
			return nil, err
		}
		if len(rest) > 0 {
			return nil, fmt.Errorf("%d bytes follow the matrix in a compressed element", len(rest))
		}
	}
	if e.typ != typeMatrix {
		return nil, fmt.Errorf("the element has type %d; a variable has type %d", e.typ, typeMatrix)
	}
	return p.matrix(e.data, 0)
}

func (p *parser) unpack(b []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, int64(p.left)+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if p.left -= len(data); p.left < 0 {
		return nil, fmt.Errorf("it unpacks to more than %d bytes; this is no index", maxBytes)
	}
	return data, z.Close()
}

// matrix reads the data of a matrix element. No data at all is an empty matrix.
func (p *parser) matrix(b []byte, depth int) (*Array, error) {
	if p.arrays++; p.arrays > maxArrays {
		return nil, fmt.Errorf("it has more than %d matrices; this is no index", maxArrays)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("matrices are nested more than %d deep", maxDepth)
	}
	if len(b) == 0 {
		return &Array{Kind: Numbers, Dims: []int{0, 0}}, nil
	}
	flags, b, err := p.typed(b, "flags", typeUint32)
	if err != nil {
		return nil, err
	}
	if len(flags) != 8 {
		return nil, fmt.Errorf("flags: the element has %d bytes; it must have 8", len(flags))
	}
	class := p.order.Uint32(flags) & 0xff
	if class != classCell && class != classStruct && class != classChar && (class < classDouble || class > classUint64) {
		return &Array{Dims: []int{0, 0}}, nil
	}
	a := &Array{}
	if b, err = p.shape(a, b); err != nil {
		return nil, err
	}
	switch class {
	case classCell:
		a.Kind = Cell
		a.Elements, err = p.matrices(b, a.Len(), depth)
	case classStruct:
		err = p.structure(a, b, depth)
	case classChar:
		err = p.text(a, b)
	default:
		err = p.numbers(a, b)
	}
	if err != nil && a.Name != "" {
		err = fmt.Errorf("%s: %w", a.Name, err)
	}
	return a, err
}

// shape reads dimensions and name.
func (p *parser) shape(a *Array, b []byte) ([]byte, error) {
	dims, b, err := p.typed(b, "dimensions", typeInt32)
	if err != nil {
		return nil, err
	}
	if len(dims)%4 != 0 || len(dims) < 8 || len(dims) > 4*maxDims {
		return nil, fmt.Errorf("dimensions: the element has %d bytes; it must have 4 for each of 2 to %d", len(dims), maxDims)
	}
	n := int64(1)
	for ; len(dims) > 0; dims = dims[4:] {
		d := int64(int32(p.order.Uint32(dims)))
		if d < 0 || d > maxBytes || n*d > maxBytes {
			return nil, fmt.Errorf("dimensions: %d elements are more than a file can hold, or fewer than none", d)
		}
		n *= d
		a.Dims = append(a.Dims, int(d))
	}
	name, b, err := p.typed(b, "name", typeInt8, typeUTF8)
	a.Name = string(name)
	return b, err
}

// matrices reads n matrices, which must be all that b holds.
func (p *parser) matrices(b []byte, n, depth int) ([]*Array, error) {
	if n > len(b)/8 {
		return nil, fmt.Errorf("%d matrices cannot lie in %d bytes", n, len(b))
	}
	out := make([]*Array, n)
	for i := range out {
		data, rest, err := p.typed(b, "matrix", typeMatrix)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i+1, err)
		}
		if out[i], err = p.matrix(data, depth+1); err != nil {
			return nil, fmt.Errorf("element %d: %w", i+1, err)
		}
		b = rest
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes are left behind %d matrices", len(b), n)
	}
	return out, nil
}

func (p *parser) structure(a *Array, b []byte, depth int) error {
	a.Kind = Struct
	size, b, err := p.typed(b, "length of field names", typeInt32)
	if err != nil {
		return err
	}
	names, b, err := p.typed(b, "field names", typeInt8)
	if err != nil {
		return err
	}
	if len(size) != 4 {
		return errors.New("the length of field names is not one number")
	}
	each := int(int32(p.order.Uint32(size)))
	if each < 1 || len(names)%each != 0 {
		return fmt.Errorf("field names of %d bytes do not fill %d", each, len(names))
	}
	for ; len(names) > 0; names = names[each:] {
		name, _, _ := bytes.Cut(names[:each], []byte{0})
		a.Fields = append(a.Fields, string(name))
	}
	a.Elements, err = p.matrices(b, a.Len()*len(a.Fields), depth)
	return err
}

// text reads characters. Several lines of text are passed over.
func (p *parser) text(a *Array, b []byte) error {
	data, rest, err := p.typed(b, "text", typeUint16, typeUTF16, typeUTF8, typeUint8, typeInt8)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes are left behind the text", len(rest))
	}
	if a.Len() > 0 && (len(a.Dims) != 2 || a.Dims[0] != 1) {
		return nil // kind Other
	}
	a.Kind = Text
	e, _, _ := p.next(b)
	switch {
	case a.Len() == 0:
	case e.typ == typeUTF8:
		a.Text = string(data)
	case len(data) != a.Len()*width(e.typ):
		return fmt.Errorf("text of %d characters has %d bytes", a.Len(), len(data))
	case width(e.typ) == 1:
		units := make([]rune, len(data))
		for i, c := range data {
			units[i] = rune(c)
		}
		a.Text = string(units)
	default:
		units := make([]uint16, a.Len())
		for i := range units {
			units[i] = p.order.Uint16(data[2*i:])
		}
		a.Text = string(utf16.Decode(units))
	}
	return nil
}

// numbers reads the real parts. They may be stored in a smaller type than that of the class.
func (p *parser) numbers(a *Array, b []byte) error {
	a.Kind = Numbers
	e, _, err := p.next(b)
	if err != nil {
		return fmt.Errorf("numbers: %w", err)
	}
	w := width(e.typ)
	if w == 0 || e.typ == typeUTF8 || e.typ == typeUTF16 {
		return fmt.Errorf("numbers have type %d, which is none of a number", e.typ)
	}
	if len(e.data) != w*a.Len() {
		return fmt.Errorf("%d numbers of %d bytes lie in %d", a.Len(), w, len(e.data))
	}
	a.Numbers = make([]float64, a.Len())
	for i := range a.Numbers {
		a.Numbers[i] = p.number(e.typ, e.data[i*w:])
	}
	return nil
}

func (p *parser) number(typ uint32, b []byte) float64 {
	switch typ {
	case typeInt8:
		return float64(int8(b[0]))
	case typeUint8:
		return float64(b[0])
	case typeInt16:
		return float64(int16(p.order.Uint16(b)))
	case typeUint16:
		return float64(p.order.Uint16(b))
	case typeInt32:
		return float64(int32(p.order.Uint32(b)))
	case typeUint32:
		return float64(p.order.Uint32(b))
	case typeSingle:
		return float64(math.Float32frombits(p.order.Uint32(b)))
	case typeInt64:
		return float64(int64(p.order.Uint64(b)))
	case typeUint64:
		return float64(p.order.Uint64(b))
	}
	return math.Float64frombits(p.order.Uint64(b))
}
