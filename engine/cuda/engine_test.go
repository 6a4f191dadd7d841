//go:build gpu

package cuda

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emulated says whether NVIDIA's libraries are the emulator's, see 'make gpu-emulate'.
func emulated() bool { return os.Getenv("METRIX_CUDA_EMULATED") != "" }

// available returns the engine, or skips the test where there is no card, emulated or not. Algorithms are
// measured on a card only, unless the test names a cache for them. In the end it checks that the test's
// networks have left nothing on the card.
func available(t testing.TB, opt Options) *Engine {
	t.Helper()
	switch {
	case opt.CacheDir != "":
	case emulated():
		opt.CacheDir = os.DevNull // no folder: cuDNN's estimate decides
	default:
		opt.CacheDir = t.TempDir()
	}
	e, err := find(opt)
	if FailureOf(err) == Unavailable && !emulated() {
		t.Skip(err)
	}
	require.NoError(t, err)
	before := allocated(t)
	t.Cleanup(func() {
		assert.Equal(t, before, allocated(t), "pieces of device and pinned memory that nobody has given back")
		require.NoError(t, e.Close())
	})
	return e
}

// allocated counts the pieces of device and pinned memory, where the emulator counts them.
func allocated(t testing.TB) (pieces [2]int) {
	if !emulated() {
		return pieces
	}
	handle, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW)
	require.NoError(t, err)
	report, err := purego.Dlsym(handle, "metrixEmulatorReport")
	require.NoError(t, err)
	text := make([]byte, 128)
	purego.SyscallN(report, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	var bytes int
	_, err = fmt.Sscan(string(text), &pieces[0], &bytes, &pieces[1])
	require.NoError(t, err)
	return pieces
}

func TestConforms(t *testing.T) {
	e := available(t, Options{CacheDir: t.TempDir()})
	t.Log(e.Description())
	enginetest.Run(t, func() engine.Engine { return e }, enginetest.Single())
}

// Graphs are captured from the second step on.
func TestConformsWithGraphs(t *testing.T) {
	e := available(t, Options{Graphs: true})
	enginetest.Run(t, func() engine.Engine { return e }, enginetest.Single())
}

// TF32 rounds products' factors to 10 bits; the emulator does not.
func TestConformsInTF32(t *testing.T) {
	e := available(t, Options{Precision: TF32})
	tol := enginetest.Tolerance{Output: 5e-3, Gradient: 1, Rows: 1e-6, SameBits: true}
	enginetest.Run(t, func() engine.Engine { return e }, tol)
}

// In bfloat16 a ReLU or a maximum now and then decides otherwise than in double precision, and each such
// decision is off by a whole value. So networks with decisions are held to the contract, and gradients
// to the size of the true ones; smooth ones are held to 2 % below.
func TestConformsInBF16(t *testing.T) {
	e := available(t, Options{Precision: BF16})
	require.Equal(t, "cuda", e.Name())
	tol := enginetest.Tolerance{Output: 5e-2, Gradient: 1, Rows: 1e-6, SameBits: true}
	enginetest.Run(t, func() engine.Engine { return e }, tol)
}

func TestBF16OfSmoothNetworkIsWithinTwoPercent(t *testing.T) {
	enginetest.RunSmooth(t, available(t, Options{Precision: BF16}), 2e-2)
}

// opened opens a network until the end of the test.
func opened(t testing.TB, e engine.Engine, m *model.Network) (engine.Net, engine.Memory) {
	mem := memoryOf(m)
	m.Init(mem.Params, mem.Buffers, 2)
	net, err := e.Open(m, mem, engine.Options{Threads: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, net.Close()) })
	return net, mem
}

func memoryOf(m *model.Network) engine.Memory {
	return engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}
}

