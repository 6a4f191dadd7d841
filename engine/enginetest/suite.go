package enginetest

import (
	"fmt"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Tolerance says how far an engine may be from the reference. Distances are relative: the Euclidean
// length of the difference over that of the reference.
type Tolerance struct {
	// Output is for outputs and statistics, Gradient for gradients.
	Output, Gradient float64
	// Rows is how much a row may change, absolutely, with the other rows of its call.
	Rows float64
	// Difference is for gradients against finite differences of the engine's own forward; 0 leaves
	// that check out, for engines too coarse for it.
	Difference float64
	// SameBits asks for equal bits from run to run and for any number of threads.
	SameBits bool
}

// Single is the tolerance of single precision.
func Single() Tolerance {
	return Tolerance{Output: 2e-5, Gradient: 1e-4, Rows: 1e-6, Difference: 2e-2, SameBits: true}
}

var modes = map[string]engine.Mode{"train": engine.Train, "frozen": engine.Frozen, "eval": engine.Eval}

var stages = []model.Stage{model.Trunk, model.Head}

// Run holds an engine to the contract of package engine. open makes a fresh engine.
func Run(t *testing.T, open func() engine.Engine, tol Tolerance) {
	for _, m := range Networks(t) {
		name := fmt.Sprintf("%s-%d", m.Name, m.Input.W)
		t.Run(name, func(t *testing.T) {
			for _, s := range stages {
				for mode := range modes {
					t.Run(fmt.Sprintf("reference/%v/%s", s, mode), func(t *testing.T) {
						testReference(t, open(), m, s, modes[mode], tol)
					})
				}
				t.Run(fmt.Sprintf("differences/%v", s), func(t *testing.T) { testDifferences(t, open(), m, s, tol) })
			}
			t.Run("rows", func(t *testing.T) { testRows(t, open(), m, tol) })
		})
	}
	runContract(t, open, tol)
	if tol.SameBits {
		t.Run("bits", func(t *testing.T) { testBits(t, open, append(Networks(t)[:4], windows(t))) })
	}
}

// runContract checks what does not need the reference.
func runContract(t *testing.T, open func() engine.Engine, tol Tolerance) {
	m := pieces(t)
	t.Run("tapes", func(t *testing.T) { testTapes(t, open(), m, tol) })
	t.Run("accumulate", func(t *testing.T) { testAccumulate(t, open(), m, tol) })
	t.Run("ready", func(t *testing.T) { testReady(t, open(), bottlenecks(t)) })
	t.Run("skip", func(t *testing.T) { testSkip(t, open(), m) })
	t.Run("only", func(t *testing.T) { testWritesNothingElse(t, open(), m) })
	t.Run("keeper", func(t *testing.T) { testKeeper(t, open(), windows(t)) })
	t.Run("misuse", func(t *testing.T) { testMisuse(t, open(), m) })
	t.Run("growth", func(t *testing.T) { testGrowth(t, open(), m) })
}

// pass is what one forward and backward give.
type pass struct {
	out, dIn, grads, sums []float32
}

// run does one forward and, unless in Eval mode, one backward, from zeroed gradients.
func (b *bench) run(t testing.TB, s model.Stage, mode engine.Mode, x, dOut []float32, n int) pass {
	clear(b.mem.Grads)
	clear(b.mem.BufferSums)
	tape, err := b.net.Forward(s, mode, x, n)
	require.NoError(t, err)
	var p pass
	p.out = append(p.out, tape.Out()...)
	if mode == engine.Eval {
		tape.Release()
	} else {
		dIn, err := b.net.Backward(tape, dOut, engine.Backward{Input: true})
		require.NoError(t, err)
		p.dIn = append(p.dIn, dIn...)
	}
	p.grads = append(p.grads, b.mem.Grads...)
	p.sums = append(p.sums, b.mem.BufferSums...)
	return p
}

func inputs(m *model.Network, s model.Stage, n int) (x, dOut []float32) {
	return noise(uint64(n), n*m.StageInput(s).Size()), noise(uint64(n+100), n*m.StageOutput(s).Size())
}

// testReference compares with the reference for several numbers of rows, one after the other in the
// same opened network.
func testReference(t *testing.T, e engine.Engine, m *model.Network, s model.Stage, mode engine.Mode, tol Tolerance) {
	b, ref := openBench(t, e, m, 2), openBench(t, Reference{}, m, 1)
	counts := []int{4, 3}
	if len(m.Params) > 40 {
		counts = []int{2} // the reference is slow
	}
	for _, n := range counts {
		x, dOut := inputs(m, s, n)
		got, want := b.run(t, s, mode, x, dOut, n), ref.run(t, s, mode, x, dOut, n)
		assert.Len(t, got.out, len(want.out))
		assert.LessOrEqual(t, distance(got.out, want.out), tol.Output, "output, %d rows", n)
		assert.LessOrEqual(t, distance(got.sums, want.sums), tol.Output, "BufferSums, %d rows", n)
		assert.Len(t, got.dIn, len(want.dIn))
		assert.LessOrEqual(t, distance(got.dIn, want.dIn), tol.Gradient, "input gradient, %d rows", n)
		for _, p := range m.Params {
			d := distance(p.Slice(got.grads), p.Slice(want.grads))
			assert.LessOrEqual(t, d, tol.Gradient, "gradient by %s, %d rows", p.Name, n)
		}
	}
}

func norm(x []float32) float64 { return distance(x, make([]float32, len(x))) }

// testDifferences compares the gradients along a random direction with the difference of the
// engine's own outputs along it.
func testDifferences(t *testing.T, e engine.Engine, m *model.Network, s model.Stage, tol Tolerance) {
	if tol.Difference == 0 {
		t.Skip("the tolerance leaves finite differences out")
	}
	const n, h = 4, 2e-4
	for name, mode := range map[string]engine.Mode{"train": engine.Train, "frozen": engine.Frozen} {
		b := openBench(t, e, m, 1)
		x, dOut := inputs(m, s, n)
		p := b.run(t, s, mode, x, dOut, n)
		origin := append([]float32(nil), b.mem.Params...)
		dx, dParams := noise(5, len(x)), noise(6, len(origin))
		loss := func(h float64) (sum float64) {
			moved := shift(x, dx, h)
			copy(b.mem.Params, shift(origin, dParams, 0.1*h))
			tape, err := b.net.Forward(s, mode, moved, n)
			require.NoError(t, err)
			defer tape.Release()
			return dot(tape.Out(), dOut)
		}
		got := dot(p.dIn, dx) + 0.1*dot(p.grads, dParams)
		want := (loss(h) - loss(-h)) / (2 * h)
		scale := norm(p.dIn)*norm(dx)/10 + norm(p.grads)*norm(dParams)/100
		assert.InDelta(t, want, got, tol.Difference*max(scale, 1), "mode %s", name)
	}
}

func shift(x, d []float32, h float64) []float32 {
	y := make([]float32, len(x))
	for i := range x {
		y[i] = x[i] + float32(h)*d[i]
	}
	return y
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// testRows checks that a row's output does not depend on the rows beside it.
func testRows(t *testing.T, e engine.Engine, m *model.Network, tol Tolerance) {
	const n = 3
	b := openBench(t, e, m, 2)
	for _, s := range stages {
		in, out := m.StageInput(s).Size(), m.StageOutput(s).Size()
		x, _ := inputs(m, s, n)
		all, err := b.net.Forward(s, engine.Frozen, x, n)
		require.NoError(t, err)
		for i := range n {
			one, err := b.net.Forward(s, engine.Frozen, x[i*in:(i+1)*in], 1)
			require.NoError(t, err)
			for j, v := range one.Out() {
				require.InDelta(t, v, all.Out()[i*out+j], tol.Rows*max(1, norm(one.Out())), "%v, row %d", s, i)
			}
			one.Release()
		}
		all.Release()
	}
}
