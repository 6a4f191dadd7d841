package allreduce

// Error is a collective that failed: the ring is dead, its generation is over, and what the caller
// was computing has to be done again by the next one. It is how a caller tells a peer's or the
// network's failure from its own.
type Error struct {
	Call string // operation, step and phase
	Err  error  // names the rank
}

// Error returns "ring: all-reduce step 12 gradients: ...".
func (e *Error) Error() string { return "ring: " + e.Call + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
