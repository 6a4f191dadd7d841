package enginetest

import (
	"runtime"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testTapes keeps several tapes alive and consumes them out of order; each must give what it gives
// alone.
func testTapes(t *testing.T, e engine.Engine, m *model.Network, tol Tolerance) {
	b := openBench(t, e, m, 2)
	counts := []int{2, 3, 2, 2}
	var alone []pass
	for i, n := range counts {
		x, dOut := taped(m, i, n)
		alone = append(alone, b.run(t, model.Trunk, engine.Train, x, dOut, n))
	}
	var tapes []engine.Tape
	for i, n := range counts {
		x, _ := taped(m, i, n)
		tape, err := b.net.Forward(model.Trunk, engine.Train, x, n)
		require.NoError(t, err)
		clear(x) // a tape keeps what it needs
		tapes = append(tapes, tape)
	}
	for i, tape := range tapes {
		require.LessOrEqual(t, distance(tape.Out(), alone[i].out), tol.Output, "tape %d", i)
	}
	tapes[1].Release()
	for _, i := range []int{2, 0, 3} {
		clear(b.mem.Grads)
		_, dOut := taped(m, i, counts[i])
		dIn, err := b.net.Backward(tapes[i], dOut, engine.Backward{Input: true})
		require.NoError(t, err)
		assert.LessOrEqual(t, distance(dIn, alone[i].dIn), tol.Gradient, "tape %d", i)
		assert.LessOrEqual(t, distance(b.mem.Grads, alone[i].grads), tol.Gradient, "tape %d", i)
	}
}

func taped(m *model.Network, i, n int) (x, dOut []float32) {
	return noise(uint64(40+i), n*m.Input.Size()), noise(uint64(80+i), n*m.Features.Size())
}

// testAccumulate checks that gradients and statistics are added to what is there, the statistics once
// per Train forward and never otherwise.
func testAccumulate(t *testing.T, e engine.Engine, m *model.Network, tol Tolerance) {
	b := openBench(t, e, m, 2)
	const n = 2
	x, dOut := inputs(m, model.Trunk, n)
	once := b.run(t, model.Trunk, engine.Train, x, dOut, n)
	for i := range b.mem.Grads {
		b.mem.Grads[i] = 1
	}
	clear(b.mem.BufferSums)
	for _, mode := range []engine.Mode{engine.Train, engine.Eval, engine.Frozen, engine.Train} {
		tape, err := b.net.Forward(model.Trunk, mode, x, n)
		require.NoError(t, err)
		if mode != engine.Train {
			tape.Release()
			continue
		}
		_, err = b.net.Backward(tape, dOut, engine.Backward{})
		require.NoError(t, err)
	}
	lo, hi := m.StageRange(model.Trunk)
	want, sums := make([]float32, len(once.grads)), make([]float32, len(once.sums))
	for i := range want {
		want[i] = 1
		if i >= lo && i < hi {
			want[i] += 2 * once.grads[i]
		}
	}
	for i := range sums {
		sums[i] = 2 * once.sums[i]
	}
	assert.LessOrEqual(t, distance(b.mem.Grads, want), tol.Gradient)
	assert.LessOrEqual(t, distance(b.mem.BufferSums, sums), tol.Output)
}

// testReady checks that ranges cover the stage's parameters one by one, from the last to the first,
// and that a range is complete when it is reported.
func testReady(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 2)
	for _, s := range stages {
		x, dOut := inputs(m, s, 2)
		clear(b.mem.Grads)
		tape, err := b.net.Forward(s, engine.Train, x, 2)
		require.NoError(t, err)
		lo, at := m.StageRange(s)
		reported := make([]float32, len(b.mem.Grads))
		calls := 0
		ready := func(lo, hi int) {
			assert.Equal(t, at, hi, "ranges must be adjacent and fall")
			copy(reported[lo:hi], b.mem.Grads[lo:hi])
			at = lo
			calls++
		}
		_, err = b.net.Backward(tape, dOut, engine.Backward{Ready: ready})
		require.NoError(t, err)
		assert.Equal(t, lo, at, "the ranges must cover the %v", s)
		assert.Positive(t, calls)
		assert.Equal(t, reported, b.mem.Grads, "a range changed after it was reported")
	}
}

