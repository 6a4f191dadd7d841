package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// ErrNone is returned by Latest for a folder without any checkpoint: a fresh start.
var ErrNone = errors.New("there is no checkpoint")

// Skipped is a checkpoint that cannot be used, and why.
type Skipped struct {
	Path   string
	Reason error
}

var stepName = regexp.MustCompile(`^step-([0-9]{8,18})$`)

func folderName(step int64) string { return fmt.Sprintf("step-%08d", step) }

// saved is a folder with the name of a checkpoint.
type saved struct {
	path string
	step int64
}

// list returns the checkpoints of dir by name only, newest first.
func list(dir string) ([]saved, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: list %s: %w", dir, err)
	}
	var found []saved
	for _, e := range entries {
		if match := stepName.FindStringSubmatch(e.Name()); match != nil && e.IsDir() {
			step, err := strconv.ParseInt(match[1], 10, 64)
			if err == nil && folderName(step) == e.Name() {
				found = append(found, saved{filepath.Join(dir, e.Name()), step})
			}
		}
	}
	slices.SortFunc(found, func(a, b saved) int { return cmp.Compare(b.step, a.step) })
	return found, nil
}

// Find returns the newest checkpoint of dir whose files are all there with the right hashes, and
// the newer ones that it passed over. The error is ErrNone if dir holds none at all, and a sentence
// if it holds only unusable ones.
func Find(dir string) (path string, skipped []Skipped, err error) {
	found, err := list(dir)
	if err != nil {
		return "", nil, err
	}
	for _, s := range found {
		if err = s.verify(); err == nil {
			return s.path, skipped, nil
		}
		skipped = append(skipped, Skipped{s.path, err})
	}
	if len(skipped) > 0 {
		return "", skipped, fmt.Errorf("checkpoint: none of the %d checkpoints in %s is usable; the newest: %w", len(skipped), dir, skipped[0].Reason)
	}
	return "", nil, fmt.Errorf("checkpoint: %s: %w", dir, ErrNone)
}

// Latest is Find for callers that do not report what was passed over.
func Latest(dir string) (path string, err error) {
	path, _, err = Find(dir)
	return path, err
}

// After returns the newest checkpoint of dir whose files are all there with the right hashes, if it is of
// a later step than the one given; otherwise it is "". Files are read only where a name promises that.
func After(dir string, step int64) (path string, err error) {
	found, err := list(dir)
	for _, s := range found {
		if s.step > step && s.verify() == nil {
			return s.path, nil
		}
	}
	return "", err
}

// verify is Verify of the step that the folder's name says.
func (s saved) verify() error {
	m, err := Verify(s.path)
	if err == nil && m.Step != s.step {
		err = fmt.Errorf("checkpoint: %s cannot be used: its manifest says step %d", s.path, m.Step)
	}
	return err
}

// complete reports whether a checkpoint looks whole: its manifest is valid and its files have their
// sizes. It reads no data, so that saving stays cheap.
func complete(s saved) bool {
	m, err := readManifest(s.path)
	if err != nil || m.Step != s.step {
		return false
	}
	for name, want := range m.Files {
		info, err := os.Stat(filepath.Join(s.path, name))
		if err != nil || info.Size() != want.Bytes {
			return false
		}
	}
	return true
}
