//go:build (linux || darwin || freebsd || netbsd) && (amd64 || arm64)

package dataset

import "github.com/ebitengine/purego"

// turboLibraries are the names under which libturbojpeg is installed, in order of preference.
var turboLibraries = [...]string{
	"libturbojpeg.so.0", "libturbojpeg.so", "libturbojpeg.0.dylib", "libturbojpeg.dylib",
	"/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.dylib", "/usr/local/opt/jpeg-turbo/lib/libturbojpeg.dylib",
}

// loadTurbo opens the first usable library, or returns nil. The system counts repeated openings of
// one library and loads it once; it stays loaded until the process ends.
func loadTurbo() *turbo {
	for _, path := range turboLibraries {
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			continue
		}
		t := &turbo{path: path}
		if bindTurbo(handle, map[string]any{
			"tjInitDecompress":    &t.init,
			"tjDestroy":           &t.destroy,
			"tjDecompressHeader3": &t.header,
			"tjDecompress2":       &t.decompress,
		}) {
			return t
		}
	}
	return nil
}

// bindTurbo looks the functions up; it is false if one is missing.
func bindTurbo(handle uintptr, functions map[string]any) bool {
	for name, fn := range functions {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return false
		}
		purego.RegisterFunc(fn, symbol)
	}
	return true
}
