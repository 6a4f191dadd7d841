package cuda

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/model"
)

// parameter is what kernels.h says of one parameter of a kernel.
type parameter struct {
	pointer, written bool
	bytes            int
}

//go:embed kernels/kernels.h
var kernelList string

// signatures reads kernels.h.
func signatures(t *testing.T) map[string][]parameter {
	sizes := map[string]int{"int": 4, "float": 4, "i64": 8, "Window": 36, "Normalisation": 24}
	list := map[string][]parameter{}
	for _, m := range regexp.MustCompile(`(?m)^KERNEL(_T)?\((\w+), \((.*)\)\)`).FindAllStringSubmatch(kernelList, -1) {
		var parameters []parameter
		for _, p := range strings.Split(m[3], ", ") {
			kind := p[:strings.LastIndex(p, " ")]
			parameters = append(parameters, parameter{
				pointer: strings.Contains(kind, "*"), written: !strings.HasPrefix(kind, "const "), bytes: sizes[kind],
			})
		}
		names := []string{m[2]}
		if m[1] != "" {
			names = []string{m[2] + "_f32", m[2] + "_bf16"}
		}
		for _, name := range names {
			list[name] = parameters
		}
	}
	require.NotEmpty(t, list)
	return list
}

var allModes = []engine.Mode{engine.Train, engine.Frozen, engine.Eval}

// forEachProgram makes the programs of the suite's networks.
func forEachProgram(t *testing.T, do func(t *testing.T, p *program)) {
	for _, m := range append(enginetest.Networks(t), resnet50(t)) {
		for _, precision := range []Precision{F32, BF16} {
			l := newLayout(m, precision)
			for _, s := range []model.Stage{model.Trunk, model.Head} {
				for _, mode := range allModes {
					t.Run(fmt.Sprintf("%s-%d/%v/%v/%d", m.Name, m.Input.W, precision, s, mode), func(t *testing.T) {
						p, err := newProgram(l, key{stage: s, mode: mode, n: 3})
						require.NoError(t, err)
						do(t, p)
					})
				}
			}
		}
	}
}

func resnet50(t *testing.T) *model.Network {
	m, err := model.Build(model.Spec{Arch: "resnet50", Side: 224, Dim: 512})
	require.NoError(t, err)
	return m
}

// halves are a program's directions with the gradients that they hand over.
func halves(p *program) map[string]*half {
	list := map[string]*half{"forward": p.forward}
	if p.mode != engine.Eval {
		list["backward"], list["backward with input"] = p.back(false), p.back(true)
	}
	return list
}

// operands are the places that a command reads and those that it writes.
func operands(t *testing.T, known map[string][]parameter, c command) (read, written []place) {
	switch {
	case c.launch != nil:
		parameters, ok := known[c.launch.kernel]
		require.True(t, ok, "there is no kernel %s", c.launch.kernel)
		require.Len(t, c.launch.args, len(parameters), "arguments of %s", c.launch.kernel)
		for i, a := range c.launch.args {
			p := parameters[i]
			require.Equal(t, p.pointer, a.value == nil, "argument %d of %s", i, c.launch.kernel)
			switch {
			case !p.pointer:
				require.Len(t, a.value, p.bytes, "argument %d of %s", i, c.launch.kernel)
			case p.written:
				written = append(written, a.place)
			default:
				read = append(read, a.place)
			}
		}
	case c.conv != nil:
		switch v := c.conv; v.direction {
		case forward:
			if f := v.finish; f != nil {
				read, written = operands(t, known, command{launch: f.launch})
				require.Equal(t, []place{v.y}, written, "what is finished is what the convolution writes")
			}
			return append(read, v.x, v.w), []place{v.y}
		case backwardData:
			if v.add {
				read = append(read, v.x)
			}
			return append(read, v.w, v.y), []place{v.x}
		case backwardWeights:
			return []place{v.x, v.y}, []place{v.w}
		}
	case c.product != nil:
		return []place{c.product.a, c.product.b}, []place{c.product.c}
	}
	return read, written
}

// Every kernel gets what kernels.h asks for, and no command reads memory that none has written.
func TestCommandsReadWhatWasWritten(t *testing.T) {
	known := signatures(t)
	forEachProgram(t, func(t *testing.T, p *program) {
		tape := map[*buffer]bool{}
		for _, name := range []string{"forward", "backward", "backward with input"} {
			h := halves(p)[name]
			if h == nil {
				continue
			}
			full := map[*buffer]bool{h.in: true}
			for i, c := range h.commands {
				read, written := operands(t, known, c)
				for _, x := range read {
					require.True(t, x.buf == nil || full[x.buf] || tape[x.buf], "%s: command %d reads a buffer of space %d that nobody has written", name, i, x.space)
				}
				for _, x := range written {
					switch {
					case x.space == onTape:
						require.Equal(t, "forward", name, "a backward writes to the tape")
						tape[x.buf] = true
					case x.buf != nil:
						full[x.buf] = true
					}
				}
			}
			if name != "backward" {
				require.True(t, full[h.out], "%s: nobody writes the result", name)
			}
		}
	})
}

