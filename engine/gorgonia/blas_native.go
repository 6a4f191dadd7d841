//go:build (linux || darwin || freebsd || netbsd) && (amd64 || arm64)

package gorgonia

import "github.com/ebitengine/purego"

// libraries are the names under which OpenBLAS is installed, in order of preference. The last two
// are the system's choice of BLAS, used only where that is OpenBLAS: the reference BLAS is slower
// than gonum.
var libraries = [...]string{
	"libopenblas.so.0", "libopenblas.so", "libopenblas.0.dylib", "libopenblas.dylib",
	"/opt/homebrew/opt/openblas/lib/libopenblas.dylib", "libcblas.so.3", "libblas.so.3",
}

// load opens the first usable library, or returns nil.
func load() *native {
	for _, path := range libraries {
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			continue
		}
		if n := bind(handle, path); n != nil {
			return n
		}
		// Left open: a library with threads of its own cannot be unloaded safely.
	}
	return nil
}

// bind looks the functions up; it returns nil if one is missing.
func bind(handle uintptr, path string) *native {
	n := &native{path: path}
	var setThreads func(int32)
	for name, fn := range map[string]any{
		"openblas_set_num_threads": &setThreads,
		"cblas_sgemm":              &n.sgemm,
		"cblas_dgemm":              &n.dgemm,
		"cblas_sgemv":              &n.sgemv,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil
		}
		purego.RegisterFunc(fn, symbol)
	}
	setThreads(1)
	return n
}
