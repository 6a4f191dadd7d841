//go:build gpu

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/metrixml/metrix/engine/cuda/probe"
)

// blas is cuBLAS: single-precision products. (cublasGemmEx has more arguments than purego passes.)
type blas struct {
	device  *device
	handle  uintptr
	one     [2]float32
	math    uintptr // of the products of layers
	scratch uintptr

	create, setStream, setWorkspace, setMath, sgemm, destroy uintptr // addresses of functions
}

// blasWorkspace is what NVIDIA recommends for Hopper. A workspace of the engine's own makes products
// capturable in graphs and, on one stream, the same from run to run.
const blasWorkspace = 32 << 20

// cuBLAS's numbers.
const (
	blasDefaultMath = 0
	blasTF32        = 3
	blasTranspose   = 1
)

func openBLAS(d *device, opt Options, stream uintptr) (*blas, error) {
	lib := probe.Look().CuBLAS
	if lib.Problem != "" {
		return nil, &Error{Unavailable, lib.Problem}
	}
	b := &blas{device: d, one: [2]float32{1, 0}}
	if err := b.lookUp(lib); err != nil {
		return nil, err
	}
	if err := b.check(d.driver.call(b.create, uintptr(unsafe.Pointer(&b.handle))), "starting cuBLAS"); err != nil {
		return nil, err
	}
	if err := b.check(d.driver.call(b.setStream, b.handle, stream), "giving cuBLAS a stream"); err != nil {
		return b, err
	}
	if opt.Precision == TF32 {
		b.math = blasTF32
	}
	if err := b.choose(b.math); err != nil {
		return b, err
	}
	var err error
	if b.scratch, err = d.alloc(blasWorkspace); err != nil {
		return b, err
	}
	return b, b.check(d.driver.call(b.setWorkspace, b.handle, b.scratch, blasWorkspace), "giving cuBLAS a workspace")
}

func (b *blas) lookUp(lib probe.Library) error {
	for name, target := range map[string]*uintptr{
		"cublasCreate_v2": &b.create, "cublasDestroy_v2": &b.destroy, "cublasSetStream_v2": &b.setStream,
		"cublasSetMathMode": &b.setMath, "cublasSetWorkspace_v2": &b.setWorkspace, "cublasSgemm_v2": &b.sgemm,
	} {
		if *target = lib.Function(name); *target == 0 {
			return &Error{Unavailable, fmt.Sprintf("%s lacks %s: install cuBLAS 12", lib.Path, name)}
		}
	}
	return nil
}

// choose sets the math of the products that follow.
func (b *blas) choose(math uintptr) error {
	return b.check(b.device.driver.call(b.setMath, b.handle, math), "setting cuBLAS's math")
}

// inSingle runs do with products in single precision, whatever those of layers are in.
func (b *blas) inSingle(do func() error) error {
	if b.math == blasDefaultMath {
		return do()
	}
	if err := b.choose(blasDefaultMath); err != nil {
		return err
	}
	return errors.Join(do(), b.choose(b.math))
}

// multiply computes a product, see there.
func (b *blas) multiply(p *product, a, x, c uintptr) error {
	op := func(transpose bool) uintptr {
		if transpose {
			return blasTranspose
		}
		return 0
	}
	alpha, beta := uintptr(unsafe.Pointer(&b.one[0])), uintptr(unsafe.Pointer(&b.one[1]))
	if p.add {
		beta = alpha
	}
	status := b.device.driver.call(b.sgemm, b.handle, op(p.transposeA), op(p.transposeB), uintptr(p.m), uintptr(p.n), uintptr(p.k),
		alpha, a, uintptr(p.lda), x, uintptr(p.ldb), beta, c, uintptr(p.ldc))
	return b.check(status, "layer %s", p.layer)
}

func (b *blas) check(status uintptr, operation string, args ...any) error {
	code := int(int32(status))
	if code == 0 {
		return nil
	}
	return b.device.blame("cuBLAS", code, "", fmt.Sprintf(operation, args...))
}

func (b *blas) close() {
	if b == nil {
		return
	}
	if b.handle != 0 {
		b.device.driver.call(b.destroy, b.handle)
	}
	if b.scratch != 0 {
		_ = b.device.free(b.scratch) // a lost card answers nothing
	}
}
