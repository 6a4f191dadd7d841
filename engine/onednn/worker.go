package onednn

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
)

// worker calls the shim from one goroutine at a time. The arrays are those of the kernels' ABI.
type worker struct {
	p       [10]uintptr
	n       [8]int64
	scratch region
	local   region
	err     error
}

func (w *worker) call(kernel uintptr) uintptr {
	status, _, _ := purego.SyscallN(kernel, uintptr(unsafe.Pointer(&w.p)), uintptr(unsafe.Pointer(&w.n)))
	return status
}

// run calls a kernel with pointers and numbers.
func (w *worker) run(kernel uintptr, p [10]uintptr, n [8]int64) {
	w.p, w.n = p, n
	w.call(kernel)
}

// floats is the address of a slice that the network or a tape owns, hence on the heap.
func floats[T float32 | float64 | int32 | uint64](x []T) uintptr {
	if len(x) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&x[0]))
}

// parallel calls do for every i in [0, n) from the workers, each taking the next i when it is done
// with one, and returns the first error.
func parallel(workers []*worker, n int, do func(w *worker, i int)) error {
	var next atomic.Int64
	work := func(w *worker) {
		for w.err == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			do(w, i)
		}
	}
	var wg sync.WaitGroup
	for _, w := range workers[1:min(len(workers), max(n, 1))] {
		wg.Go(func() { work(w) })
	}
	work(workers[0])
	wg.Wait()
	var first error
	for _, w := range workers {
		if first == nil {
			first = w.err
		}
		w.err = nil
	}
	return first
}

// convolve runs a convolution over a span; where it is a backward pass, src or weights are written.
func (w *worker) convolve(c *convolution, direction int, s span, src, weights, bias, dst uintptr) {
	w.p = [10]uintptr{c.byRow[direction][s.hi-s.lo], src, weights, bias, dst, w.scratch.address()}
	if status := w.call(c.lib.run); status != 0 {
		w.fail(c.name, status)
	}
}

func (w *worker) fail(layer string, status uintptr) {
	w.err = fmt.Errorf("layer %s: oneDNN fails with status %d", layer, status)
}

// equip gives the worker memory of its own.
func (w *worker) equip(lib *library, scratch, local int64) error {
	for _, x := range []struct {
		r     *region
		bytes int64
	}{{&w.scratch, scratch}, {&w.local, local}} {
		if x.r.bytes >= x.bytes {
			continue
		}
		lib.release(*x.r)
		*x.r = region{lib.alloc(x.bytes), x.bytes}
		if x.r.base == nil {
			*x.r = region{}
			return fmt.Errorf("the system has no %d MiB for a thread", x.bytes>>20)
		}
	}
	return nil
}
