package weights

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// message is a protobuf message read without knowledge of its fields, by number.
type message map[int][]any // uint64, uint32 or []byte

func parse(t testing.TB, b []byte) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		require.NoError(t, protowire.ParseError(n))
		b = b[n:]
		var v any
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			v, n = protowire.ConsumeFixed32(b)
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		default:
			require.Fail(t, "a wire type that ONNX does not use here")
		}
		require.NoError(t, protowire.ParseError(n))
		b = b[n:]
		m[int(number)] = append(m[int(number)], v)
	}
	return m
}

func (m message) texts(field int) (out []string) {
	for _, v := range m[field] {
		out = append(out, string(v.([]byte)))
	}
	return out
}

func (m message) text(field int) string { return m.texts(field)[0] }

func (m message) ints(field int) (out []int) {
	for _, v := range m[field] {
		out = append(out, int(v.(uint64)))
	}
	return out
}

func (m message) all(t testing.TB, field int) (out []message) {
	for _, v := range m[field] {
		out = append(out, parse(t, v.([]byte)))
	}
	return out
}

func (m message) one(t testing.TB, field int) message {
	require.Len(t, m[field], 1)
	return m.all(t, field)[0]
}

// decoded is an ONNX file as a reader who knows only the standard sees it; the numbers of the
// fields are written here once more.
type decoded struct {
	ir, opset      int
	metadata       map[string]string
	nodes          []decodedNode
	tensors        map[string]decodedTensor
	inputs, output []port
}

type decodedNode struct {
	op, name        string
	inputs, outputs []string
	ints            map[string][]int
	floats          map[string]float32
}

type decodedTensor struct {
	dims   []int
	floats []float32
	ints   []int
}

// port is an input or output; the extent of free dimensions is -1.
type port struct {
	name string
	dims []int
}

func decode(t testing.TB, file []byte) decoded {
	t.Helper()
	m := parse(t, file)
	opset := m.one(t, 8)
	require.NotContains(t, opset, 1, "the standard domain has no name")
	d := decoded{ir: m.ints(1)[0], opset: opset.ints(2)[0], metadata: map[string]string{}, tensors: map[string]decodedTensor{}}
	for _, e := range m.all(t, 14) {
		d.metadata[e.text(1)] = e.text(2)
	}
	g := m.one(t, 7)
	for _, n := range g.all(t, 1) {
		d.nodes = append(d.nodes, decodeNode(t, n))
	}
	for _, x := range g.all(t, 5) {
		require.NotContains(t, d.tensors, x.text(8))
		d.tensors[x.text(8)] = decodeTensor(t, x)
	}
	for _, p := range g.all(t, 11) {
		d.inputs = append(d.inputs, decodePort(t, p))
	}
	for _, p := range g.all(t, 12) {
		d.output = append(d.output, decodePort(t, p))
	}
	return d
}

func decodeNode(t testing.TB, n message) decodedNode {
	d := decodedNode{op: n.text(4), name: n.text(3), inputs: n.texts(1), outputs: n.texts(2), ints: map[string][]int{}, floats: map[string]float32{}}
	for _, a := range n.all(t, 5) {
		name := a.text(1)
		switch a.ints(20)[0] {
		case 1:
			d.floats[name] = math.Float32frombits(a[2][0].(uint32))
		case 2:
			d.ints[name] = a.ints(3)
		case 7:
			d.ints[name] = a.ints(8)
		default:
			require.Fail(t, "an attribute of an unknown type")
		}
	}
	return d
}

func decodeTensor(t testing.TB, x message) decodedTensor {
	d := decodedTensor{dims: x.ints(1)}
	raw, n := x[9][0].([]byte), 1
	for _, e := range d.dims {
		n *= e
	}
	if x.ints(2)[0] == 7 {
		require.Len(t, raw, 8*n)
		for i := range n {
			d.ints = append(d.ints, int(int64(binary.LittleEndian.Uint64(raw[8*i:]))))
		}
		return d
	}
	require.Equal(t, 1, x.ints(2)[0])
	require.Len(t, raw, 4*n)
	for i := range n {
		d.floats = append(d.floats, math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	return d
}

func decodePort(t testing.TB, p message) port {
	tensor := p.one(t, 2).one(t, 1)
	require.Equal(t, 1, tensor.ints(1)[0], "floats")
	d := port{name: p.text(1)}
	for _, dim := range tensor.one(t, 2).all(t, 1) {
		if dim[2] != nil {
			d.dims = append(d.dims, -1)
			continue
		}
		d.dims = append(d.dims, dim.ints(1)[0])
	}
	return d
}
