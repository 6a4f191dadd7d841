//go:build gpu

package cuda

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// failing asks the emulator to fail from now until the end of the test.
func failing(t *testing.T, how string) {
	t.Helper()
	if !emulated() {
		t.Skip("a real card does not fail on request: this needs the emulator, see 'make gpu-emulate'")
	}
	t.Setenv("METRIX_EMULATOR_FAIL", how)
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for how, want := range map[string]string{
		"nodevice":  "cuda: the NVIDIA driver sees no card",
		"olddriver": "cuda: the NVIDIA driver serves CUDA 11.4: update it to version 525 or newer",
		"cudnn":     "starting cuDNN",
		"cublas":    "starting cuBLAS",
	} {
		t.Run(how, func(t *testing.T) {
			failing(t, how)
			_, err := Find(Options{CacheDir: t.TempDir()})
			assert.ErrorContains(t, err, want)
			assert.NotZero(t, FailureOf(err))
		})
	}
	t.Run("old cuDNN", func(t *testing.T) {
		failing(t, "")
		t.Setenv("METRIX_EMULATOR_CUDNN", "8004")
		_, err := Find(Options{CacheDir: t.TempDir()})
		assert.ErrorContains(t, err, "is too old: install version 8.1 or newer")
	})
	t.Run("old card", func(t *testing.T) {
		failing(t, "")
		t.Setenv("METRIX_EMULATOR_CAPABILITY", "75")
		_, err := Find(Options{CacheDir: t.TempDir()})
		assert.ErrorContains(t, err, "is too old: this engine needs compute capability 8.0 (Ampere) or newer")
	})
}

// A call that the card has no memory for is refused in a sentence; smaller ones go on.
func TestOutOfMemory(t *testing.T) {
	e, m := available(t, Options{}), small(t, "batch")
	net, _ := opened(t, e, m)
	step := func(n int) error {
		tape, err := net.Forward(model.Trunk, engine.Train, noise(n*m.Input.Size()), n)
		if err != nil {
			return err
		}
		_, err = net.Backward(tape, noise(n*m.Features.Size()), engine.Backward{})
		return err
	}
	require.NoError(t, step(2))
	failing(t, "oom:"+strconv.Itoa(80<<20))
	err := step(512)
	require.Error(t, err)
	assert.Equal(t, OutOfMemory, FailureOf(err))
	assert.ErrorContains(t, err, "is out of memory: asking for")
	assert.ErrorContains(t, err, "use fewer rows in a call (smaller shards), bf16, or end other programs on the card")
	require.NoError(t, step(2))

	t.Setenv("METRIX_EMULATOR_FAIL", "oom:1")
	_, err = e.Open(m, memoryOf(m), engine.Options{Threads: 1})
	assert.Equal(t, OutOfMemory, FailureOf(err))
}

// A card that is lost is lost for good, and says so; closing is still possible.
func TestLostDevice(t *testing.T) {
	failing(t, "")
	e, err := find(Options{CacheDir: t.TempDir()})
	require.NoError(t, err)
	m := small(t, "batch")
	net, err := e.Open(m, memoryOf(m), engine.Options{Threads: 1})
	require.NoError(t, err)
	tape, err := net.Forward(model.Trunk, engine.Train, noise(2*m.Input.Size()), 2)
	require.NoError(t, err)

	t.Setenv("METRIX_EMULATOR_FAIL", "xid:1")
	_, err = net.Backward(tape, noise(2*m.Features.Size()), engine.Backward{})
	assert.Equal(t, Lost, FailureOf(err))
	assert.ErrorContains(t, err, "is lost")
	assert.ErrorContains(t, err, "look for Xid in the kernel's log (dmesg)")
	t.Setenv("METRIX_EMULATOR_FAIL", "")
	_, err = net.Forward(model.Trunk, engine.Train, noise(2*m.Input.Size()), 2)
	assert.Equal(t, Lost, FailureOf(err))
	_, err = e.Open(m, memoryOf(m), engine.Options{Threads: 1})
	assert.Equal(t, Lost, FailureOf(err))
	require.NoError(t, net.Close())
	require.NoError(t, e.Close())
}
