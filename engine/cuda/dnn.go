//go:build gpu

package cuda

import (
	"fmt"
	"unsafe"

	"github.com/metrixml/metrix/engine/cuda/probe"
)

// dnn is cuDNN: its legacy interface, convolutions only.
type dnn struct {
	device  *device
	version int
	handle  uintptr
	math    int32 // CUDNN_FMA_MATH and so on, of single precision
	cache   *algorithms
	plans   map[planKey]*convPlan
	one     [2]float32 // 1 and 0, that cuDNN reads by address
	relu    uintptr    // its descriptor; 0 if cuDNN cannot finish convolutions
	f       dnnFunctions
}

// dnnFunctions are addresses, called with purego.SyscallN.
type dnnFunctions struct {
	create, destroy, setStream, version, errorString uintptr
	newTensor, setTensor, freeTensor                 uintptr
	newFilter, setFilter, freeFilter                 uintptr
	newConv, setConv, setMath, freeConv              uintptr
	algorithms, workspace, run                       [3]uintptr // by direction
	newActivation, setActivation, freeActivation     uintptr    // these and finish may be missing
	finish                                           uintptr
}

// oldestDNN is the first cuDNN with convolutions of bfloat16 in its legacy interface.
const oldestDNN = 8100

func openDNN(d *device, opt Options, stream uintptr) (*dnn, error) {
	lib := probe.Look().CuDNN
	if lib.Problem != "" {
		return nil, &Error{Unavailable, lib.Problem}
	}
	n := &dnn{device: d, plans: map[planKey]*convPlan{}, one: [2]float32{1, 0}}
	if err := n.lookUp(lib); err != nil {
		return nil, err
	}
	n.version = int(n.device.driver.call(n.f.version))
	if n.version < oldestDNN {
		return nil, &Error{Unavailable, fmt.Sprintf("cuDNN %s (%s) is too old: install version 8.1 or newer", lib.Version, lib.Path)}
	}
	if err := n.check(d.driver.call(n.f.create, uintptr(unsafe.Pointer(&n.handle))), "starting cuDNN"); err != nil {
		return nil, err
	}
	n.math = fmaMath
	if opt.Precision == TF32 {
		n.math = defaultMath
	}
	n.cache = openAlgorithms(opt.CacheDir, fmt.Sprintf("%s, CUDA %d, cuDNN %d, math %d", d.model, d.version, n.version, n.math), d.logger)
	n.describeReLU()
	return n, n.check(d.driver.call(n.f.setStream, n.handle, stream), "giving cuDNN a stream")
}

// describeReLU readies finishes; without it kernels do what that does.
func (n *dnn) describeReLU() {
	f, call := &n.f, n.device.driver.call
	if f.newActivation == 0 || f.setActivation == 0 || f.freeActivation == 0 || f.finish == 0 {
		return
	}
	if call(f.newActivation, uintptr(unsafe.Pointer(&n.relu))) != 0 {
		n.relu = 0
		return
	}
	if call(f.setActivation, n.relu, activationReLU, propagateNaN) != 0 { // its last argument, a double, is not a ReLU's
		call(f.freeActivation, n.relu)
		n.relu = 0
	}
}

func (n *dnn) lookUp(lib probe.Library) error {
	f := &n.f
	for name, target := range map[string]*uintptr{
		"cudnnCreate": &f.create, "cudnnDestroy": &f.destroy, "cudnnSetStream": &f.setStream,
		"cudnnGetVersion": &f.version, "cudnnGetErrorString": &f.errorString,
		"cudnnCreateTensorDescriptor": &f.newTensor, "cudnnSetTensor4dDescriptor": &f.setTensor, "cudnnDestroyTensorDescriptor": &f.freeTensor,
		"cudnnCreateFilterDescriptor": &f.newFilter, "cudnnSetFilter4dDescriptor": &f.setFilter, "cudnnDestroyFilterDescriptor": &f.freeFilter,
		"cudnnCreateConvolutionDescriptor": &f.newConv, "cudnnSetConvolution2dDescriptor": &f.setConv,
		"cudnnSetConvolutionMathType": &f.setMath, "cudnnDestroyConvolutionDescriptor": &f.freeConv,
		"cudnnGetConvolutionForwardAlgorithm_v7":         &f.algorithms[forward],
		"cudnnGetConvolutionBackwardDataAlgorithm_v7":    &f.algorithms[backwardData],
		"cudnnGetConvolutionBackwardFilterAlgorithm_v7":  &f.algorithms[backwardWeights],
		"cudnnGetConvolutionForwardWorkspaceSize":        &f.workspace[forward],
		"cudnnGetConvolutionBackwardDataWorkspaceSize":   &f.workspace[backwardData],
		"cudnnGetConvolutionBackwardFilterWorkspaceSize": &f.workspace[backwardWeights],
		"cudnnConvolutionForward":                        &f.run[forward],
		"cudnnConvolutionBackwardData":                   &f.run[backwardData],
		"cudnnConvolutionBackwardFilter":                 &f.run[backwardWeights],
	} {
		if *target = lib.Function(name); *target == 0 {
			return &Error{Unavailable, fmt.Sprintf("%s lacks %s: install cuDNN 9 or 8", lib.Path, name)}
		}
	}
	for name, target := range map[string]*uintptr{
		"cudnnCreateActivationDescriptor": &f.newActivation, "cudnnSetActivationDescriptor": &f.setActivation,
		"cudnnDestroyActivationDescriptor": &f.freeActivation, "cudnnConvolutionBiasActivationForward": &f.finish,
	} {
		*target = lib.Function(name)
	}
	return nil
}

// check turns a status of cuDNN into an error. What lies behind an execution that failed, the driver
// knows.
func (n *dnn) check(status uintptr, operation string, args ...any) error {
	code := int(int32(status))
	if code == 0 {
		return nil
	}
	return n.device.blame("cuDNN", code, n.text(code), fmt.Sprintf(operation, args...))
}

// text is cuDNN's own word for a status.
func (n *dnn) text(code int) string {
	p := n.device.driver.call(n.f.errorString, uintptr(code))
	return goString(p)
}

// goString copies a C string.
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	length := 0
	for *(*byte)(unsafe.Add(pointer(p), length)) != 0 {
		length++
	}
	return string(unsafe.Slice((*byte)(pointer(p)), length))
}

func (n *dnn) close() {
	if n == nil {
		return
	}
	for _, p := range n.plans {
		p.free(n)
	}
	clear(n.plans)
	if n.relu != 0 {
		n.device.driver.call(n.f.freeActivation, n.relu)
	}
	if n.handle != 0 {
		n.device.driver.call(n.f.destroy, n.handle)
	}
}