func noise(n int) []float32 {
	r := draw.Of(5, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

func small(t testing.TB, norm string) *model.Network {
	m, err := model.Build(model.Spec{Arch: "conv4", Side: 16, Dim: 16, Norm: norm, Width: 16})
	require.NoError(t, err)
	return m
}

// Steps of several numbers of rows, in one network, are those of a fresh one, bit for bit; with graphs
// too, whose second and later runs of a stretch go another way.
func TestCallsDoNotDependOnEarlierOnes(t *testing.T) {
	plain, graphs, m := available(t, Options{}), available(t, Options{Graphs: true}), small(t, "batch")
	x := noise(40 * m.Input.Size())
	run := func(e *Engine, counts ...int) []float32 {
		net, mem := opened(t, e, m)
		for _, n := range counts {
			clear(mem.Grads)
			tape, err := net.Forward(model.Trunk, engine.Train, x[:n*m.Input.Size()], n)
			require.NoError(t, err)
			_, err = net.Backward(tape, noise(n*m.Features.Size()), engine.Backward{})
			require.NoError(t, err)
		}
		return mem.Grads
	}
	want := run(plain, 5)
	assert.Equal(t, want, run(plain, 40, 3, 16, 5))
	assert.Equal(t, want, run(graphs, 5, 5, 5))
	assert.Equal(t, want, run(graphs, 5, 40, 5, 3, 5, 40, 5))
}

func TestGraphsAreCaptured(t *testing.T) {
	e, m := available(t, Options{Graphs: true}), small(t, "batch")
	net, _ := opened(t, e, m)
	for range 3 {
		tape, err := net.Forward(model.Trunk, engine.Train, noise(4*m.Input.Size()), 4)
		require.NoError(t, err)
		_, err = net.Backward(tape, noise(4*m.Features.Size()), engine.Backward{})
		require.NoError(t, err)
	}
	n := net.(*network)
	require.False(t, n.captured.off, "capturing has failed")
	for k, c := range n.captured.known {
		assert.NotZero(t, c.exec, "the stretch from command %d is not captured", k.from)
	}
	assert.NotEmpty(t, n.captured.known)
}

func TestParametersAreReadAtEachForward(t *testing.T) {
	e, m := available(t, Options{Graphs: true}), small(t, "batch")
	net, mem := opened(t, e, m)
	x := noise(m.Input.Size())
	forward := func(mode engine.Mode) []float32 {
		tape, err := net.Forward(model.Trunk, mode, x, 1)
		require.NoError(t, err)
		defer tape.Release()
		return append([]float32(nil), tape.Out()...)
	}
	for name, p := range map[string]*float32{"weight": &mem.Params[0], "running mean": &mem.Buffers[1], "running variance": &mem.Buffers[40]} {
		for _, mode := range []engine.Mode{engine.Frozen, engine.Eval} {
			before := forward(mode)
			*p += 0.5
			assert.NotEqual(t, before, forward(mode), "%s, mode %d", name, mode)
		}
	}
}

func TestRefusals(t *testing.T) {
	e := available(t, Options{})
	for want, l := range map[string]model.Layer{
		"layer own is external": &model.External{Name: "own", Out: model.Shape{C: 1, H: 1, W: 1}},
		"layer huge":            &model.MaxPool{Name: "huge", Kernel: 16, Stride: 16},
	} {
		m, err := model.Assemble("odd", model.Shape{C: 1, H: 16, W: 16}, []model.Layer{l}, nil)
		require.NoError(t, err)
		_, err = e.Open(m, memoryOf(m), engine.Options{Threads: 1})
		assert.ErrorContains(t, err, want)
	}
	_, err := Find(Options{Precision: 7})
	assert.ErrorContains(t, err, "there is no precision Precision(7)")
	_, err = Find(Options{Device: 99, CacheDir: t.TempDir()})
	assert.ErrorContains(t, err, "there is no GPU 99 among the")
}

// Many steps of changing numbers of rows take no more memory than the first dozen.
func TestManyStepsKeepTheirSize(t *testing.T) {
	e, m := available(t, Options{Graphs: true}), small(t, "batch")
	net, _ := opened(t, e, m)
	steps := 2000
	if emulated() {
		steps = 150
	}
	var settled [2]int
	for i := range steps {
		n := 1 << (i % 3)
		trunk, err := net.Forward(model.Trunk, engine.Train, noise(n*m.Input.Size()), n)
		require.NoError(t, err)
		head, err := net.Forward(model.Head, engine.Train, trunk.Out(), n)
		require.NoError(t, err)
		d, err := net.Backward(head, noise(n*m.Dim), engine.Backward{Input: true})
		require.NoError(t, err)
		_, err = net.Backward(trunk, d, engine.Backward{})
		require.NoError(t, err)
		if i == 12 {
			settled = allocated(t)
		}
	}
	assert.Equal(t, settled, allocated(t))
}

// Networks that are closed while tapes are alive leave nothing behind, and their tapes do no harm.
func TestCloseTakesTapesAlong(t *testing.T) {
	e, m := available(t, Options{}), small(t, "group")
	net, _ := opened(t, e, m)
	before := allocated(t)
	second, err := e.Open(m, memoryOf(m), engine.Options{Threads: 1})
	require.NoError(t, err)
	tape, err := second.Forward(model.Trunk, engine.Frozen, noise(2*m.Input.Size()), 2)
	require.NoError(t, err)
	require.NoError(t, second.Close())
	require.NoError(t, second.Close())
	assert.Equal(t, before, allocated(t))
	_, err = second.Backward(tape, noise(2*m.Features.Size()), engine.Backward{})
	assert.ErrorContains(t, err, "the network is closed")
	tape.Release()
	_, err = second.Forward(model.Trunk, engine.Frozen, noise(m.Input.Size()), 1)
	assert.ErrorContains(t, err, "the network is closed")
	_, err = net.Backward(tape, nil, engine.Backward{})
	assert.Error(t, err)
}
