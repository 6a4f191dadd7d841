package matfile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// banner is the text that the header begins with. MATLAB writes a date here; a file of ours is a
// function of its contents.
const banner = "MATLAB 5.0 MAT-file, written by metrix"

// Write writes a file with the given variables, compressed, as MATLAB 7 does by default.
func Write(w io.Writer, vars ...*Array) error {
	head := bytes.Repeat([]byte{' '}, headerBytes)
	copy(head, banner)
	clear(head[116:versionAt]) // no subsystem data
	binary.LittleEndian.PutUint16(head[versionAt:], version)
	copy(head[endianAt:], "IM")
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, v := range vars {
		raw, err := appendMatrix(nil, v, v.Name)
		if err != nil {
			return fmt.Errorf("matfile: variable %q: %w", v.Name, err)
		}
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		if _, err := z.Write(raw); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		tag := binary.LittleEndian.AppendUint32(nil, typeCompressed)
		tag = binary.LittleEndian.AppendUint32(tag, uint32(packed.Len()))
		if _, err := w.Write(append(tag, packed.Bytes()...)); err != nil {
			return err
		}
	}
	return nil
}

// appendElement appends data with its tag and padding, in the small format where it fits.
func appendElement(b []byte, typ uint32, data []byte) []byte {
	n := len(data)
	if n > 0 && n <= 4 {
		b = binary.LittleEndian.AppendUint32(b, typ|uint32(n)<<16)
		b = append(b, data...)
		return append(b, make([]byte, 4-n)...)
	}
	b = binary.LittleEndian.AppendUint32(b, typ)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = append(b, data...)
	return append(b, make([]byte, padded(n)-n)...)
}

func appendWords(b []byte, typ uint32, words ...uint32) []byte {
	var data []byte
	for _, v := range words {
		data = binary.LittleEndian.AppendUint32(data, v)
	}
	return appendElement(b, typ, data)
}

func appendMatrix(b []byte, a *Array, name string) ([]byte, error) {
	body, err := matrixBody(a, name)
	if err != nil {
		return nil, err
	}
	return appendElement(b, typeMatrix, body), nil
}

func matrixBody(a *Array, name string) ([]byte, error) {
	class, ok := map[Kind]uint32{Numbers: classDouble, Text: classChar, Cell: classCell, Struct: classStruct}[a.Kind]
	if !ok {
		return nil, fmt.Errorf("%s cannot be written", a.Kind)
	}
	b := appendWords(nil, typeUint32, class, 0)
	dims := make([]uint32, len(a.Dims))
	for i, d := range a.Dims {
		dims[i] = uint32(d)
	}
	b = appendWords(b, typeInt32, dims...)
	b = appendElement(b, typeInt8, []byte(name))
	switch a.Kind {
	case Numbers:
		var data []byte
		for _, v := range a.Numbers {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		}
		return appendElement(b, typeDouble, data), nil
	case Text:
		var data []byte
		for _, u := range utf16Of(a.Text) {
			data = binary.LittleEndian.AppendUint16(data, u)
		}
		return appendElement(b, typeUint16, data), nil
	case Struct:
		b = appendFields(b, a.Fields)
	}
	if want := a.Len() * max(1, len(a.Fields)); len(a.Elements) != want {
		return nil, fmt.Errorf("%s has %d elements; it needs %d", a.Kind, len(a.Elements), want)
	}
	var err error
	for _, e := range a.Elements {
		if b, err = appendMatrix(b, e, ""); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fieldBytes is the length of a field name in MATLAB's own files.
const fieldBytes = 32

func appendFields(b []byte, fields []string) []byte {
	b = appendWords(b, typeInt32, fieldBytes)
	names := make([]byte, fieldBytes*len(fields))
	for i, f := range fields {
		copy(names[i*fieldBytes:(i+1)*fieldBytes-1], f)
	}
	return appendElement(b, typeInt8, names)
}
