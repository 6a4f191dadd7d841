package onednn

import (
	"runtime"
	"slices"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// available returns the engine, or skips the test where oneDNN is not installed.
func available(t testing.TB) *Engine {
	t.Helper()
	e, err := Find()
	if err != nil {
		t.Skip(err)
	}
	return e
}

func TestConforms(t *testing.T) {
	e := available(t)
	t.Log(e.Description())
	enginetest.Run(t, func() engine.Engine { return e }, enginetest.Single())
}

// In bfloat16 a ReLU or a maximum now and then decides otherwise than in double precision, and each such
// decision is off by a whole value. So networks with decisions are held to the contract, and gradients
// to the size of the true ones; smooth ones are held to 2 % below.
func TestConformsInBF16(t *testing.T) {
	e, err := available(t).With(BF16)
	if err != nil {
		t.Skip(err)
	}
	require.Equal(t, "onednn", e.Name())
	tol := enginetest.Tolerance{Output: 5e-2, Gradient: 1, Rows: 1e-6, SameBits: true}
	enginetest.Run(t, func() engine.Engine { return e }, tol)
}

func TestBF16OfSmoothNetworkIsWithinTwoPercent(t *testing.T) {
	e, err := available(t).With(BF16)
	if err != nil {
		t.Skip(err)
	}
	enginetest.RunSmooth(t, e, 2e-2)
}

func memoryOf(m *model.Network) engine.Memory {
	return engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
}

// A result must not depend on what the network computed before: 5 rows after 40 are 5 rows.
func TestCallsDoNotDependOnEarlierOnes(t *testing.T) {
	e := available(t)
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 32, Dim: 16, Norm: "batch"})
	require.NoError(t, err)
	x := noise(40 * m.Input.Size())
	run := func(counts ...int) []float32 {
		mem := memoryOf(m)
		m.Init(mem.Params, mem.Buffers, 2)
		net, err := e.Open(m, mem, engine.Options{Threads: 2})
		require.NoError(t, err)
		defer net.Close()
		for _, n := range counts {
			clear(mem.Grads)
			tape, err := net.Forward(model.Trunk, engine.Train, x[:n*m.Input.Size()], n)
			require.NoError(t, err)
			_, err = net.Backward(tape, noise(n*m.Features.Size()), engine.Backward{})
			require.NoError(t, err)
		}
		return mem.Grads
	}
	assert.Equal(t, run(5), run(40, 3, 16, 5))
}

// small opens a small network, and makes an image for it.
func small(t *testing.T) (net engine.Net, mem engine.Memory, x []float32) {
	e := available(t)
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 16, Dim: 16, Norm: "batch"})
	require.NoError(t, err)
	mem = memoryOf(m)
	m.Init(mem.Params, mem.Buffers, 2)
	net, err = e.Open(m, mem, engine.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, net.Close()) })
	return net, mem, noise(m.Input.Size())
}

// forwardTrunk returns the feature map of an image.
func forwardTrunk(t *testing.T, net engine.Net, mode engine.Mode, x []float32) []float32 {
	tape, err := net.Forward(model.Trunk, mode, x, 1)
	require.NoError(t, err)
	defer tape.Release()
	return slices.Clone(tape.Out())
}

func TestParametersAreReadAtEachForward(t *testing.T) {
	net, mem, x := small(t)
	changes := map[string]*float32{"weight": &mem.Params[0], "running mean": &mem.Buffers[1], "running variance": &mem.Buffers[40]}
	for name, p := range changes {
		for _, mode := range []engine.Mode{engine.Frozen, engine.Eval} {
			before := forwardTrunk(t, net, mode, x)
			*p += 0.5
			assert.NotEqual(t, before, forwardTrunk(t, net, mode, x), "%s, mode %d", name, mode)
		}
	}
}

// Once the caller reports changes, a forward reads no parameters to look for them.
func TestReportedChangesAreTrusted(t *testing.T) {
	net, mem, x := small(t)
	net.(engine.Keeper).Changed()
	before := forwardTrunk(t, net, engine.Eval, x)
	mem.Params[0]++
	assert.Equal(t, before, forwardTrunk(t, net, engine.Eval, x), "nobody said that something changed")
	net.(engine.Keeper).Changed()
	assert.NotEqual(t, before, forwardTrunk(t, net, engine.Eval, x))
}

func TestRefusals(t *testing.T) {
	e := available(t)
	for want, l := range map[string]model.Layer{
		"layer own is external": &model.External{Name: "own", Out: model.Shape{C: 1, H: 1, W: 1}},
		"layer huge":            &model.MaxPool{Name: "huge", Kernel: 16, Stride: 16},
	} {
		m, err := model.Assemble("odd", model.Shape{C: 1, H: 16, W: 16}, []model.Layer{l}, nil)
		require.NoError(t, err)
		_, err = e.Open(m, memoryOf(m), engine.Options{Threads: 1})
		assert.ErrorContains(t, err, want)
	}
}

// TestManyStepsKeepTheirSize takes 1000 steps and compares the process's memory, most of which is not
// Go's, and its goroutines with those after the first.
func TestManyStepsKeepTheirSize(t *testing.T) {
	e := available(t)
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 16, Dim: 16, Norm: "batch", Width: 16})
	require.NoError(t, err)
	tr := enginetest.NewTrainer(t, e, m, 16, 2, metrix.Mix{})
	x := noise(16 * m.Input.Size())
	const warm = 30
	var size float64
	var goroutines int
	for i := range 1000 {
		tr.Calls = 1 << (i % 3)
		tr.Step(t, x, 1e-3)
		if i == warm {
			runtime.GC()
			size, goroutines = memoryMiB("VmRSS"), runtime.NumGoroutine()
		}
	}
	runtime.GC()
	if after := memoryMiB("VmRSS"); !underRace { // the detector's own memory grows
		assert.Less(t, after, size+16, "MiB resident")
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}
