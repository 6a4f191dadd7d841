package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/nlpodyssey/gopickle/pickle"
)

// Bounds on one pickle. A ResNet-101 with the state of Adam needs 0.3 MiB and 60 000 instructions.
const (
	maxPickle       = 4 << 20
	maxInstructions = 1 << 19
	maxLine         = 4096 // bytes of a text argument
	maxInteger      = 32   // bytes of a long integer
)

// argument says what follows an instruction's byte.
type argument int8

const (
	refused argument = -iota - 1
	line             // text up to a newline
	twoLines
	counted1 // a length of 1, 4 or 8 bytes, then that many bytes
	counted4
	counted8
	frame // an 8-byte length that only helps buffering
)

// instructions lists what a pickle may consist of: protocols 0 to 4 without extension codes. A value
// >= 0 is the number of bytes that follow.
var instructions = func() (table [256]argument) {
	for i := range table {
		table[i] = refused
	}
	for arg, codes := range map[argument]string{
		0:        "(.012NRQ])}abdelostu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94",
		1:        "Khq\x80",
		2:        "M",
		4:        "Jjr",
		8:        "G",
		line:     "FILPSVgp",
		twoLines: "ci",
		counted1: "UC\x8a\x8c",
		counted4: "TXB\x8b",
		counted8: "\x8d\x8e",
		frame:    "\x95",
	} {
		for i := range len(codes) {
			table[codes[i]] = arg
		}
	}
	return table
}()

const (
	opStop   = '.'
	opGlobal = 'c'
	opLong1  = 0x8a
	opLong4  = 0x8b
)

// byteReader is what a pickle is read from: exactly its bytes are taken.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// gate copies one pickle from r, up to its last instruction, and lets pass only what the machine
// behind can be trusted with.
type gate struct {
	r   byteReader
	out []byte
}

// vet returns the pickle that starts at r.
func vet(r byteReader) ([]byte, error) {
	g := gate{r: r}
	for range maxInstructions {
		code, err := r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("the pickle has no end")
		}
		if err := g.instruction(code); err != nil {
			return nil, err
		}
		if code == opStop {
			return g.out, nil
		}
	}
	return nil, fmt.Errorf("the pickle has more than %d instructions", maxInstructions)
}

func (g *gate) instruction(code byte) error {
	start := len(g.out)
	g.out = append(g.out, code)
	var err error
	switch arg := instructions[code]; arg {
	case refused:
		return fmt.Errorf("the pickle has the instruction %#x, which no state dict needs", code)
	case line:
		err = g.line()
	case twoLines:
		if err = g.line(); err == nil {
			err = g.line()
		}
		g.rename(start)
	case counted1:
		err = g.counted(code, 1)
	case counted4:
		err = g.counted(code, 4)
	case counted8:
		err = g.counted(code, 8)
	case frame: // its length would be wrong behind the gate, and nothing needs it
		err = g.copy(8)
		g.out = g.out[:start]
	default:
		err = g.copy(int(arg))
	}
	if err == nil && code == opLong1 && g.out[len(g.out)-1] == 0 && len(g.out) == start+2 {
		g.out = append(g.out[:start], 'K', 0) // the empty long is 0, which the machine does not know
	}
	return err
}

// rename calls the ordered dict differently, so that it becomes our own: the machine's cannot be made
// of a list of pairs, which is how Python 2 pickled it.
func (g *gate) rename(start int) {
	if bytes.Equal(g.out[start:], []byte("ccollections\nOrderedDict\n")) {
		g.out = append(g.out[:start], "c"+ownModule+"\nOrderedDict\n"...)
	}
}

// copy lets n bytes pass. It grows as they come, so that a length that lies costs nothing.
func (g *gate) copy(n int) error {
	if n > maxPickle-len(g.out) {
		return fmt.Errorf("the pickle is longer than %d bytes", maxPickle)
	}
	for n > 0 {
		part := min(n, 4096)
		at := len(g.out)
		g.out = slices.Grow(g.out, part)[:at+part]
		if _, err := io.ReadFull(g.r, g.out[at:]); err != nil {
			return fmt.Errorf("the pickle ends inside an instruction")
		}
		n -= part
	}
	return nil
}

func (g *gate) line() error {
	for range maxLine {
		if err := g.copy(1); err != nil {
			return err
		}
		if g.out[len(g.out)-1] == '\n' {
			return nil
		}
	}
	return fmt.Errorf("the pickle has a line of more than %d bytes", maxLine)
}

func (g *gate) counted(code byte, width int) error {
	if err := g.copy(width); err != nil {
		return err
	}
	var length [8]byte
	copy(length[:], g.out[len(g.out)-width:])
	n := binary.LittleEndian.Uint64(length[:])
	most := uint64(maxPickle)
	if code == opLong1 || code == opLong4 {
		most = maxInteger
	}
	if n > most || code == opLong4 && n == 0 {
		return fmt.Errorf("the pickle has a value of %d bytes where at most %d make sense", n, most)
	}
	return g.copy(int(n))
}

// unpickle runs the pickle that starts at r, and takes exactly its bytes from r. Persistent makes
// what the pickle only refers to. Whatever the machine trips over is an error.
func unpickle(r byteReader, persistent func(id any) (any, error)) (value any, err error) {
	program, err := vet(r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if trouble := recover(); trouble != nil { // an index or a map key of a malformed program
			value, err = nil, fmt.Errorf("the pickle is malformed: %.200v", fmt.Sprint(trouble))
		}
	}()
	machine := pickle.NewUnpickler(bytes.NewReader(program))
	machine.FindClass = findClass
	machine.PersistentLoad = persistent
	value, err = machine.Load()
	if err != nil {
		return nil, fmt.Errorf("the pickle is malformed: %.200s", err.Error())
	}
	return value, nil
}
