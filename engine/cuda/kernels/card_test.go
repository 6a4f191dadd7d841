package kernels_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/emulator"
	"github.com/metrixml/metrix/engine/cuda/kernels"
)

// card is a card with the kernels loaded: an emulated one, or with METRIX_CUDA_CARD=1 the first of the
// machine. It belongs to the goroutine that opened it, which stays on its thread. Whatever fails ends the test.
type card struct {
	t          testing.TB
	module     uintptr
	signatures map[string][]kernels.Parameter
	functions  map[string]uintptr
	lost       bool // a launch has failed: nothing works any more, as on a card
	timing     bool // launches are not waited for
	f          driver
}

// driver is what of libcuda a card needs.
type driver struct {
	init           func(flags uint32) int32
	contextCreate  func(context *uintptr, flags uint32, device int32) int32
	contextDestroy func(context uintptr) int32
	synchronize    func() int32
	alloc          func(p *uintptr, bytes uint64) int32
	free           func(p uintptr) int32
	toCard         func(dst uintptr, src unsafe.Pointer, bytes uint64) int32
	toHost         func(dst unsafe.Pointer, src uintptr, bytes uint64) int32
	moduleLoad     func(module *uintptr, image unsafe.Pointer) int32
	getFunction    func(function *uintptr, module uintptr, name string) int32
	launch         func(f uintptr, gx, gy, gz, bx, by, bz, shared uint32, stream uintptr, params unsafe.Pointer, extra uintptr) int32
	attribute      func(value *int32, attribute, device int32) int32
	set            func(p uintptr, value byte, bytes uint64) int32
	eventCreate    func(event *uintptr, flags uint32) int32
	record         func(event, stream uintptr) int32
	elapsed        func(milliseconds *float32, from, to uintptr) int32
}

// buffer is memory of the card: n elements of size bytes. The zero buffer is a null pointer.
type buffer struct {
	address uintptr
	n, size int
}

// real says whether the tests run on a card of the machine.
func real() bool { return os.Getenv("METRIX_CUDA_CARD") != "" }

// emulated skips a test that asks the emulator for something a card does not do.
func emulated(t *testing.T) {
	t.Helper()
	if real() {
		t.Skip("this needs the emulator: unset METRIX_CUDA_CARD")
	}
}

