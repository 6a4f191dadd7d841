//go:build gpu

package cuda

import (
	"unsafe"

	"github.com/ebitengine/purego"
	"gorgonia.org/cu"
)

// driver is what gorgonia.org/cu 0.9.6 lacks of the driver: pinned memory, stream capture and launching
// graphs, and kernels with structs among their parameters (cu's Launch copies eight bytes of each).
type driver struct {
	memHostAlloc     uintptr
	launchKernel     uintptr
	beginCapture     uintptr
	endCapture       uintptr
	instantiateGraph uintptr
	launchGraph      uintptr
	destroyExec      uintptr
	destroyGraph     uintptr
}

func (d *driver) load() error {
	handle, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return &Error{Unavailable, "no NVIDIA driver: install version 525 or newer: " + err.Error()}
	}
	for name, target := range map[string]*uintptr{
		"cuMemHostAlloc": &d.memHostAlloc, "cuLaunchKernel": &d.launchKernel,
		"cuStreamBeginCapture_v2": &d.beginCapture, "cuStreamEndCapture": &d.endCapture,
		"cuGraphInstantiateWithFlags": &d.instantiateGraph, "cuGraphLaunch": &d.launchGraph,
		"cuGraphExecDestroy": &d.destroyExec, "cuGraphDestroy": &d.destroyGraph,
	} {
		if *target, err = purego.Dlsym(handle, name); err != nil {
			return &Error{Unavailable, "the NVIDIA driver lacks " + name + ": update it to version 525 or newer"}
		}
	}
	return nil
}

// call calls a function of C. Pointers among args stay alive until it returns, and no longer.
//
//go:uintptrescapes
func (d *driver) call(function uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(function, args...)
	return r
}

// handle is the driver's own name of a stream.
func handle(s cu.Stream) uintptr { return uintptr(unsafe.Pointer(s.C())) }

// pointer makes a pointer of an address outside Go's heap.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// floats makes a slice of an address outside Go's heap.
func floats(address uintptr, n int) []float32 {
	return unsafe.Slice((*float32)(pointer(address)), n)
}