// testSkip checks that SkipParams leaves gradients alone and still gives the input gradient, and
// that no input gradient comes unasked.
func testSkip(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 1)
	x, dOut := inputs(m, model.Head, 2)
	want := b.run(t, model.Head, engine.Train, x, dOut, 2)
	clear(b.mem.Grads)
	for _, opt := range []engine.Backward{{SkipParams: true, Input: true}, {SkipParams: true}, {}} {
		opt.Ready = func(lo, hi int) { assert.False(t, opt.SkipParams, "Ready without gradients") }
		tape, err := b.net.Forward(model.Head, engine.Train, x, 2)
		require.NoError(t, err)
		dIn, err := b.net.Backward(tape, dOut, opt)
		require.NoError(t, err)
		if opt.Input {
			assert.Equal(t, want.dIn, dIn)
		} else {
			assert.Nil(t, dIn)
		}
		if opt.SkipParams {
			assert.Zero(t, norm(b.mem.Grads))
		}
	}
	assert.Equal(t, want.grads, b.mem.Grads)
}

// testKeeper checks that an engine that keeps copies takes over what it is told of, in every mode and
// whichever mode it has seen before, and that it does so again and again. What it does with changes that
// nobody reports is its own affair.
func testKeeper(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 2)
	keeper, ok := b.net.(engine.Keeper)
	if !ok {
		t.Skip("this engine keeps no copies that it needs to be told about")
	}
	const n = 2
	x, _ := inputs(m, model.Trunk, n)
	forward := func(net engine.Net, mode engine.Mode) []float32 {
		tape, err := net.Forward(model.Trunk, mode, x, n)
		require.NoError(t, err)
		defer tape.Release()
		return clone(tape.Out())
	}
	for round, mode := range []engine.Mode{engine.Train, engine.Eval, engine.Frozen, engine.Eval, engine.Train, engine.Frozen} {
		for i := range b.mem.Params {
			b.mem.Params[i] *= 1.25
		}
		for i := range b.mem.Buffers {
			b.mem.Buffers[i] = b.mem.Buffers[i]*1.25 + 0.125
		}
		keeper.Changed()
		net, err := e.Open(m, b.mem, engine.Options{Threads: 2})
		require.NoError(t, err)
		assert.Equal(t, forward(net, mode), forward(b.net, mode), "round %d", round)
		assert.Equal(t, forward(net, mode), forward(b.net, mode), "round %d, nothing has changed", round)
		require.NoError(t, net.Close())
	}
}

// testWritesNothingElse checks that the caller's other memory stays as it is.
func testWritesNothingElse(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 2)
	params, buffers := clone(b.mem.Params), clone(b.mem.Buffers)
	for _, s := range stages {
		x, dOut := inputs(m, s, 2)
		x2, dOut2 := clone(x), clone(dOut)
		b.run(t, s, engine.Train, x, dOut, 2)
		b.run(t, s, engine.Eval, x, dOut, 2)
		assert.Equal(t, x2, x)
		assert.Equal(t, dOut2, dOut)
	}
	assert.Equal(t, params, b.mem.Params)
	assert.Equal(t, buffers, b.mem.Buffers)
}

func clone(x []float32) []float32 { return append([]float32(nil), x...) }

