package cuda

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var some = []choice{{1, 3}, {0, 3}, {6, 3}}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func never(t *testing.T) func([]choice) (choice, bool, error) {
	return func([]choice) (choice, bool, error) {
		t.Error("measured again")
		return choice{}, false, nil
	}
}

// What was measured once holds for every process with the same card, driver and cuDNN, and for no other.
func TestAlgorithmsAreMeasuredOnce(t *testing.T) {
	dir := t.TempDir()
	a := openAlgorithms(dir, "card 1", quiet())
	c, err := a.choose("forward 3x3", some, func(list []choice) (choice, bool, error) { return list[2], true, nil })
	require.NoError(t, err)
	assert.Equal(t, some[2], c)
	c, err = openAlgorithms(dir, "card 1", quiet()).choose("forward 3x3", some, never(t))
	require.NoError(t, err)
	assert.Equal(t, some[2], c)
	other := openAlgorithms(dir, "card 2", quiet())
	assert.NotEqual(t, a.path, other.path)
	c, err = other.choose("forward 3x3", some, func(list []choice) (choice, bool, error) { return list[1], true, nil })
	require.NoError(t, err)
	assert.Equal(t, some[1], c)
	c, err = other.choose("data 3x3", some, func(list []choice) (choice, bool, error) { return list[1], false, nil })
	require.NoError(t, err)
	assert.Equal(t, some[1], c)
	c, err = other.choose("data 3x3", some, func(list []choice) (choice, bool, error) { return list[2], true, nil })
	require.NoError(t, err)
	assert.Equal(t, some[2], c, "a guess is not remembered")
	// A choice that cuDNN offers no more is measured again.
	c, err = a.choose("forward 3x3", some[:2], func(list []choice) (choice, bool, error) { return list[1], true, nil })
	require.NoError(t, err)
	assert.Equal(t, some[1], c)
}

// Processes that start together agree, for one measures and the others wait.
func TestProcessesAgreeOnAlgorithms(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	chosen := make([]choice, 8)
	for i := range chosen {
		wg.Go(func() {
			c, err := openAlgorithms(dir, "card", quiet()).choose("data 1x1", some, func([]choice) (choice, bool, error) {
				return some[i%3], true, nil // each would find another
			})
			assert.NoError(t, err)
			chosen[i] = c
		})
	}
	wg.Wait()
	for _, c := range chosen {
		assert.Equal(t, chosen[0], c)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestWithoutACacheTheFirstAlgorithmIsTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	c, err := openAlgorithms(file, "card", quiet()).choose("forward", some, never(t))
	require.NoError(t, err)
	assert.Equal(t, some[0], c)
}

func TestABrokenCacheIsNamed(t *testing.T) {
	a := openAlgorithms(t.TempDir(), "card", quiet())
	for _, text := range []string{"{", `{"key": "another"}`} {
		require.NoError(t, os.WriteFile(a.path, []byte(text), 0o600))
		_, err := a.choose("forward", some, never(t))
		assert.ErrorContains(t, err, a.path+" does not hold the convolution algorithms of card: remove it")
	}
}
