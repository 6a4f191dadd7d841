package cuda

import (
	"errors"
	"fmt"
)

// ErrNotBuilt is what Find returns in a program built without the tag gpu.
var ErrNotBuilt = errors.New("cuda: this program was built without GPU support; use the metrix-gpu image, or bin/metrix-gpu and bin/worker-gpu, which 'make gpu' builds")

// Failure says what a caller can do about an Error.
type Failure uint8

const (
	// Unavailable: this machine has no card, driver or library that serves; Find says what to install.
	Unavailable Failure = iota + 1
	// OutOfMemory: the card's memory does not hold the call; fewer rows in one might.
	OutOfMemory
	// Lost: the card, or this process's hold on it, is gone for the life of the process. A worker
	// leaves the run; its shards move on.
	Lost
	// Refused: a library refused a call, which is a fault of this program or of that library.
	Refused
)

// Error is one sentence with the remedy.
type Error struct {
	Failure  Failure
	Sentence string
}

// Error implements error.
func (e *Error) Error() string { return "cuda: " + e.Sentence }

// FailureOf returns the kind of an error's failure; 0 if it is none of this engine's.
func FailureOf(err error) Failure {
	var e *Error
	if errors.As(err, &e) {
		return e.Failure
	}
	return 0
}

// Results of the driver (CUresult) that the engine tells apart.
const (
	resultOutOfMemory    = 2
	resultNoBinary       = 209
	resultInvalidPTX     = 218
	resultNoCompiler     = 221
	resultUnsupportedPTX = 222
)

// lostReason says in words why a context answers nothing any more after a result; "" if it still does.
// The driver's log names the Xid behind it.
func lostReason(result int) string {
	switch result {
	case 4:
		return "the driver has shut down"
	case 214, 226:
		return "an uncorrectable error of its memory"
	case 220:
		return "an uncorrectable error of NVLink"
	case 700, 716, 717:
		return "an access to memory that is not the program's"
	case 702:
		return "a kernel ran longer than the system allows"
	case 709:
		return "the context is gone"
	case 710, 714, 715, 718, 719:
		return "a kernel failed"
	case 802:
		return "it is not ready"
	case 721, 999:
		return "an unknown error"
	}
	return ""
}

// translate turns a result of the driver into an error. card is what the user knows the card by.
func translate(result int, operation, card string) *Error {
	if reason := lostReason(result); reason != "" {
		return &Error{Lost, fmt.Sprintf("%s is lost: %s: %s (CUDA error %d): look for Xid in the kernel's log (dmesg), reset the card or restart the machine, and start the worker again",
			card, operation, reason, result)}
	}
	switch result {
	case resultOutOfMemory:
		return &Error{OutOfMemory, fmt.Sprintf("%s is out of memory: %s: use fewer rows in a call (smaller shards), bf16, or end other programs on the card", card, operation)}
	case resultUnsupportedPTX, resultInvalidPTX, resultNoCompiler:
		return &Error{Unavailable, fmt.Sprintf("the driver of %s is too old for this program's kernels (CUDA error %d): update it", card, result)}
	case resultNoBinary:
		return &Error{Unavailable, fmt.Sprintf("%s is too old: this engine needs compute capability 8.0 (Ampere) or newer", card)}
	}
	return &Error{Refused, fmt.Sprintf("%s: %s: CUDA error %d", card, operation, result)}
}

// size writes a number of bytes.
func size(bytes int64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