// libcuda is the driver to open. Without a card or a compiler for the emulator the test is skipped.
func libcuda(t testing.TB) string {
	t.Helper()
	if real() {
		return "libcuda.so.1"
	}
	folder, err := emulator.Build()
	if errors.Is(err, emulator.ErrNoCompiler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return filepath.Join(folder, "libcuda.so.1")
}

// open loads the kernels onto a card.
func open(t testing.TB) *card {
	t.Helper()
	handle, err := purego.Dlopen(libcuda(t), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	require.NoError(t, err)
	c := &card{t: t, signatures: kernels.Signatures(), functions: map[string]uintptr{}}
	f := &c.f
	for name, target := range map[string]any{
		"cuInit": &f.init, "cuCtxCreate_v2": &f.contextCreate, "cuCtxDestroy_v2": &f.contextDestroy, "cuCtxSynchronize": &f.synchronize,
		"cuMemAlloc_v2": &f.alloc, "cuMemFree_v2": &f.free, "cuMemcpyHtoD_v2": &f.toCard, "cuMemcpyDtoH_v2": &f.toHost,
		"cuModuleLoadData": &f.moduleLoad, "cuModuleGetFunction": &f.getFunction, "cuLaunchKernel": &f.launch,
		"cuDeviceGetAttribute": &f.attribute, "cuMemsetD8_v2": &f.set,
		"cuEventCreate": &f.eventCreate, "cuEventRecord": &f.record, "cuEventElapsedTime": &f.elapsed,
	} {
		purego.RegisterLibFunc(target, handle, name)
	}
	runtime.LockOSThread()
	c.check(f.init(0), "cuInit")
	var context uintptr
	c.check(f.contextCreate(&context, 0, 0), "cuCtxCreate")
	t.Cleanup(func() {
		c.check(f.contextDestroy(context), "cuCtxDestroy")
		runtime.UnlockOSThread()
	})
	ptx, err := os.ReadFile("kernels.ptx")
	require.NoError(t, err)
	ptx = append(ptx, 0)
	c.check(f.moduleLoad(&c.module, unsafe.Pointer(&ptx[0])), "cuModuleLoadData")
	return c
}

func (c *card) check(code int32, what string) {
	c.t.Helper()
	if code != 0 {
		c.t.Fatalf("%s: error %d of the driver", what, code)
	}
}

// upload copies x to the card. It is freed when the test ends, and must then be whole around its edges.
func upload[T any](c *card, x []T) buffer {
	c.t.Helper()
	b := room[T](c, len(x))
	if len(x) > 0 {
		c.check(c.f.toCard(b.address, unsafe.Pointer(&x[0]), uint64(len(x)*b.size)), "cuMemcpyHtoD")
	}
	return b
}

// room returns room for n elements, filled with 0xff: NaN where they are floats.
func room[T any](c *card, n int) buffer {
	c.t.Helper()
	var one T
	b := buffer{n: n, size: int(unsafe.Sizeof(one))}
	bytes := uint64(max(n*b.size, 1))
	c.check(c.f.alloc(&b.address, bytes), "cuMemAlloc")
	c.check(c.f.set(b.address, 0xff, bytes), "cuMemsetD8")
	address := b.address
	c.t.Cleanup(func() {
		if code := c.f.free(address); !c.lost {
			c.check(code, "cuMemFree: something was written behind the buffer")
		}
	})
	return b
}

// download copies a buffer to the host.
func download[T any](c *card, b buffer) []T {
	c.t.Helper()
	x := make([]T, b.n)
	if b.n > 0 {
		c.check(c.f.toHost(unsafe.Pointer(&x[0]), b.address, uint64(b.n*b.size)), "cuMemcpyDtoH")
	}
	return x
}

// launch runs a kernel and waits for it. Arguments are buffers for pointers, int32 for int, int64 for i64,
// float32, and the structs of package kernels; they are checked against kernels.h.
func (c *card) launch(name string, g kernels.Geometry, args ...any) {
	c.t.Helper()
	c.check(c.tryLaunch(name, g, args...), fmt.Sprintf("kernel %s", name))
}

// tryLaunch is launch that returns the driver's error.
func (c *card) tryLaunch(name string, g kernels.Geometry, args ...any) int32 {
	c.t.Helper()
	params := make([]unsafe.Pointer, len(args)+1)
	held := make([]reflect.Value, len(args))
	require.Len(c.t, args, len(c.signatures[name]), "arguments of %s", name)
	for i, p := range c.signatures[name] {
		require.NoError(c.t, fits(p, args[i]), "argument %d of %s", i, name)
		value := reflect.ValueOf(args[i])
		if b, ok := args[i].(buffer); ok {
			value = reflect.ValueOf(b.address)
		}
		held[i] = reflect.New(value.Type())
		held[i].Elem().Set(value)
		params[i] = held[i].UnsafePointer()
	}
	code := c.f.launch(c.function(name), uint32(g.Grid[0]), uint32(g.Grid[1]), uint32(g.Grid[2]),
		uint32(g.Block[0]), uint32(g.Block[1]), uint32(g.Block[2]), 0, 0, unsafe.Pointer(&params[0]), 0)
	runtime.KeepAlive(held)
	if c.timing && code == 0 {
		return 0
	}
	if code == 0 {
		code = c.f.synchronize()
	}
	c.lost = c.f.synchronize() != 0
	return code
}

// milliseconds times what do launches on the card, the best of several times.
func (c *card) milliseconds(do func()) float64 {
	c.t.Helper()
	var from, to uintptr
	c.check(c.f.eventCreate(&from, 0), "cuEventCreate")
	c.check(c.f.eventCreate(&to, 0), "cuEventCreate")
	best := float32(math.Inf(1))
	c.timing = true
	defer func() { c.timing = false }()
	for range 5 {
		c.check(c.f.record(from, 0), "cuEventRecord")
		do()
		c.check(c.f.record(to, 0), "cuEventRecord")
		c.check(c.f.synchronize(), "cuCtxSynchronize")
		var ms float32
		c.check(c.f.elapsed(&ms, from, to), "cuEventElapsedTime")
		best = min(best, ms)
	}
	return float64(best)
}

func (c *card) function(name string) uintptr {
	c.t.Helper()
	if c.functions[name] == 0 {
		var f uintptr
		c.check(c.f.getFunction(&f, c.module, name), "cuModuleGetFunction "+name)
		c.functions[name] = f
	}
	return c.functions[name]
}

// fits says whether an argument is of a parameter's type.
func fits(p kernels.Parameter, arg any) error {
	want := map[string]any{"int": int32(0), "i64": int64(0), "float": float32(0)}[p.Type]
	switch {
	case p.IsPointer():
		want = buffer{}
	case want == nil: // a struct of the same name
		if t := reflect.TypeOf(arg); t.Kind() != reflect.Struct || !strings.EqualFold(t.Name(), p.Type) {
			return fmt.Errorf("%s is %s and was given %T", p.Name, p.Type, arg)
		}
		return nil
	}
	if reflect.TypeOf(arg) != reflect.TypeOf(want) {
		return fmt.Errorf("%s is %s and was given %T", p.Name, p.Type, arg)
	}
	return nil
}
