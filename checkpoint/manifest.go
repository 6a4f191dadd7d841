package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Format is the version of the manifest that this package writes, and the newest it reads.
const Format = 1

const (
	manifestName = "manifest.json"
	extension    = ".safetensors"
	maxManifest  = 16 << 20
	maxFiles     = 64
)

// Manifest describes a checkpoint. Save fills in Format and Files.
type Manifest struct {
	Format     int               `json:"format"`
	Run        string            `json:"run"`
	RecipeHash string            `json:"recipe_hash"`
	Recipe     string            `json:"recipe"` // canonical YAML
	Step       int64             `json:"step"`   // updates applied
	Seed       uint64            `json:"seed"`
	Metrics    json.RawMessage   `json:"metrics,omitempty"` // of the evaluation at this step
	Files      map[string]File   `json:"files"`             // by file name, "model.safetensors"
	Extra      map[string]string `json:"extra,omitempty"`
}

// File is what a file of the checkpoint must be.
type File struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// validGroup is what a group of tensors may be called; it becomes a file name.
var validGroup = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func (m *Manifest) check() error {
	switch {
	case m.Format > Format:
		return fmt.Errorf("its manifest has format %d; this version reads up to %d, so a newer metrix is needed", m.Format, Format)
	case m.Format < 1:
		return fmt.Errorf("its manifest has format %d; formats start at 1", m.Format)
	case m.Step < 0:
		return fmt.Errorf("its manifest names step %d; steps start at 0", m.Step)
	case len(m.Files) == 0 || len(m.Files) > maxFiles:
		return fmt.Errorf("its manifest lists %d files; a checkpoint has 1 to %d", len(m.Files), maxFiles)
	}
	for name, f := range m.Files {
		group, ok := groupOf(name)
		if !ok || !validGroup.MatchString(group) {
			return fmt.Errorf("its manifest lists a file %q; names are letters, digits, '-' and '_' with %s", name, extension)
		}
		if f.Bytes < 0 || len(f.SHA256) != 2*sha256.Size {
			return fmt.Errorf("its manifest gives %s the size %d and the hash %q", name, f.Bytes, f.SHA256)
		}
	}
	return nil
}

func groupOf(file string) (string, bool) {
	group := file[:max(0, len(file)-len(extension))]
	return group, group+extension == file
}

// readManifest reads and checks the manifest in the folder.
func readManifest(folder string) (Manifest, error) {
	src, err := readBounded(filepath.Join(folder, manifestName), maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	return decodeManifest(src)
}

func decodeManifest(src []byte) (Manifest, error) {
	// The format comes first: a newer one may have keys that this one does not know.
	var version struct{ Format int }
	if err := json.Unmarshal(src, &version); err != nil {
		return Manifest{}, fmt.Errorf("its %s is not valid JSON: %w", manifestName, err)
	}
	m := Manifest{Format: version.Format}
	if m.Format > Format {
		return Manifest{}, m.check()
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("its %s is not a manifest: %w", manifestName, err)
	}
	return m, m.check()
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	src, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(src)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return src, err
}

// Hash identifies the checkpoint in the folder: the SHA-256, in hexadecimal, of its manifest, which
// holds the hashes of everything else.
func Hash(folder string) (string, error) {
	src, err := readBounded(filepath.Join(folder, manifestName), maxManifest)
	if err != nil {
		return "", fmt.Errorf("checkpoint: hash %s: %w", folder, err)
	}
	sum := sha256.Sum256(src)
	return hex.EncodeToString(sum[:]), nil
}
