package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads the checkpoint in the folder and verifies every file's size and hash. The tensors are
// by group, as they were given to Save. An error is one sentence that names the folder and says
// what is wrong with it.
func Load(folder string) (Manifest, map[string][]Tensor, error) {
	m, err := readManifest(folder)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("checkpoint: %s cannot be used: %w", folder, notThere(err))
	}
	groups := make(map[string][]Tensor, len(m.Files))
	for name, want := range m.Files {
		group, _ := groupOf(name)
		if groups[group], err = loadFile(filepath.Join(folder, name), want); err != nil {
			return Manifest{}, nil, fmt.Errorf("checkpoint: %s cannot be used: its file %s %w", folder, name, notThere(err))
		}
	}
	return m, groups, nil
}

// ReadFile reads the tensors of one safetensors file, such as pretrained weights.
func ReadFile(path string) ([]Tensor, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s %w", path, notThere(err))
	}
	defer f.Close() //nolint:errcheck // nothing was written
	tensors, err := ReadTensors(f, size)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s is not a usable safetensors file: %w", path, err)
	}
	return tensors, nil
}

func loadFile(path string, want File) ([]Tensor, error) {
	f, err := openWanted(path, want)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	hash := sha256.New()
	tensors, err := ReadTensors(io.TeeReader(f, hash), want.Bytes)
	if err != nil {
		return nil, fmt.Errorf("is corrupt: %w", err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.SHA256 {
		return nil, wrongHash(got, want)
	}
	return tensors, nil
}

// Verify checks the checkpoint in the folder as Load does, except that tensors are not kept: it
// needs no memory for them.
func Verify(folder string) (Manifest, error) {
	m, err := readManifest(folder)
	if err != nil {
		return Manifest{}, fmt.Errorf("checkpoint: %s cannot be used: %w", folder, notThere(err))
	}
	for name, want := range m.Files {
		if err := verifyFile(filepath.Join(folder, name), want); err != nil {
			return Manifest{}, fmt.Errorf("checkpoint: %s cannot be used: its file %s %w", folder, name, notThere(err))
		}
	}
	return m, nil
}

func verifyFile(path string, want File) error {
	f, err := openWanted(path, want)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.SHA256 {
		return wrongHash(got, want)
	}
	return nil
}

// openWanted opens a file that must have the wanted size, which costs nothing to see.
func openWanted(path string, want File) (*os.File, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if size != want.Bytes {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("is incomplete: it has %d bytes where the manifest says %d", size, want.Bytes)
	}
	return f, nil
}

func openFile(path string) (*os.File, int64, error) {
	info, err := os.Stat(path) // before opening: opening a pipe would wait for its other end
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("is not a plain file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func wrongHash(got string, want File) error {
	return fmt.Errorf("is corrupt: its SHA-256 starts with %.12s where the manifest says %.12s", got, want.SHA256)
}

// notThere says "is missing" in place of the system's words for it.
func notThere(err error) error {
	var p *fs.PathError
	if errors.Is(err, fs.ErrNotExist) && errors.As(err, &p) {
		if filepath.Base(p.Path) == manifestName {
			return fmt.Errorf("its %s is missing: %w", manifestName, fs.ErrNotExist)
		}
		return fmt.Errorf("is missing: %w", fs.ErrNotExist)
	}
	return err
}