// Buffers of the slab that are in use at the same time lie apart.
func TestSlabBuffersLieApart(t *testing.T) {
	known := signatures(t)
	forEachProgram(t, func(t *testing.T, p *program) {
		for name, h := range halves(p) {
			first, last := map[*buffer]int{h.in: 0}, map[*buffer]int{h.out: len(h.commands)}
			for i, c := range h.commands {
				read, written := operands(t, known, c)
				for _, x := range append(read, written...) {
					if x.space != onSlab {
						continue
					}
					require.LessOrEqual(t, x.buf.at+x.buf.bytes, h.slab, name)
					if _, ok := first[x.buf]; !ok {
						first[x.buf] = i
					}
					last[x.buf] = max(last[x.buf], i)
				}
			}
			for a := range last {
				for b := range last {
					if a == b || a == nil || b == nil || last[a] < first[b] || last[b] < first[a] {
						continue
					}
					require.True(t, a.at+a.bytes <= b.at || b.at+b.bytes <= a.at, "%s: two buffers overlap", name)
				}
			}
		}
	})
}

// The ranges that are handed over cover the stage from the last parameter to the first, and nothing is
// added to one afterwards.
func TestHandOversAreComplete(t *testing.T) {
	known := signatures(t)
	forEachProgram(t, func(t *testing.T, p *program) {
		if p.mode == engine.Eval {
			return
		}
		lo, at := p.graph.layout.model.StageRange(p.stage)
		h := p.back(false)
		done := 0
		for _, hand := range h.hand {
			assert.Equal(t, at, hand.hi)
			assert.LessOrEqual(t, done, hand.after)
			at, done = hand.lo, hand.after
			for _, c := range h.commands[hand.after:] {
				_, written := operands(t, known, c)
				for _, x := range written {
					if x.space == ofGrads {
						assert.Less(t, x.at, 4*int64(hand.lo), "a gradient is added to after it was handed over")
					}
				}
			}
		}
		assert.Equal(t, lo, at, "the ranges cover the stage")
	})
}

// A ResNet-50 hands its gradients over in pieces while the backward goes on.
func TestGradientsLeaveEarly(t *testing.T) {
	p, err := newProgram(newLayout(resnet50(t), BF16), key{stage: model.Trunk, mode: engine.Train, n: 8})
	require.NoError(t, err)
	h := p.back(false)
	assert.Greater(t, len(h.hand), 10)
	assert.Less(t, h.hand[0].after, len(h.commands)/5, "the first range waits for a fifth of the backward")
}

func TestProgramsRefuseWhatTheyCannotCompute(t *testing.T) {
	for want, l := range map[string]model.Layer{
		"layer own is external": &model.External{Name: "own", Out: model.Shape{C: 1, H: 1, W: 1}},
		"layer huge":            &model.MaxPool{Name: "huge", Kernel: 16, Stride: 16},
	} {
		m, err := model.Assemble("odd", model.Shape{C: 1, H: 16, W: 16}, []model.Layer{l}, nil)
		require.NoError(t, err)
		_, err = newProgram(newLayout(m, F32), key{stage: model.Trunk, mode: engine.Train, n: 1})
		assert.ErrorContains(t, err, want)
	}
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 16, Dim: 4, Norm: "batch"})
	require.NoError(t, err)
	_, err = newProgram(newLayout(m, F32), key{stage: model.Trunk, mode: engine.Train, n: 1 << 24})
	assert.ErrorContains(t, err, "too many for one call")
	m, err = model.Assemble("one", model.Shape{C: 4, H: 1, W: 1}, []model.Layer{&model.BatchNorm{Name: "bn", Channels: 4}}, nil)
	require.NoError(t, err)
	_, err = newProgram(newLayout(m, F32), key{stage: model.Trunk, mode: engine.Train, n: 1})
	assert.ErrorContains(t, err, "batch norm bn sees one value per channel")
}

// Copies of weights lie apart, aligned, and the table covers them without gaps, as the kernel wants it.
func TestPacksHaveNoGaps(t *testing.T) {
	for _, m := range append(enginetest.Networks(t), resnet50(t)) {
		for _, precision := range []Precision{F32, BF16} {
			l := newLayout(m, precision)
			for _, s := range []model.Stage{model.Trunk, model.Head} {
				_, err := newGraph(l, s, engine.Frozen)
				require.NoError(t, err)
			}
			l.place()
			for _, p := range l.packs {
				at := int64(0)
				for row := p.table; len(row) > 0; row = row[6:] {
					assert.Equal(t, at, row[0])
					at += row[2] * row[4] * row[5]
				}
				assert.Equal(t, p.elements, at)
			}
			for _, w := range l.weights {
				assert.Zero(t, w.placeOf().at%16)
			}
		}
	}
}

// Folds are made of parameters and statistics, one for each convolution with a batch norm behind it, next to
// one another.
func TestFoldsAreMadeOfParameters(t *testing.T) {
	known, m := signatures(t), resnet50(t)
	for _, precision := range []Precision{F32, BF16} {
		l := newLayout(m, precision)
		_, err := newGraph(l, model.Trunk, engine.Eval)
		require.NoError(t, err)
		commands := l.foldCommands(model.Trunk)
		assert.Len(t, commands, 53)
		assert.Empty(t, l.foldCommands(model.Head))
		end := int64(0)
		for _, c := range commands {
			read, written := operands(t, known, c)
			for _, p := range read {
				assert.Contains(t, []space{ofParams, ofBuffers, nowhere}, p.space)
			}
			require.Len(t, written, 2)
			for _, p := range written {
				assert.Equal(t, ofFolded, p.space)
				assert.GreaterOrEqual(t, p.at, end)
				end = p.at + 1
			}
		}
		assert.Less(t, end, l.folded)
	}
}
