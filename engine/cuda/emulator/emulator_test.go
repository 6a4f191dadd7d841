package emulator_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/emulator"
)

// cuda is the emulated driver with a context that is current on the test's thread.
type cuda struct {
	t       *testing.T
	context uintptr

	init          func(flags uint32) int32
	contextCreate func(context *uintptr, flags uint32, device int32) int32
	destroy       func(context uintptr) int32
	synchronize   func() int32
	alloc         func(p *uintptr, bytes uint64) int32
	free          func(p uintptr) int32
	hostAlloc     func(p *uintptr, bytes uint64, flags uint32) int32
	hostFree      func(p uintptr) int32
	toCard        func(dst, src uintptr, bytes uint64, stream uintptr) int32
	toHost        func(dst, src uintptr, bytes uint64, stream uintptr) int32
	set           func(p uintptr, value uint32, n uint64, stream uintptr) int32
	streamCreate  func(stream *uintptr, flags uint32) int32
	streamSync    func(stream uintptr) int32
	streamWait    func(stream, event uintptr, flags uint32) int32
	eventCreate   func(event *uintptr, flags uint32) int32
	record        func(event, stream uintptr) int32
	eventSync     func(event uintptr) int32
	beginCapture  func(stream uintptr, mode int32) int32
	endCapture    func(stream uintptr, graph *uintptr) int32
	instantiate   func(exec *uintptr, graph uintptr, flags uint64) int32
	launch        func(exec, stream uintptr) int32
	moduleLoad    func(module *uintptr, image string) int32
	version       func(version *int32) int32
	report        func(text *byte, size uint64) int32
}

func open(t *testing.T) *cuda {
	t.Helper()
	folder, err := emulator.Build()
	if errors.Is(err, emulator.ErrNoCompiler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	handle, err := purego.Dlopen(filepath.Join(folder, "libcuda.so.1"), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	require.NoError(t, err)
	c := &cuda{t: t}
	for name, target := range map[string]any{
		"cuInit": &c.init, "cuCtxCreate_v2": &c.contextCreate, "cuCtxDestroy_v2": &c.destroy, "cuCtxSynchronize": &c.synchronize,
		"cuMemAlloc_v2": &c.alloc, "cuMemFree_v2": &c.free, "cuMemHostAlloc": &c.hostAlloc, "cuMemFreeHost": &c.hostFree,
		"cuMemcpyHtoDAsync_v2": &c.toCard, "cuMemcpyDtoHAsync_v2": &c.toHost, "cuMemsetD32Async": &c.set,
		"cuStreamCreate": &c.streamCreate, "cuStreamSynchronize": &c.streamSync, "cuStreamWaitEvent": &c.streamWait,
		"cuEventCreate": &c.eventCreate, "cuEventRecord": &c.record, "cuEventSynchronize": &c.eventSync,
		"cuStreamBeginCapture_v2": &c.beginCapture, "cuStreamEndCapture": &c.endCapture, "cuGraphInstantiateWithFlags": &c.instantiate,
		"cuGraphLaunch": &c.launch, "cuModuleLoadData": &c.moduleLoad, "cuDriverGetVersion": &c.version, "metrixEmulatorReport": &c.report,
	} {
		purego.RegisterLibFunc(target, handle, name)
	}
	runtime.LockOSThread()
	c.ok(c.init(0))
	c.ok(c.contextCreate(&c.context, 0, 0))
	t.Cleanup(func() {
		c.destroy(c.context)
		runtime.UnlockOSThread()
	})
	return c
}

func (c *cuda) ok(code int32) {
	c.t.Helper()
	require.Zero(c.t, code)
}

// card and pinned return memory of n words.
func (c *cuda) card(n uint64) (p uintptr) {
	c.t.Helper()
	c.ok(c.alloc(&p, 4*n))
	return p
}

func (c *cuda) pinned(n uint64) (p uintptr, words []uint32) {
	c.t.Helper()
	c.ok(c.hostAlloc(&p, 4*n, 0))
	return p, unsafe.Slice((*uint32)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), n)
}

func (c *cuda) stream() (s uintptr) {
	c.t.Helper()
	c.ok(c.streamCreate(&s, 1))
	return s
}

func (c *cuda) event() (e uintptr) {
	c.t.Helper()
	c.ok(c.eventCreate(&e, 0))
	return e
}

func TestMemoryIsPoisonedAndItsEdgesAreChecked(t *testing.T) {
	c := open(t)
	p, host := c.card(10), uintptr(0)
	host, words := c.pinned(11)
	c.ok(c.toHost(host, p, 40, 0))
	require.Equal(t, uint32(0xffffffff), words[9])
	require.Equal(t, int32(1), c.toHost(host, p, 44, 0), "a copy beyond the block")
	require.Equal(t, int32(1), c.toCard(host, p, 40, 0), "host memory given as the card's")
	require.Equal(t, int32(1), c.set(p, 1, 11, 0))
	require.Equal(t, int32(1), c.free(p+4))
	c.ok(c.free(p))
	require.Equal(t, int32(1), c.free(p), "freed twice")
	c.ok(c.hostFree(host))
	text := make([]byte, 64)
	require.Zero(t, c.report(&text[0], uint64(len(text))))
	require.Equal(t, "0 0 0 ", string(text[:6]))
}

func TestCallsNeedAContext(t *testing.T) {
	c := open(t)
	done := make(chan int32)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var p uintptr
		done <- c.alloc(&p, 4)
	}()
	require.Equal(t, int32(201), <-done)
}

