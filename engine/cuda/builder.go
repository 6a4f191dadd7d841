package cuda

import (
	"bytes"
	"encoding/binary"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/model"
)

// command is one piece of work for the card, by value: which kernel or library call, on which places.
// Programs are made of them without a card; commands run in order on one stream.
type command struct {
	launch  *launch
	conv    *convolve
	product *product
	params  bool // only adds to parameter gradients: left out with engine.Backward.SkipParams
}

// launch is one kernel.
type launch struct {
	kernel   string
	geometry kernels.Geometry
	args     []argument
}

// argument of a kernel: a place, or bytes passed by value.
type argument struct {
	place place
	value []byte // nil for a place
}

// Directions of a convolution.
const (
	forward = iota
	backwardData
	backwardWeights
)

// convolve is one call of cuDNN. The place that it writes is y forward, x for backwardData, w for
// backwardWeights; backwardData adds if add is set.
type convolve struct {
	shape     convShape
	direction int
	layer     string
	x, w, y   place
	add       bool
	finish    *finish // only forward; nil for a plain convolution
}

// convShape is what a convolution costs and how it is computed depends on. Its fields are in pixels,
// channels in memory, and rows.
type convShape struct {
	bf16                bool
	n, c, h, w          int
	k, kernel           int
	stride, pad, oh, ow int
}

// product is C = op(A) op(B) + (add ? C : 0) by cuBLAS, single precision, column-major.
type product struct {
	transposeA, transposeB bool
	m, n, k                int
	a, b, c                place
	lda, ldb, ldc          int
	add                    bool
	layer                  string
}

// handOver is the range [lo, hi) of the flat gradients that is complete after so many commands.
type handOver struct{ after, lo, hi int }

// half is one direction of a program.
type half struct {
	commands []command
	in, out  *buffer // what the caller gives and gets, in plain floats; either may be nil
	crops    *buffer // where images are cut, if in is bytes
	slab     int64   // bytes of the slab
	hand     []handOver
}

// builder turns a graph into commands for n rows.
type builder struct {
	g        *graph
	n        int
	input    bool // the backward is to give the gradient by the stage's input
	commands []command
	slab     []*buffer
	in, out  *buffer
	crops    *buffer
	tape     int64 // bytes of the tape so far
	done     []int // by parameter: commands after which its gradient is complete
}

func (g *graph) builder(n int, input bool, tape int64) *builder {
	return &builder{g: g, n: n, input: input, tape: tape, done: make([]int, len(g.layout.model.Params))}
}

// now is the number of the command that is emitted next.
func (b *builder) now() int { return len(b.commands) }

// temporary is memory of the slab, in use from now on.
func (b *builder) temporary(bytes int64) *buffer {
	t := &buffer{bytes: bytes, space: onSlab, first: b.now(), last: b.now()}
	b.slab = append(b.slab, t)
	return t
}

// keep is memory of the tape, or of the slab where there will be no backward.
func (b *builder) keep(bytes int64) *buffer {
	if b.g.mode == engine.Eval {
		return b.temporary(bytes)
	}
	t := &buffer{bytes: bytes, space: onTape, at: b.tape}
	b.tape += aligned(bytes)
	return t
}

// write makes the memory of a value.
func (b *builder) write(v *value) *buffer {
	if v.keep {
		v.buf = b.keep(v.bytes(b.n))
	} else {
		v.buf = b.temporary(v.bytes(b.n))
	}
	return v.buf
}

func at(b *buffer) place {
	if b == nil {
		return place{}
	}
	return place{space: b.space, buf: b}
}

func param(b *builder, r model.Ref) place {
	return place{space: ofParams, at: 4 * int64(b.g.layout.model.Params[r].Offset)}
}

func grad(b *builder, r model.Ref) place {
	return place{space: ofGrads, at: 4 * int64(b.g.layout.model.Params[r].Offset)}
}

func statistic(b *builder, s space, r model.Ref) place {
	return place{space: s, at: 4 * int64(b.g.layout.model.Buffers[r].Offset)}
}

// emit appends a command that works on places.
func (b *builder) emit(c command, places ...place) {
	for _, p := range places {
		p.buf.use(b.now())
	}
	b.commands = append(b.commands, c)
}

