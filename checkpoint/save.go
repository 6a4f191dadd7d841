package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	temporary = ".tmp-" // being written, or left by a save that was killed
	retired   = ".old-" // being deleted
	leftover  = time.Hour
)

// Save writes a checkpoint to dir/step-%08d (made if needed) and returns that folder. Files are
// the tensors by group; group "model" becomes model.safetensors. Of this and the older checkpoints
// the newest keep stay, of which this is one; the others are deleted. Later steps, which a run that
// was started over may find, are left alone.
//
// On an error without a path nothing of this checkpoint is left and the others are untouched; an
// error with a path says that it was saved but an old one could not be deleted. If dir already has
// a valid checkpoint of the same step and recipe, that one stays and is returned: the state after a
// step is a function of recipe and step. A damaged one is replaced; one of another recipe is an
// error. Only one process at a time may save to dir.
func Save(dir string, m Manifest, files map[string][]Tensor, keep int) (path string, err error) {
	s := saver{create: createFile, now: time.Now()}
	path, err = s.save(dir, m, files, keep)
	if err != nil {
		err = fmt.Errorf("checkpoint: save step %d to %s: %w", m.Step, dir, err)
	}
	return path, err
}

// file is what saving needs of one.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// saver carries what tests replace.
type saver struct {
	create func(path string) (file, error)
	now    time.Time
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

func (s saver) save(dir string, m Manifest, files map[string][]Tensor, keep int) (string, error) {
	if err := checkSave(m, files, keep); err != nil {
		return "", err
	}
	if err := makeFolder(dir); err != nil {
		return "", err
	}
	s.removeLeftovers(dir)
	final := filepath.Join(dir, folderName(m.Step))
	kept, err := alreadyThere(final, m)
	if err != nil {
		return "", err
	}
	if kept {
		return final, nil
	}
	temp, err := os.MkdirTemp(dir, temporary+folderName(m.Step)+"-")
	if err != nil {
		return "", err
	}
	if err := s.fill(temp, m, files); err != nil {
		return "", errors.Join(err, os.RemoveAll(temp))
	}
	if err := publish(dir, temp, final); err != nil {
		return "", errors.Join(err, os.RemoveAll(temp))
	}
	return final, prune(dir, m.Step, keep)
}

// makeFolder makes dir and, where it was missing, syncs its name to the disk.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(filepath.Clean(dir)))
}

func checkSave(m Manifest, files map[string][]Tensor, keep int) error {
	switch {
	case m.Step < 0:
		return fmt.Errorf("the step is %d; it must be at least 0", m.Step)
	case len(files) == 0 || len(files) > maxFiles:
		return fmt.Errorf("there are %d groups of tensors; there must be 1 to %d", len(files), maxFiles)
	case keep < 1:
		return fmt.Errorf("keep is %d; at least 1 checkpoint is kept", keep)
	case m.Metrics != nil && !json.Valid(m.Metrics):
		return fmt.Errorf("the metrics are not valid JSON")
	}
	for group := range files {
		if !validGroup.MatchString(group) {
			return fmt.Errorf("a group of tensors is called %q; names are lower-case letters, digits, '-' and '_'", group)
		}
	}
	return nil
}

// alreadyThere reports whether the folder holds this checkpoint. A damaged one is moved out of the
// way.
func alreadyThere(final string, m Manifest) (bool, error) {
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	old, err := Verify(final)
	if err != nil || old.Step != m.Step {
		return false, discard(final)
	}
	if old.RecipeHash != m.RecipeHash || old.Seed != m.Seed {
		return false, fmt.Errorf("it holds this step of another recipe (run %s); choose another folder or delete that one", old.Run)
	}
	return true, nil
}

// fill writes the checkpoint into the folder and syncs it to the disk.
func (s saver) fill(folder string, m Manifest, files map[string][]Tensor) error {
	m.Format, m.Files = Format, make(map[string]File, len(files))
	for group, tensors := range files {
		name := group + extension
		f, err := s.write(filepath.Join(folder, name), func(w io.Writer) error { return WriteTensors(w, tensors) })
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		m.Files[name] = f
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	_, err = s.write(filepath.Join(folder, manifestName), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", manifestName, err)
	}
	return syncFolder(folder)
}

// write creates one file, syncs it to the disk and returns its size and hash.
func (s saver) write(path string, content func(io.Writer) error) (File, error) {
	f, err := s.create(path)
	if err != nil {
		return File{}, err
	}
	hash := sha256.New()
	size := &counter{}
	err = content(io.MultiWriter(f, hash, size))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return File{}, err
	}
	return File{SHA256: hex.EncodeToString(hash.Sum(nil)), Bytes: size.n}, nil
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// publish makes the filled folder visible under its name.
func publish(dir, temp, final string) error {
	if err := os.Chmod(temp, 0o755); err != nil { // MkdirTemp makes it private
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return err
	}
	if err := syncFolder(dir); err != nil {
		return errors.Join(err, discard(final))
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// prune deletes the checkpoints older than step, except the newest keep-1 that look whole: with the
// one of step they are keep. Damaged folders among those do not count.
func prune(dir string, step int64, keep int) error {
	found, err := list(dir)
	if err != nil {
		return err
	}
	room := keep - 1
	for _, s := range found {
		if s.step >= step {
			continue
		}
		if room > 0 {
			if complete(s) {
				room--
			}
			continue
		}
		if err := discard(s.path); err != nil {
			return fmt.Errorf("saved, but an old checkpoint could not be deleted: %w", err)
		}
	}
	return nil
}

// discard deletes a checkpoint. It is renamed first, so that it is never seen half deleted.
func discard(path string) error {
	aside := filepath.Join(filepath.Dir(path), retired+filepath.Base(path))
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	return os.RemoveAll(aside)
}

// removeLeftovers deletes what killed saves left: folders being deleted, and temporary folders that
// nobody has touched for an hour. What cannot be deleted is left: it is in nobody's way.
func (s saver) removeLeftovers(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		old := strings.HasPrefix(e.Name(), retired)
		if strings.HasPrefix(e.Name(), temporary) {
			info, err := e.Info()
			old = err == nil && s.now.Sub(info.ModTime()) > leftover
		}
		if old && e.IsDir() {
			os.RemoveAll(filepath.Join(dir, e.Name())) //nolint:errcheck // see above
		}
	}
}