// With METRIX_EMULATOR_ORDER=late, a program that does not wait sees that it did not.
func TestLateWorkShowsMissingWaits(t *testing.T) {
	t.Setenv("METRIX_EMULATOR_ORDER", "late")
	c := open(t)
	p, a, b, e := c.card(1), c.stream(), c.stream(), c.event()
	host, words := c.pinned(1)
	c.ok(c.set(p, 7, 1, a))
	c.ok(c.toHost(host, p, 4, b))
	require.Equal(t, uint32(0xffffffff), words[0], "nobody waited")
	c.ok(c.streamSync(b))
	require.Equal(t, uint32(0xffffffff), words[0], "stream b did not wait for a")
	c.ok(c.record(e, a))
	c.ok(c.streamWait(b, e, 0))
	c.ok(c.toHost(host, p, 4, b))
	c.ok(c.streamSync(b))
	require.Equal(t, uint32(7), words[0])

	words[0] = 9
	c.ok(c.toCard(p, host, 4, a))
	words[0] = 10 // too early: the copy has not run
	c.ok(c.streamSync(a))
	c.ok(c.toHost(host, p, 4, a))
	c.ok(c.synchronize())
	require.Equal(t, uint32(10), words[0])
}

func TestCapturedWorkReplays(t *testing.T) {
	c := open(t)
	p, main, side := c.card(2), c.stream(), c.stream()
	fork, join := c.event(), c.event()
	host, words := c.pinned(2)
	c.ok(c.beginCapture(main, 0))
	c.ok(c.set(p, 1, 1, main))
	c.ok(c.record(fork, main))
	c.ok(c.streamWait(side, fork, 0))
	c.ok(c.set(p+4, 2, 1, side))
	c.ok(c.record(join, side))
	c.ok(c.streamWait(main, join, 0))
	c.ok(c.toHost(host, p, 8, main))
	require.Equal(t, int32(900), c.streamSync(main), "waiting is no work")
	var graph, exec uintptr
	c.ok(c.endCapture(main, &graph))
	c.ok(c.instantiate(&exec, graph, 0))
	for range 2 {
		words[0], words[1] = 0, 0
		c.ok(c.set(p, 0, 2, main))
		require.Zero(t, words[0])
		c.ok(c.launch(exec, main))
		c.ok(c.streamSync(main))
		require.Equal(t, []uint32{1, 2}, words)
	}
}

func TestACaptureMustJoinWhatItForked(t *testing.T) {
	c := open(t)
	p, main, side, fork := c.card(1), c.stream(), c.stream(), c.event()
	c.ok(c.beginCapture(main, 0))
	c.ok(c.record(fork, main))
	c.ok(c.streamWait(side, fork, 0))
	c.ok(c.set(p, 1, 1, side))
	var graph uintptr
	require.Equal(t, int32(904), c.endCapture(main, &graph))
	require.Equal(t, int32(903), c.endCapture(main, &graph), "there is none")
}

func TestFailuresOnRequest(t *testing.T) {
	c := open(t)
	fail := func(what string) { t.Setenv("METRIX_EMULATOR_FAIL", what) }
	var p uintptr
	fail("oom:1000")
	require.Equal(t, int32(2), c.alloc(&p, 1001))
	c.ok(c.alloc(&p, 900))
	require.Equal(t, int32(2), c.alloc(&p, 101), "over both")
	fail("nodevice,oom:1")
	require.Equal(t, int32(100), c.init(0))
	fail("olddriver")
	var version int32
	c.ok(c.version(&version))
	require.Less(t, version, int32(12000))
	var module uintptr
	require.Equal(t, int32(222), c.moduleLoad(&module, ".version 8.0\n.target sm_80\n"))
	fail("")
	c.ok(c.moduleLoad(&module, ".version 8.0\n.target sm_80\n"))
	t.Setenv("METRIX_EMULATOR_CAPABILITY", "75")
	require.Equal(t, int32(300), c.moduleLoad(&module, ".version 8.0\n.target sm_80\n"))
}

func TestBuildingTwiceBuildsOnce(t *testing.T) {
	open(t)
	first, err := emulator.Build()
	require.NoError(t, err)
	second, err := emulator.Build()
	require.NoError(t, err)
	require.Equal(t, first, second)
	t.Setenv("CXX", "no-such-compiler")
	_, err = emulator.Build()
	require.ErrorIs(t, err, emulator.ErrNoCompiler)
}
