package cuda

import "errors"

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
