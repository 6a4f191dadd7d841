package cuda

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every failure is one sentence that names the card and says what to do.
func TestFailures(t *testing.T) {
	for result, want := range map[int]struct {
		failure  Failure
		sentence string
	}{
		2:   {OutOfMemory, "cuda: GPU 0 is out of memory: asking for 3.0 GiB: use fewer rows in a call (smaller shards), bf16, or end other programs on the card"},
		209: {Unavailable, "cuda: GPU 0 is too old: this engine needs compute capability 8.0 (Ampere) or newer"},
		222: {Unavailable, "cuda: the driver of GPU 0 is too old for this program's kernels (CUDA error 222): update it"},
		719: {Lost, "cuda: GPU 0 is lost: asking for 3.0 GiB: a kernel failed (CUDA error 719): look for Xid in the kernel's log (dmesg), reset the card or restart the machine, and start the worker again"},
		1:   {Refused, "cuda: GPU 0: asking for 3.0 GiB: CUDA error 1"},
	} {
		err := translate(result, "asking for "+size(3<<30), "GPU 0")
		assert.EqualError(t, err, want.sentence)
		assert.Equal(t, want.failure, FailureOf(fmt.Errorf("worker: step 3: %w", err)))
	}
	for _, result := range []int{4, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 721, 802, 999} {
		assert.Equal(t, Lost, translate(result, "", "").Failure, "%d", result)
	}
	assert.Zero(t, FailureOf(errors.New("another")))
	assert.Zero(t, FailureOf(nil))
	assert.Equal(t, "1 MiB", size(1))
}
