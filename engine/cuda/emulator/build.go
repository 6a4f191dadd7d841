package emulator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoCompiler is returned where there is no C++ compiler to build the emulator with.
var ErrNoCompiler = errors.New("the CUDA emulator needs g++ (or CXX set to a C++17 compiler)")

// Build makes the three libraries, unless they are there from an earlier build of the same sources, and
// returns the folder they lie in, which LD_LIBRARY_PATH has to name. It is called from inside the
// repository, whose sources it compiles.
func Build() (folder string, err error) {
	compiler := os.Getenv("CXX")
	if compiler == "" {
		compiler = "g++"
	}
	if _, err := exec.LookPath(compiler); err != nil {
		return "", ErrNoCompiler
	}
	root, err := sources()
	if err != nil {
		return "", err
	}
	sum, err := digest(root, compiler)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	folder = filepath.Join(cache, "metrix", "cuda-emulator", sum)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	return folder, buildInto(folder, root)
}

// buildInto builds beside the folder and renames, so that a folder is whole or not there, and that two
// builds at once do no harm.
func buildInto(folder, root string) error {
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	work, err := os.MkdirTemp(parent, "building-")
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	defer os.RemoveAll(work)
	if out, err := exec.Command(filepath.Join(root, "emulator", "build.sh"), work).CombinedOutput(); err != nil {
		return fmt.Errorf("emulator: building it: %w\n%s", err, out)
	}
	if err := os.Rename(work, folder); err != nil {
		if _, there := os.Stat(folder); there == nil {
			return nil // somebody else was faster
		}
		return fmt.Errorf("emulator: %w", err)
	}
	return nil
}

// sources returns engine/cuda of the repository that the working directory is in.
func sources() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return filepath.Join(at, "engine", "cuda"), nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", errors.New("emulator: its sources are not above the working directory; run inside the repository")
		}
		at = up
	}
}

// digest is a hash of everything that goes into the libraries.
func digest(root, compiler string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, compiler)
	for _, part := range []string{"emulator", "kernels", "driver"} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !compiled(path) {
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n%s", strings.TrimPrefix(path, root), len(text), text)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("emulator: reading its sources: %w", err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

func compiled(path string) bool {
	switch filepath.Ext(path) {
	case ".cc", ".c", ".cu", ".h", ".sh":
		return true
	}
	return false
}
