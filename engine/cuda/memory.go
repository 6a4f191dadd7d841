package cuda

import (
	"slices"

	"github.com/metrixml/metrix/internal/slab"
)

// space is one of the areas of device memory that a program's commands work on.
type space uint8

const (
	nowhere   space = iota // a null pointer
	onSlab                 // shared by all programs: what a call needs while it runs
	onTape                 // of one tape: what a backward needs
	ofParams               // the flat block of parameters
	ofBuffers              // running statistics
	ofGrads                // the flat block of gradients
	ofSums                 // of batch statistics
	ofWeights              // convolution weights as cuDNN reads them, by type
	ofFolded               // the same with the batch norms behind them, for Eval
	ofWork                 // the workspace of cuDNN and cuBLAS
	ofBatch                // rows that the loss compares
	ofTables               // which of them with which
	spaces
)

// buffer is a piece of a tape or of the slab.
type buffer struct {
	bytes       int64
	space       space
	at          int64 // from the beginning of the space
	first, last int   // commands that use it; for the slab
	holders     int   // values whose gradient it is, in a backward
}

// use notes that command i works on the buffer.
func (b *buffer) use(i int) {
	if b != nil {
		b.first, b.last = min(b.first, i), max(b.last, i)
	}
}

// place is where a command finds an operand: a buffer, or a fixed offset of a space.
type place struct {
	space space
	buf   *buffer
	at    int64
}

// alignment of everything that is placed, in bytes: what cuDNN's and the kernels' widest accesses want.
const alignment = 256

func aligned(bytes int64) int64 { return (bytes + alignment - 1) / alignment * alignment }

// arrange gives every buffer of the slab an offset and returns the slab's size.
func arrange(buffers []*buffer) int64 {
	spans := make([]slab.Span, len(buffers))
	for i, b := range buffers {
		spans[i] = slab.Span{Bytes: b.bytes, First: b.first, Last: b.last}
	}
	at, size := slab.Plan(spans, alignment)
	for i, b := range buffers {
		b.at = at[i]
	}
	return size
}

// pool keeps pieces of memory that come back and lends them again to anybody whom they are large enough
// for, so after a few steps the same pieces go round, whatever the numbers of rows. It knows every piece,
// lent or not, and gives all back at the end.
type pool struct {
	take func(bytes int64) (uintptr, error)
	give func(address uintptr) error
	unit int64 // sizes are multiples of it
	all  map[uintptr]int64
	idle []piece // by size
}

type piece struct {
	address uintptr
	bytes   int64
}

func newPool(unit int64, take func(int64) (uintptr, error), give func(uintptr) error) *pool {
	return &pool{take: take, give: give, unit: unit, all: map[uintptr]int64{}}
}

func (p *pool) search(bytes int64) int {
	i, _ := slices.BinarySearchFunc(p.idle, bytes, func(x piece, n int64) int { return int(min(max(x.bytes-n, -1), 1)) })
	return i
}

// get lends a piece of at least that many bytes, with any content.
func (p *pool) get(bytes int64) (piece, error) {
	bytes = max((bytes+p.unit-1)/p.unit*p.unit, p.unit)
	i := p.search(bytes)
	if i < len(p.idle) {
		x := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		return x, nil
	}
	if i > 0 { // the largest is too small: one that serves both takes its place
		if err := p.free(i - 1); err != nil {
			return piece{}, err
		}
	}
	address, err := p.take(bytes)
	if err != nil && len(p.idle) > 0 { // what lies idle may make room
		if err := p.drain(); err != nil {
			return piece{}, err
		}
		address, err = p.take(bytes)
	}
	if err != nil {
		return piece{}, err
	}
	p.all[address] = bytes
	return piece{address, bytes}, nil
}

// put takes a piece back.
func (p *pool) put(x piece) {
	if x.address != 0 && p.all[x.address] == x.bytes {
		p.idle = slices.Insert(p.idle, p.search(x.bytes), x)
	}
}

func (p *pool) free(i int) error {
	x := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	delete(p.all, x.address)
	return p.give(x.address)
}

// drain gives back what is not lent.
func (p *pool) drain() (err error) {
	for len(p.idle) > 0 && err == nil {
		err = p.free(len(p.idle) - 1)
	}
	return err
}

// close gives everything back, lent or not.
func (p *pool) close() (first error) {
	for address := range p.all {
		if err := p.give(address); err != nil && first == nil {
			first = err
		}
	}
	clear(p.all)
	p.idle = nil
	return first
}