// call emits a kernel. Arguments are buffers (nil for a null pointer), places, or numbers and structs
// of the very types of the kernel.
func (b *builder) call(kernel string, g kernels.Geometry, args ...any) {
	l, places := newLaunch(kernel, g, args...)
	b.emit(command{launch: l}, places...)
}

// newLaunch is call's kernel, with the places that it works on.
func newLaunch(kernel string, g kernels.Geometry, args ...any) (*launch, []place) {
	l := &launch{kernel: kernel, geometry: g}
	var places []place
	for _, a := range args {
		switch a := a.(type) {
		case *buffer:
			l.args = append(l.args, argument{place: at(a)})
		case place:
			l.args = append(l.args, argument{place: a})
		default:
			var text bytes.Buffer
			if err := binary.Write(&text, binary.LittleEndian, a); err != nil {
				panic("cuda: an argument of " + kernel + " has no fixed size")
			}
			l.args = append(l.args, argument{value: text.Bytes()})
			continue
		}
		places = append(places, l.args[len(l.args)-1].place)
	}
	return l, places
}

// typed is the name of a kernel for the type of v.
func typed(kernel string, v *value) string {
	if v.bf16 {
		return kernel + "_bf16"
	}
	return kernel + "_f32"
}

// columns is the geometry of a reduction over area pixels of each image.
func columns(area int, v *value, images int) kernels.Geometry {
	return kernels.Columns(area, v.channels, int(16/elementSize(v.bf16)), images)
}

// onlyParams marks the commands since from as needless with SkipParams.
func (b *builder) onlyParams(from int) {
	for i := from; i < b.now(); i++ {
		b.commands[i].params = true
	}
}

// complete notes that the gradients of parameters are complete.
func (b *builder) complete(refs ...model.Ref) {
	for _, r := range refs {
		if r != model.None {
			b.done[r] = b.now()
		}
	}
}

// wanted says whether a backward needs the gradient by v.
func (b *builder) wanted(v *value) bool { return !v.input || b.input }

// give adds d to the gradient by v.
func (b *builder) give(v *value, d *buffer) {
	if !b.wanted(v) {
		return
	}
	d.holders++
	if v.gradient == nil {
		v.gradient = d
		return
	}
	other := b.take(v)
	d.holders--
	sum := d
	switch {
	case writable(d):
	case writable(other):
		sum = other
	default:
		sum = b.temporary(v.bytes(b.n))
	}
	b.call(typed("add", v), kernels.Each(v.size(b.n)), sum, d, other, int32(0), v.size(b.n))
	b.give(v, sum)
}

// take returns the gradient by v, which is complete.
func (b *builder) take(v *value) *buffer {
	d := v.gradient
	d.holders--
	v.gradient = nil
	return d
}

// writable says whether nobody needs a gradient any more but who has taken it.
func writable(d *buffer) bool { return d.holders == 0 }

// over returns a gradient for v in place of d, which was taken, or fresh memory where d is needed.
func (b *builder) over(d *buffer, v *value) *buffer {
	if writable(d) {
		return d
	}
	return b.temporary(v.bytes(b.n))
}

// finish places the buffers.
func (b *builder) finish() *half {
	b.in.use(0)
	b.crops.use(0)
	b.out.use(b.now())
	return &half{commands: b.commands, in: b.in, out: b.out, crops: b.crops, slab: arrange(b.slab), hand: b.handOvers()}
}

// bucket is the least number of floats that leave the card at a time, but for the last.
const bucket = 1 << 20

// handOvers lists the ranges of the stage's gradients from the last to the first, each once all later
// ones are complete too. Small ones wait for the next.
func (b *builder) handOvers() (list []handOver) {
	m := b.g.layout.model
	lo, hi := m.StageRange(b.g.stage)
	after, end := 0, hi
	for i := len(m.Params) - 1; i >= 0; i-- {
		p := m.Params[i]
		if p.Stage != b.g.stage {
			continue
		}
		after = max(after, b.done[i])
		if end-p.Offset >= bucket || p.Offset == lo {
			list = append(list, handOver{after, p.Offset, end})
			end = p.Offset
		}
	}
	return list
}
