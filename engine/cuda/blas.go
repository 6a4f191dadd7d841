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
	setMath uintptr
	sgemm   uintptr
	destroy uintptr
	scratch uintptr
}

// blasWorkspace is what NVIDIA recommends for Hopper. A workspace of the engine's own makes products
// capturable in graphs and, on one stream, the same from run to run.
const blasWorkspace = 32 << 20

// cublasMath_t.
const (
	blasDefaultMath = 0
	blasTF32        = 3
)

func openBLAS(d *device, opt Options, stream uintptr) (*blas, error) {
	lib := probe.Look().CuBLAS
	if lib.Problem != "" {
		return nil, &Error{Unavailable, lib.Problem}
	}
	b := &blas{device: d, one: [2]float32{1, 0}}
	var create, setStream, setWorkspace uintptr
	for name, target := range map[string]*uintptr{
		"cublasCreate_v2": &create, "cublasDestroy_v2": &b.destroy, "cublasSetStream_v2": &setStream,
		"cublasSetMathMode": &b.setMath, "cublasSetWorkspace_v2": &setWorkspace, "cublasSgemm_v2": &b.sgemm,
	} {
		if *target = lib.Function(name); *target == 0 {
			return nil, &Error{Unavailable, fmt.Sprintf("%s lacks %s: install cuBLAS 12", lib.Path, name)}
		}
	}
	if err := b.check(d.driver.call(create, uintptr(unsafe.Pointer(&b.handle))), "starting cuBLAS"); err != nil {
		return nil, err
	}
	if err := b.check(d.driver.call(setStream, b.handle, stream), "giving cuBLAS a stream"); err != nil {
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
	return b, b.check(d.driver.call(setWorkspace, b.handle, b.scratch, blasWorkspace), "giving cuBLAS a workspace")
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
			return 1
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
