package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields of ONNX's messages that are written here (onnx.proto3, IR version 8).
const (
	modelIR, modelProducer, modelGraph, modelOpset, modelMetadata = 1, 2, 7, 8, 14
	opsetVersion                                                  = 2
	entryKey, entryValue                                          = 1, 2
	graphNode, graphName, graphTensor, graphInput, graphOutput    = 1, 2, 5, 11, 12
	nodeInput, nodeOutput, nodeName, nodeOp, nodeAttribute        = 1, 2, 3, 4, 5
	attrName, attrFloat, attrInt, attrInts, attrType              = 1, 2, 3, 8, 20
	tensorDims, tensorType, tensorName, tensorRaw                 = 1, 2, 8, 9
	valueName, valueType                                          = 1, 2
	typeTensor, typeElement, typeShape                            = 1, 1, 2
	shapeDim, dimValue, dimParam                                  = 1, 1, 2
)

const (
	irVersion    = 8
	onnxOpset    = 17
	elementFloat = 1
	elementInt64 = 7
	// maxProto is the longest message that protobuf's readers take.
	maxProto = math.MaxInt32
)

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

// attribute of a node: a float32, an int or []int.
type attribute struct {
	name  string
	value any
}

func (a attribute) encode() []byte {
	const isFloat, isInt, isInts = 1, 2, 7
	b := appendText(nil, attrName, a.name)
	switch v := a.value.(type) {
	case float32:
		b = protowire.AppendTag(b, attrFloat, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(v))
		return appendInt(b, attrType, isFloat)
	case int:
		return appendInt(appendInt(b, attrInt, v), attrType, isInt)
	case []int:
		for _, i := range v {
			b = appendInt(b, attrInts, i)
		}
		return appendInt(b, attrType, isInts)
	}
	panic(fmt.Sprintf("an attribute of type %T", a.value))
}

// onnxNode is one operation, with a single output.
type onnxNode struct {
	op, name, output string
	inputs           []string
	attributes       []attribute
}

func (n onnxNode) encode() []byte {
	var b []byte
	for _, in := range n.inputs {
		b = appendText(b, nodeInput, in)
	}
	b = appendText(b, nodeOutput, n.output)
	b = appendText(b, nodeName, n.name)
	b = appendText(b, nodeOp, n.op)
	for _, a := range n.attributes {
		b = appendMessage(b, nodeAttribute, a.encode())
	}
	return b
}

// onnxTensor is a constant of the graph: floats, which are written from where they are, or integers.
type onnxTensor struct {
	name   string
	dims   []int
	floats []float32
	ints   []int
}

// head is the message up to the raw data of its floats.
func (t onnxTensor) head() []byte {
	var b []byte
	for _, d := range t.dims {
		b = appendInt(b, tensorDims, d)
	}
	element := elementFloat
	if t.ints != nil {
		element = elementInt64
	}
	b = appendInt(b, tensorType, element)
	b = appendText(b, tensorName, t.name)
	b = protowire.AppendTag(b, tensorRaw, protowire.BytesType)
	if t.ints == nil {
		return protowire.AppendVarint(b, uint64(4*len(t.floats)))
	}
	var raw []byte
	for _, v := range t.ints {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return protowire.AppendBytes(b, raw)
}

// valueInfo describes an input or output of rows: a number of rows that is free, then extents.
func valueInfo(name string, extents ...int) []byte {
	shape := appendMessage(nil, shapeDim, appendText(nil, dimParam, "N"))
	for _, d := range extents {
		shape = appendMessage(shape, shapeDim, appendInt(nil, dimValue, d))
	}
	tensor := appendMessage(appendInt(nil, typeElement, elementFloat), typeShape, shape)
	return appendMessage(appendText(nil, valueName, name), valueType, appendMessage(nil, typeTensor, tensor))
}

// encode writes the model message. Lengths come before contents, so they are added up first; the
// floats are then written from the flat blocks.
func (g *graph) encode(w io.Writer, metadata map[string]string) error {
	body := g.body()
	heads := make([][]byte, len(g.tensors))
	length := len(body)
	for i, t := range g.tensors {
		heads[i] = t.head()
		size := len(heads[i]) + 4*len(t.floats)
		heads[i] = append(protowire.AppendVarint(protowire.AppendTag(nil, graphTensor, protowire.BytesType), uint64(size)), heads[i]...)
		length += len(heads[i]) + 4*len(t.floats)
	}
	head := g.header(metadata)
	head = protowire.AppendVarint(protowire.AppendTag(head, modelGraph, protowire.BytesType), uint64(length))
	if len(head)+length > maxProto {
		return fmt.Errorf("the network has %d bytes; an ONNX file holds at most %d: use safetensors", length, maxProto)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	for _, part := range [][]byte{head, body} {
		if _, err := out.Write(part); err != nil {
			return err
		}
	}
	for i, t := range g.tensors {
		if _, err := out.Write(heads[i]); err != nil {
			return err
		}
		if err := binary.Write(out, binary.LittleEndian, t.floats); err != nil {
			return err
		}
	}
	return out.Flush()
}

// header is the model message up to its graph.
func (g *graph) header(metadata map[string]string) []byte {
	b := appendInt(nil, modelIR, irVersion)
	b = appendText(b, modelProducer, "metrix")
	b = appendMessage(b, modelOpset, appendInt(nil, opsetVersion, onnxOpset))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		b = appendMessage(b, modelMetadata, appendText(appendText(nil, entryKey, key), entryValue, metadata[key]))
	}
	return b
}

// body is the graph message without its tensors.
func (g *graph) body() []byte {
	b := appendText(nil, graphName, g.network.Name)
	for _, n := range g.nodes {
		b = appendMessage(b, graphNode, n.encode())
	}
	in := g.network.Input
	b = appendMessage(b, graphInput, valueInfo(InputName, in.C, in.H, in.W))
	return appendMessage(b, graphOutput, valueInfo(OutputName, g.network.Dim))
}
