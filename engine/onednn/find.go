package onednn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// The shim's source travels in the binary, so that it can be compiled where oneDNN is.
//
//go:embed shim/*.c shim/*.h shim/build.sh
var source embed.FS

const (
	// EnvShim names the environment variable with the path of the shim.
	EnvShim = "METRIX_ONEDNN_SHIM"
	// ShimName is the file name of the shim.
	ShimName = "libmetrix_onednn.so"
)

const howTo = "install it with: apt-get install libdnnl-dev gcc"

var found = sync.OnceValues(find)

// Find returns the engine in single precision, or a sentence that says what is missing and how to
// get it. The shim, a small library that speaks to oneDNN, is looked for where METRIX_ONEDNN_SHIM
// points, beside the executable, in bin below the working directory, and in the user's cache; if it
// is nowhere, it is compiled into the cache (a few seconds, once), which needs gcc and the headers of
// oneDNN 2.6 or newer. The first answer holds for the life of the process.
func Find() (*Engine, error) {
	lib, err := found()
	if err != nil {
		return nil, err
	}
	return &Engine{lib: lib}, nil
}

func find() (*library, error) {
	if path := os.Getenv(EnvShim); path != "" {
		lib, err := load(path)
		if err != nil {
			return nil, fmt.Errorf("%w (%s points there)", err, EnvShim)
		}
		return lib, nil
	}
	var errs []error
	for _, path := range candidates() {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		lib, err := load(path)
		if err == nil {
			return lib, nil
		}
		errs = append(errs, err)
	}
	path, err := compile()
	if err == nil {
		return load(path)
	}
	return nil, errors.Join(append(errs, err)...)
}

// candidates are the places of a shim that was built before.
func candidates() (paths []string) {
	if exe, err := os.Executable(); err == nil {
		paths = append(paths, filepath.Join(filepath.Dir(exe), ShimName))
	}
	paths = append(paths, filepath.Join("bin", ShimName))
	return paths
}

// compileTime bounds the compiler.
const compileTime = 2 * time.Minute

// compile builds the shim in the user's cache, unless it is there, and returns its path. The name
// holds a hash of the source, so that another version of the program makes its own.
func compile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	hash, err := sourceHash()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "metrix", hash, ShimName)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	for _, tool := range []string{"sh", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("onednn: no shim for oneDNN, and no %s to compile it: %s", tool, howTo)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("onednn: a place for the shim: %w", err)
	}
	return path, build(path)
}

func build(path string) error {
	dir, err := os.MkdirTemp("", "metrix-shim-")
	if err != nil {
		return fmt.Errorf("onednn: a place to compile the shim: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, source); err != nil {
		return fmt.Errorf("onednn: unpacking the shim's source: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), compileTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", filepath.Join(dir, "shim", "build.sh"), path).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case bytes.Contains(out, []byte("dnnl.h")), bytes.Contains(out, []byte("-ldnnl")):
		return fmt.Errorf("onednn: oneDNN and its headers are not installed: %s", howTo)
	}
	return fmt.Errorf("onednn: compiling the shim: %w: %s", err, bytes.TrimSpace(out))
}

func sourceHash() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(source, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := source.ReadFile(path)
		h.Write(text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}
