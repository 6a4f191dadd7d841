package emulator_test

import (
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/emulator"
)

// library opens one of the emulated libraries beside the driver's.
func library(t *testing.T, name string, functions map[string]any) {
	t.Helper()
	folder, err := emulator.Build()
	require.NoError(t, err)
	handle, err := purego.Dlopen(filepath.Join(folder, name), purego.RTLD_NOW|purego.RTLD_LOCAL)
	require.NoError(t, err)
	for name, target := range functions {
		purego.RegisterLibFunc(target, handle, name)
	}
}

// floats copies x to the card; read copies n floats back.
func (c *cuda) floats(x []float32) uintptr {
	c.t.Helper()
	host, _ := c.pinned(uint64(len(x)))
	copy(unsafe.Slice((*float32)(*(*unsafe.Pointer)(unsafe.Pointer(&host))), len(x)), x)
	p := c.card(uint64(len(x)))
	c.ok(c.toCard(p, host, uint64(4*len(x)), 0))
	return p
}

func (c *cuda) read(p uintptr, n int) []float32 {
	c.t.Helper()
	host, _ := c.pinned(uint64(n))
	c.ok(c.toHost(host, p, uint64(4*n), 0))
	c.ok(c.synchronize())
	return append([]float32(nil), unsafe.Slice((*float32)(*(*unsafe.Pointer)(unsafe.Pointer(&host))), n)...)
}

func TestProductsAreColumnByColumn(t *testing.T) {
	c := open(t)
	var create func(handle *uintptr) int32
	var sgemm func(handle uintptr, ta, tb, m, n, k int32, alpha *float32, a uintptr, lda int32, b uintptr, ldb int32, beta *float32, out uintptr, ldc int32) int32
	library(t, "libcublas.so.12", map[string]any{"cublasCreate_v2": &create, "cublasSgemm_v2": &sgemm})
	var handle uintptr
	c.ok(create(&handle))
	a := c.floats([]float32{1, 2, 3, 4, 5, 6}) // 2 x 3: 1 3 5 / 2 4 6
	b := c.floats([]float32{1, 0, 2, 1, 1, 1}) // 3 x 2: 1 1 / 0 1 / 2 1
	out := c.floats([]float32{100, 100, 100, 100})
	one, half := float32(1), float32(0.5)
	c.ok(sgemm(handle, 0, 0, 2, 2, 3, &one, a, 2, b, 3, &half, out, 2))
	require.Equal(t, []float32{61, 64, 59, 62}, c.read(out, 4))
	zero := float32(0)
	c.ok(sgemm(handle, 1, 1, 3, 3, 2, &one, a, 2, b, 3, &zero, c.card(9), 3)) // A^T B^T
	require.Equal(t, int32(7), sgemm(handle, 0, 0, 2, 2, 3, &one, a, 1, b, 3, &half, out, 2), "a leading dimension below the rows")
	require.Equal(t, int32(13), sgemm(handle, 0, 0, 3, 2, 3, &one, a, 3, b, 3, &half, out, 3), "beyond the matrix")
}

// convolution is what of cuDNN a test of one convolution needs.
type convolution struct {
	create                        func(handle *uintptr) int32
	newTensor, newFilter, newConv func(descriptor *uintptr) int32
	setTensor                     func(d uintptr, format, kind, n, c, h, w int32) int32
	setFilter                     func(d uintptr, kind, format, k, c, r, s int32) int32
	setConv                       func(d uintptr, padH, padW, stepH, stepW, dilationH, dilationW, mode, compute int32) int32
	workspace                     func(handle, x, w, conv, y uintptr, algorithm int32, bytes *uint64) int32
	forward                       func(handle uintptr, alpha *float32, xd, x, wd, w, conv uintptr, algorithm int32, workspace uintptr, bytes uint64, beta *float32, yd, y uintptr) int32
	handle, xd, wd, yd, conv      uintptr
}

func openConvolution(t *testing.T, c *cuda) *convolution {
	f := &convolution{}
	library(t, "libcudnn.so.9", map[string]any{
		"cudnnCreate": &f.create, "cudnnCreateTensorDescriptor": &f.newTensor, "cudnnCreateFilterDescriptor": &f.newFilter,
		"cudnnCreateConvolutionDescriptor": &f.newConv, "cudnnSetTensor4dDescriptor": &f.setTensor, "cudnnSetFilter4dDescriptor": &f.setFilter,
		"cudnnSetConvolution2dDescriptor": &f.setConv, "cudnnGetConvolutionForwardWorkspaceSize": &f.workspace, "cudnnConvolutionForward": &f.forward,
	})
	c.ok(f.create(&f.handle))
	for _, d := range []*uintptr{&f.xd, &f.yd} {
		c.ok(f.newTensor(d))
	}
	c.ok(f.newFilter(&f.wd))
	c.ok(f.newConv(&f.conv))
	return f
}

// One image of 3 x 3 pixels and 2 channels, a window of 2 x 2 at stride 1, one output channel: sums by hand.
func TestConvolutionsAndTheirChecks(t *testing.T) {
	c := open(t)
	f := openConvolution(t, c)
	const nhwc, float = 1, 0
	c.ok(f.setTensor(f.xd, nhwc, float, 1, 2, 3, 3))
	c.ok(f.setFilter(f.wd, float, nhwc, 1, 2, 2, 2))
	c.ok(f.setTensor(f.yd, nhwc, float, 1, 1, 2, 2))
	c.ok(f.setConv(f.conv, 0, 0, 1, 1, 1, 1, 1, float))
	x := make([]float32, 18)
	for i := range 9 {
		x[2*i], x[2*i+1] = float32(i), 100*float32(i)
	}
	xp, wp, yp := c.floats(x), c.floats([]float32{1, 0, 0, 0, 0, 0, 0, 1}), c.card(4) // top left of channel 0, bottom right of 1
	one, zero := float32(1), float32(0)
	c.ok(f.forward(f.handle, &one, f.xd, xp, f.wd, wp, f.conv, 0, 0, 0, &zero, f.yd, yp))
	require.Equal(t, []float32{400, 501, 703, 804}, c.read(yp, 4))

	var bytes uint64
	c.ok(f.workspace(f.handle, f.xd, f.wd, f.conv, f.yd, 1, &bytes))
	require.NotZero(t, bytes)
	require.Equal(t, int32(2000), f.forward(f.handle, &one, f.xd, xp, f.wd, wp, f.conv, 1, 0, 0, &zero, f.yd, yp), "no workspace")
	c.ok(f.forward(f.handle, &one, f.xd, xp, f.wd, wp, f.conv, 1, c.card(bytes/4), bytes, &one, f.yd, yp))
	require.Equal(t, []float32{800, 1002, 1406, 1608}, c.read(yp, 4), "added")
	c.ok(f.setTensor(f.yd, nhwc, float, 1, 1, 3, 3))
	require.Equal(t, int32(2000), f.forward(f.handle, &one, f.xd, xp, f.wd, wp, f.conv, 0, 0, 0, &zero, f.yd, yp), "an output of another size")
}
