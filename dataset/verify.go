package dataset

import "context"

// VerifyOptions tune Verify. The zero value is usable.
type VerifyOptions struct {
	Limits   Limits
	Threads  int                   // images decoded at a time; 0 means all cores
	Progress func(done, total int) // called from one goroutine at a time
}

// Report is what Verify found.
type Report struct{}

// Verify is to be written.
func Verify(ctx context.Context, set *Set, opt VerifyOptions) (*Report, error) { return &Report{}, nil }
