//go:build !amd64

package retrieval

// dotKernel returns the fastest inner product of this machine.
func dotKernel() kernel { return dotPlain }
