package matfile

import "fmt"

// Kind says what an Array holds.
type Kind uint8

// The kinds of arrays.
const (
	Other   Kind = iota // something that this package does not read
	Numbers             // real numbers of any type
	Text                // one line of text, or none
	Cell                // an array in each element
	Struct              // an array in each field of each element
)

// String names the kind as MATLAB's users do.
func (k Kind) String() string {
	return [...]string{"an unknown array", "numbers", "text", "a cell array", "a struct array"}[min(k, Struct)]
}

// Array is a variable, a cell or a field.
type Array struct {
	Name     string // of a variable; "" inside another array
	Kind     Kind
	Dims     []int     // at least 2, each >= 0; elements are in column-major order
	Numbers  []float64 // one for each element, where Kind is Numbers; without imaginary parts
	Text     string    // where Kind is Text
	Fields   []string  // names, where Kind is Struct
	Elements []*Array  // Cell: one for each element; Struct: all fields of the first element, and so on
}

// Len returns the number of elements.
func (a *Array) Len() int {
	n := 1
	for _, d := range a.Dims {
		n *= d
	}
	return n
}

// Field returns the named field of element i of a struct array.
func (a *Array) Field(i int, name string) (*Array, error) {
	if a.Kind != Struct {
		return nil, fmt.Errorf("it is %s, not a struct array", a.Kind)
	}
	if i < 0 || i >= a.Len() {
		return nil, fmt.Errorf("it has %d elements, and none with index %d", a.Len(), i)
	}
	for k, f := range a.Fields {
		if f == name {
			return a.Elements[i*len(a.Fields)+k], nil
		}
	}
	return nil, fmt.Errorf("it has no field %q; it has %q", name, a.Fields)
}

// Int returns the whole number that the array is.
func (a *Array) Int() (int64, error) {
	if a.Kind != Numbers || len(a.Numbers) != 1 {
		return 0, fmt.Errorf("it is %s of %d elements, not one number", a.Kind, a.Len())
	}
	v := a.Numbers[0]
	if !(v > -1<<53 && v < 1<<53) || v != float64(int64(v)) {
		return 0, fmt.Errorf("it is %v, not a whole number", v)
	}
	return int64(v), nil
}

// Line returns the text that the array is.
func (a *Array) Line() (string, error) {
	if a.Kind != Text {
		return "", fmt.Errorf("it is %s, not text", a.Kind)
	}
	return a.Text, nil
}

// NewNumber returns an array of one number.
func NewNumber(v float64) *Array {
	return &Array{Kind: Numbers, Dims: []int{1, 1}, Numbers: []float64{v}}
}

// NewText returns a line of text.
func NewText(s string) *Array {
	return &Array{Kind: Text, Dims: []int{1, len(utf16Of(s))}, Text: s}
}

// NewRow returns a 1 x n cell array.
func NewRow(elements ...*Array) *Array {
	return &Array{Kind: Cell, Dims: []int{1, len(elements)}, Elements: elements}
}

// NewStruct returns a 1 x n struct array from the fields of its n elements in turn.
func NewStruct(fields []string, elements ...*Array) *Array {
	return &Array{Kind: Struct, Dims: []int{1, len(elements) / max(1, len(fields))}, Fields: fields, Elements: elements}
}

// Named returns a as a variable of the given name.
func (a *Array) Named(name string) *Array {
	out := *a
	out.Name = name
	return &out
}
