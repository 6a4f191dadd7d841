package dataset

import "context"

// Info describes a set.
type Info struct{}

// Describe is to be written.
func Describe(ctx context.Context, set *Set) (*Info, error) { return &Info{}, nil }
