//go:build !((linux || darwin || freebsd || netbsd) && (amd64 || arm64))

package dataset

// loadTurbo returns nil: no foreign library can be called here.
func loadTurbo() *turbo { return nil }
