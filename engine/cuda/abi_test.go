//go:build gpu

package cuda

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/probe"
)

// numbersFile names a file with lines such as "nhwc = 1", by NVIDIA's headers: scripts/gpu-abi.sh writes it
// and names NVIDIA's own libraries in METRIX_CUDA_LIBS. Neither a card nor a driver is needed.
const numbersFile = "METRIX_CUDA_ABI"

func numbers(t *testing.T) map[string]string {
	t.Helper()
	path := os.Getenv(numbersFile)
	if path == "" {
		t.Skip(numbersFile + " is not set: 'make gpu-abi' compares with NVIDIA's headers and libraries")
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			found[name] = value
		}
	}
	return found
}

func TestNumbersAreNVIDIAs(t *testing.T) {
	theirs := numbers(t)
	var p perf
	for name, ours := range map[string]int{
		"nhwc": nhwc, "typeFloat": typeFloat, "typeBFloat16": typeBFloat16, "crossCorrelation": crossCorrelation,
		"defaultMath": defaultMath, "tensorMath": tensorMath, "fmaMath": fmaMath, "deterministic": deterministic,
		"activationReLU": activationReLU, "propagateNaN": propagateNaN,
		"blasDefaultMath": blasDefaultMath, "blasTF32": blasTF32, "blasTranspose": blasTranspose,
		"perf": int(unsafe.Sizeof(p)), "perf.algorithm": int(unsafe.Offsetof(p.algorithm)), "perf.status": int(unsafe.Offsetof(p.status)),
		"perf.memory": int(unsafe.Offsetof(p.memory)), "perf.determinism": int(unsafe.Offsetof(p.determinism)), "perf.math": int(unsafe.Offsetof(p.math)),
	} {
		assert.Equal(t, theirs[name], strconv.Itoa(ours), name)
	}
}

// What describes tensors, filters and convolutions needs no card: NVIDIA's cuDNN takes every description of a
// ResNet, and finds the outputs that the plan has.
func TestDescribesToTheRealCuDNN(t *testing.T) {
	numbers(t)
	lib := probe.Look().CuDNN
	require.Empty(t, lib.Problem)
	t.Log("cuDNN", lib.Version, lib.Path)
	n := &dnn{device: new(device), math: fmaMath}
	require.NoError(t, n.lookUp(lib))
	require.GreaterOrEqual(t, int(n.device.driver.call(n.f.version)), oldestDNN)
	output, read := lib.Function("cudnnGetConvolution2dForwardOutputDim"), lib.Function("cudnnGetTensor4dDescriptor")
	require.NotZero(t, output)
	require.NotZero(t, read)
	for _, bf16 := range []bool{false, true} {
		for _, s := range []convShape{
			{bf16, 20, 3, 224, 224, 64, 7, 2, 3, 112, 112},
			{bf16, 20, 64, 56, 56, 256, 1, 1, 0, 56, 56},
			{bf16, 20, 128, 56, 56, 128, 3, 2, 1, 28, 28},
			{bf16, 20, 512, 7, 7, 512, 3, 1, 1, 7, 7},
			{bf16, 20, 1024, 14, 14, 2048, 1, 2, 0, 7, 7},
		} {
			p := &convPlan{shape: s}
			require.NoError(t, p.describe(n), "%+v", s)
			for _, c := range p.conv {
				var dims [4]int32
				status := n.device.driver.call(output, c, p.x, p.w, uintptr(unsafe.Pointer(&dims[0])), uintptr(unsafe.Pointer(&dims[1])),
					uintptr(unsafe.Pointer(&dims[2])), uintptr(unsafe.Pointer(&dims[3])))
				require.Zero(t, int32(status))
				require.Equal(t, [4]int32{int32(s.n), int32(s.k), int32(s.oh), int32(s.ow)}, dims)
			}
			var kind int32
			var d [8]int32 // sizes and strides: N, C, H, W
			at := func(i int) uintptr { return uintptr(unsafe.Pointer(&d[i])) }
			require.Zero(t, int32(n.device.driver.call(read, p.y, uintptr(unsafe.Pointer(&kind)), at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))))
			k, h, w := int32(s.k), int32(s.oh), int32(s.ow)
			require.Equal(t, [8]int32{int32(s.n), k, h, w, h * w * k, 1, w * k, k}, d, "rows, then pixels, then channels")
			require.Equal(t, bf16, kind == typeBFloat16)
			p.free(n)
		}
	}
	n.describeReLU()
	require.NotZero(t, n.relu)
	require.Zero(t, int32(n.device.driver.call(n.f.freeActivation, n.relu)))
}

// cuBLAS has what the engine asks it for.
func TestTheRealCuBLASHasItsFunctions(t *testing.T) {
	numbers(t)
	lib := probe.Look().CuBLAS
	require.Empty(t, lib.Problem)
	t.Log("cuBLAS", lib.Version, lib.Path)
	require.NoError(t, new(blas).lookUp(lib))
}
