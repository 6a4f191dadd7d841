//go:build gpu

package cuda

import (
	_ "embed"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

//go:embed kernels/kernels.ptx
var ptx string

// device is a card and what every network on it shares: the driver's context, streams, kernels and the
// handles of cuDNN and cuBLAS. Calls are made by whoever has entered, one at a time.
type device struct {
	mu        sync.Mutex
	number    int
	card      cu.Device
	context   cu.CUContext
	name      string // as the user knows it
	model     string // as NVIDIA calls it
	version   int    // of CUDA, that the driver serves
	major     int    // compute capability
	processes int    // multiprocessors
	main      cu.Stream
	copies    cu.Stream // what leaves the card while main goes on
	module    cu.Module
	functions map[string]uintptr
	driver    driver
	dnn       *dnn
	blas      *blas
	logger    *slog.Logger
	scratch   scratch
	closed    bool
}

// enter makes the card's context that of the calling goroutine's thread and keeps others out, until
// leave.
func (d *device) enter() error {
	d.mu.Lock()
	runtime.LockOSThread()
	if err := d.check(cu.SetCurrentContext(d.context), "entering the context"); err != nil {
		d.leave()
		return err
	}
	return nil
}

func (d *device) leave() {
	runtime.UnlockOSThread()
	d.mu.Unlock()
}

// visit does something in the card's context beside whoever has entered.
func (d *device) visit(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := d.check(cu.SetCurrentContext(d.context), "entering the context"); err != nil {
		return err
	}
	return do()
}

// check turns an error of gorgonia.org/cu into an Error.
func (d *device) check(err error, operation string, args ...any) error {
	if err == nil {
		return nil
	}
	return translate(resultOf(err), fmt.Sprintf(operation, args...), d.name)
}

// resultOf is the driver's number of an error; gorgonia.org/cu keeps its type to itself.
func resultOf(err error) int {
	if v := reflect.ValueOf(err); v.CanInt() {
		return int(v.Int())
	}
	return -1
}

// call turns a result of a driver function that was called directly into an Error.
func (d *device) call(result uintptr, operation string, args ...any) error {
	if r := int(int32(result)); r != 0 {
		return translate(r, fmt.Sprintf(operation, args...), d.name)
	}
	return nil
}

// openDevice takes hold of a card.
func openDevice(opt Options) (*device, error) {
	d := &device{number: opt.Device, name: fmt.Sprintf("GPU %d", opt.Device), functions: map[string]uintptr{}, logger: opt.Logger, version: cu.Version()}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if err := d.driver.load(); err != nil {
		return nil, err
	}
	if err := d.identify(); err != nil {
		return nil, err
	}
	var err error
	if d.context, err = d.card.RetainPrimaryCtx(); err != nil {
		return nil, d.check(err, "taking hold of it")
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	err = d.equip(opt)
	d.leave()
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// identify finds the card and refuses those that cannot run the kernels.
func (d *device) identify() error {
	count, err := cu.NumDevices()
	if err != nil {
		return d.check(err, "counting the cards")
	}
	if d.number < 0 || d.number >= count {
		return &Error{Unavailable, fmt.Sprintf("there is no GPU %d among the %d that this process sees: choose another, or look at CUDA_VISIBLE_DEVICES", d.number, count)}
	}
	if d.card, err = cu.GetDevice(d.number); err != nil {
		return d.check(err, "finding it")
	}
	if d.model, err = d.card.Name(); err != nil {
		return d.check(err, "asking for its name")
	}
	d.name = fmt.Sprintf("GPU %d (%s)", d.number, d.model)
	if d.major, err = d.card.Attribute(cu.ComputeCapabilityMajor); err != nil {
		return d.check(err, "asking for its compute capability")
	}
	const ampere = 8
	if d.major < ampere {
		return translate(resultNoBinary, "", d.name)
	}
	d.processes, err = d.card.Attribute(cu.MultiprocessorCount)
	return d.check(err, "asking for its multiprocessors")
}

// equip makes the streams, loads the kernels and opens the libraries.
func (d *device) equip(opt Options) (err error) {
	if d.main, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return d.check(err, "making a stream")
	}
	if d.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return d.check(err, "making a stream")
	}
	if d.module, err = cu.LoadData(ptx); err != nil {
		return d.check(err, "loading the kernels")
	}
	stream := uintptr(unsafe.Pointer(d.main.C()))
	if d.dnn, err = openDNN(d, opt, stream); err != nil {
		return err
	}
	d.blas, err = openBLAS(d, opt, stream)
	return err
}

// close lets go of the card. Networks must be closed by then.
func (d *device) close() {
	if d.closed || d.enter() != nil {
		return
	}
	d.closed = true
	d.dnn.close()
	d.blas.close()
	if d.module != (cu.Module{}) {
		_ = d.module.Unload() // a lost card answers nothing, and there is nothing more to do
	}
	for _, s := range []*cu.Stream{&d.main, &d.copies} {
		if *s != cu.NoStream {
			_ = s.Destroy()
		}
	}
	d.leave()
	_ = d.card.ReleasePrimaryCtx()
}

// alloc takes memory of the card.
func (d *device) alloc(bytes int64) (uintptr, error) {
	p, err := cu.MemAlloc(bytes)
	if err == nil {
		return uintptr(p), nil
	}
	free, total, _ := cu.MemInfo()
	return 0, d.check(err, "asking for %s, with %s of %s free", size(bytes), size(free), size(total))
}

func (d *device) free(address uintptr) error {
	return d.check(cu.MemFree(cu.DevicePtr(address)), "giving memory back")
}

// allocHost takes memory of the host that the card reads and writes by itself.
func (d *device) allocHost(bytes int64) (uintptr, error) {
	var p uintptr
	err := d.call(d.driver.call(d.driver.memHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(bytes), 0), "pinning %s of the host's memory", size(bytes))
	return p, err
}

func (d *device) freeHost(address uintptr) error {
	return d.check(cu.MemFreeHost(pointer(address)), "giving pinned memory back")
}

// function returns the handle of a kernel.
func (d *device) function(name string) (uintptr, error) {
	if f, ok := d.functions[name]; ok {
		return f, nil
	}
	fn, err := d.module.Function(name)
	if err != nil {
		return 0, d.check(err, "finding the kernel %s", name)
	}
	f := *(*uintptr)(unsafe.Pointer(&fn)) // a cu.Function is the driver's handle and nothing else
	d.functions[name] = f
	return f, nil
}

// blame turns a library's failure into an Error: what went wrong on the card, the driver knows.
func (d *device) blame(library string, code int, text, operation string) error {
	if err := d.check(cu.Synchronize(), "%s", operation); err != nil {
		return err
	}
	if text == "" {
		text = "no further word"
	}
	return &Error{Refused, fmt.Sprintf("%s: %s refuses: %s: status %d (%s)", d.name, library, operation, code, text)}
}