// testMisuse checks that mistakes are errors, and that releasing twice is none.
func testMisuse(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 1)
	x, dOut := inputs(m, model.Trunk, 2)
	forward := func(mode engine.Mode) engine.Tape {
		tape, err := b.net.Forward(model.Trunk, mode, x, 2)
		require.NoError(t, err)
		return tape
	}
	_, err := b.net.Forward(model.Trunk, engine.Train, x[1:], 2)
	assert.Error(t, err, "too few floats")
	_, err = b.net.Forward(model.Trunk, engine.Train, nil, 0)
	assert.Error(t, err, "no rows")
	tape := forward(engine.Eval)
	_, err = b.net.Backward(tape, dOut, engine.Backward{})
	assert.Error(t, err, "backward of an Eval tape")
	tape = forward(engine.Train)
	_, err = b.net.Backward(tape, dOut[1:], engine.Backward{})
	assert.Error(t, err, "a gradient of the wrong size")
	tape.Release()
	tape.Release()
	_, err = b.net.Backward(tape, dOut, engine.Backward{})
	assert.Error(t, err, "backward of a released tape")
	tape = forward(engine.Train)
	_, err = b.net.Backward(tape, dOut, engine.Backward{})
	assert.NoError(t, err)
	_, err = b.net.Backward(tape, dOut, engine.Backward{})
	assert.Error(t, err, "backward twice")
	tape.Release()
	mem := b.mem
	mem.Grads = mem.Grads[1:]
	_, err = e.Open(m, mem, engine.Options{Threads: 1})
	assert.Error(t, err, "memory of the wrong size")
	_, err = e.Open(m, b.mem, engine.Options{})
	assert.Error(t, err, "no threads")
}

// testGrowth checks that many steps with changing numbers of rows, and networks opened and closed,
// leave no memory and no goroutine behind.
func testGrowth(t *testing.T, e engine.Engine, m *model.Network) {
	b := openBench(t, e, m, 2)
	step := func(b *bench, counts ...int) {
		for _, n := range counts {
			for _, s := range stages {
				x, dOut := inputs(m, s, n)
				mode := engine.Frozen
				if n > 1 {
					mode = engine.Train
				}
				b.run(t, s, mode, x, dOut, n)
				b.run(t, s, engine.Eval, x, dOut, n)
			}
		}
	}
	checkGrowth(t, "steps", 3, 12, func() { step(b, 1, 2, 5, 2) })
	checkGrowth(t, "numbers of rows", 1, 3, func() { step(b, 1, 2, 3, 4, 5, 6, 7, 8) })
	checkGrowth(t, "openings", 2, 8, func() {
		n, err := e.Open(m, b.mem, engine.Options{Threads: 2})
		require.NoError(t, err)
		step(&bench{m, b.mem, n}, 2, 3)
		require.NoError(t, n.Close())
	})
}

// checkGrowth repeats do, first to settle, then to see what it leaves.
func checkGrowth(t *testing.T, name string, settle, repeat int, do func()) {
	measure := func() (heap uint64, goroutines int) {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc, runtime.NumGoroutine()
	}
	for range settle {
		do()
	}
	heap, goroutines := measure()
	for range repeat {
		do()
	}
	heap2, goroutines2 := measure()
	const slack = 256 << 10
	assert.Less(t, heap2, heap+slack, "bytes on the heap after more %s", name)
	assert.LessOrEqual(t, goroutines2, goroutines+1, "goroutines after more %s", name)
}

// testBits checks that results have the same bits from run to run and for any number of threads.
func testBits(t *testing.T, open func() engine.Engine, networks []*model.Network) {
	for _, m := range networks {
		for _, s := range stages {
			const n = 9
			x, dOut := inputs(m, s, n)
			first := openBench(t, open(), m, 1)
			want := first.run(t, s, engine.Train, x, dOut, n)
			require.Equal(t, want, first.run(t, s, engine.Train, x, dOut, n), "second run")
			for _, threads := range []int{2, 5} {
				b := openBench(t, open(), m, threads)
				require.Equal(t, want, b.run(t, s, engine.Train, x, dOut, n), "%d threads", threads)
			}
		}
	}
}
