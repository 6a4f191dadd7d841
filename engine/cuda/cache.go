package cuda

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// choice is a convolution algorithm by cuDNN's numbers.
type choice struct {
	Algorithm int32 `json:"algorithm"`
	Math      int32 `json:"math"`
}

// algorithms remembers which convolution algorithms were the fastest, in a file of its own for every
// kind of card, driver and cuDNN. Processes of a machine agree, for only one measures at a time and the
// others read what it has written; machines of a run agree if they are given the same file. Algorithms
// differ in their rounding, so this is part of what makes runs repeatable.
type algorithms struct {
	path   string // empty: the first candidate is taken
	key    string
	logger *slog.Logger
}

// cacheFile is what a file holds.
type cacheFile struct {
	Key     string            `json:"key"`
	Choices map[string]choice `json:"choices"`
}

// openAlgorithms finds the file of a key. Without a place to write, nothing is measured, and cuDNN's own
// estimate decides.
func openAlgorithms(dir, key string, logger *slog.Logger) *algorithms {
	a := &algorithms{key: key, logger: logger}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			logger.Warn("cuda: convolution algorithms are not measured: there is no cache folder", "error", err)
			return a
		}
		dir = filepath.Join(user, "metrix")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		logger.Warn("cuda: convolution algorithms are not measured: the cache folder cannot be made", "error", err)
		return a
	}
	sum := sha256.Sum256([]byte(key))
	a.path = filepath.Join(dir, "cudnn-"+hex.EncodeToString(sum[:8])+".json")
	return a
}

// choose returns the choice for a convolution: the remembered one if it is among the candidates, else
// what measure finds, else the first. What measure had to guess (sure is false) is not remembered.
func (a *algorithms) choose(name string, candidates []choice, measure func([]choice) (c choice, sure bool, err error)) (choice, error) {
	if a.path == "" || len(candidates) == 1 {
		return candidates[0], nil
	}
	unlock, err := a.lock()
	if err != nil {
		a.logger.Warn("cuda: convolution algorithms are not measured: the cache cannot be locked", "file", a.path, "error", err)
		a.path = ""
		return candidates[0], nil
	}
	defer unlock()
	known, err := a.read()
	if err != nil {
		return choice{}, err
	}
	if c, ok := known.Choices[name]; ok && slices.Contains(candidates, c) {
		return c, nil
	}
	c, sure, err := measure(candidates)
	if err != nil || !sure {
		return c, err
	}
	known.Choices[name] = c
	if err := a.write(known); err != nil {
		return choice{}, fmt.Errorf("cuda: remembering a convolution algorithm: %w", err)
	}
	return c, nil
}

// lock keeps other processes out until unlock.
func (a *algorithms) lock() (unlock func(), err error) {
	f, err := os.OpenFile(a.path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks, and nothing was written
}

func (a *algorithms) read() (*cacheFile, error) {
	known := &cacheFile{Key: a.key, Choices: map[string]choice{}}
	text, err := os.ReadFile(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: reading the measured convolution algorithms: %w", err)
	}
	if err := json.Unmarshal(text, known); err != nil || known.Key != a.key || known.Choices == nil {
		return nil, fmt.Errorf("cuda: %s does not hold the convolution algorithms of %s: remove it: %w", a.path, a.key, cmp.Or(err, errors.New("another key")))
	}
	return known, nil
}

// write replaces the file at once, so that nobody reads half of it.
func (a *algorithms) write(known *cacheFile) error {
	text, err := json.MarshalIndent(known, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(a.path), "cudnn-*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), a.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is told
	}
	return err
}
