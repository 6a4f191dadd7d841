package probe

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
)

// EnvLibraries names the environment variable with folders, separated as in PATH, that are searched for
// the libraries before the system's own places: those of Python's nvidia packages, for example.
const EnvLibraries = "METRIX_CUDA_LIBS"

// The names of the libraries, in order of preference.
var (
	cudnnNames  = [...]string{"libcudnn.so.9", "libcudnn.so.8"}
	cublasNames = [...]string{"libcublas.so.12", "libcublas.so.13"}
)

// Library is one shared library.
type Library struct {
	// Path is where it was loaded from; empty if it was not found.
	Path string `json:"path,omitempty"`
	// Version it reports of itself, such as "9.10.2".
	Version string `json:"version,omitempty"`
	// Problem says in a sentence what is missing and how to get it; empty if nothing is.
	Problem string `json:"problem,omitempty"`

	handle uintptr
}

// open loads the first library there is; it stays loaded. The error is that of the first file that is
// there and cannot be loaded, or else of the first name.
func open(names ...string) (Library, error) {
	runtime.LockOSThread() // the loader keeps its message for the thread that it failed on
	defer runtime.UnlockOSThread()
	var broken, absent error
	for _, name := range names {
		for _, path := range places(name) {
			handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
			if err == nil {
				return Library{Path: loadedFrom(name), handle: handle}, nil
			}
			if _, e := os.Stat(path); e == nil {
				broken = cmp.Or(broken, err)
			} else if path == name {
				absent = cmp.Or(absent, err)
			}
		}
	}
	return Library{}, cmp.Or(broken, absent)
}

// driverName is the driver's library. It belongs to the kernel's module and is never one of a folder: the
// loader's search alone finds it, as engine/cuda/driver does.
const driverName = "libcuda.so.1"

// places are the paths at which a library is tried: the folders of METRIX_CUDA_LIBS, then the loader's.
func places(name string) []string {
	if name == driverName {
		return []string{name}
	}
	var paths []string
	for _, folder := range filepath.SplitList(os.Getenv(EnvLibraries)) {
		if folder != "" {
			paths = append(paths, filepath.Join(folder, name))
		}
	}
	return append(paths, name)
}

// loadedFrom finds the path of a loaded library in this process's map of memory.
func loadedFrom(name string) string {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return name
	}
	base := filepath.Base(name)
	stem, _, _ := strings.Cut(base, ".so")
	for line := range strings.Lines(string(text)) {
		_, path, ok := strings.Cut(strings.TrimSpace(line), "/")
		if file := filepath.Base(path); ok && strings.HasPrefix(file, stem+".so") {
			return "/" + path
		}
	}
	return name
}

// Function returns the address of a function of the library, or 0.
func (l Library) Function(name string) uintptr {
	if l.handle == 0 {
		return 0
	}
	address, err := purego.Dlsym(l.handle, name)
	if err != nil {
		return 0
	}
	return address
}

// bind makes the Go functions of targets call those of the library; it names what is missing.
func (l Library) bind(targets map[string]any) error {
	for name, target := range targets {
		address := l.Function(name)
		if address == 0 {
			return fmt.Errorf("%s lacks %s", l.Path, name)
		}
		purego.RegisterFunc(target, address)
	}
	return nil
}

// cudnn finds cuDNN and asks for its version.
func cudnn() Library {
	l, err := open(cudnnNames[:]...)
	if err != nil {
		l.Problem = missing("cuDNN 9 for CUDA 12 or 13", "libcudnn.so.9", "nvidia-cudnn-cu12", err)
		return l
	}
	var version func() uint64
	if l.bind(map[string]any{"cudnnGetVersion": &version}) == nil {
		l.Version = cudnnVersion(version())
	}
	return l
}

// cudnnVersion reads 90102 as 9.1.2 and, from before version 9, 8902 as 8.9.2.
func cudnnVersion(v uint64) string {
	if v < 10000 {
		return fmt.Sprintf("%d.%d.%d", v/1000, v/100%10, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// cublas finds cuBLAS and asks for its version.
func cublas() Library {
	l, err := open(cublasNames[:]...)
	if err != nil {
		l.Problem = missing("cuBLAS 12 or 13", "libcublas.so.12", "nvidia-cublas-cu12", err)
		return l
	}
	var property func(kind int32, value *int32) int32
	if l.bind(map[string]any{"cublasGetProperty": &property}) != nil {
		return l
	}
	var parts [3]int32
	for i := range parts {
		if property(int32(i), &parts[i]) != 0 {
			return l
		}
	}
	l.Version = fmt.Sprintf("%d.%d.%d", parts[0], parts[1], parts[2])
	return l
}

func missing(what, soname, wheel string, err error) string {
	reason := strings.ReplaceAll(err.Error(), "\n", "; ")
	return fmt.Sprintf("%s: %s: install it, or name the folder of pip's %s in %s", what, notFound(reason, soname), wheel, EnvLibraries)
}

// notFound shortens what the loader says of a library that is nowhere; other reasons stay.
func notFound(reason, soname string) string {
	if strings.HasPrefix(reason, soname+": cannot open shared object file: No such file") {
		return soname + " is not on this machine"
	}
	return reason
}
