package worker

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// In memory and in a file, rows come back with their bits, in whatever order they were stored.
func TestRowsComeBackWithTheirBits(t *testing.T) {
	quiet := math.Float32frombits(0x7fc00001) // a NaN with something in it
	rows := []float32{1, 2, quiet, float32(math.Copysign(0, -1)), 5, 6, 7, 8}
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "made", "when needed")} {
		s := &rowStore{dir: dir}
		for range 2 { // of a later step, in the place of the former
			s.reset(2, 4)
			require.NoError(t, s.put(1, rows[2:]))
			require.NoError(t, s.put(0, rows[:2]))
			require.NoError(t, s.put(9, nil), "no rows have room anywhere")
			got := make([]float32, len(rows))
			require.NoError(t, s.get(got, 0))
			require.Equal(t, floatBytes(rows), floatBytes(got))
			require.NoError(t, s.get(got[:2], 3))
			require.Equal(t, rows[6:], got[:2])
		}
		require.NoError(t, s.close())
	}
}

// Nothing is left of a process that is killed, for its files have no name from the beginning.
func TestFilesOfRowsHaveNoName(t *testing.T) {
	s := newStores(t.TempDir())
	s.own.reset(1, 1)
	require.NoError(t, s.own.put(0, []float32{1}))
	entries, err := os.ReadDir(s.own.dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, s.close())
}

func TestFileOfRowsThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s := &rowStore{dir: file}
	s.reset(1, 1)
	require.ErrorContains(t, s.put(0, []float32{1}), "making a file for rows that are mixed in "+file)
	require.ErrorContains(t, s.put(0, []float32{1}), "--scratch")
	require.NoError(t, s.close())
}

// With the gradient cache own images, maps and gradients are in files, and only there.
func TestGradientCacheKeepsMapsInFiles(t *testing.T) {
	scratch := t.TempDir()
	for _, cache := range []string{"on", "off"} {
		tr := newTestTrainer(t, t.TempDir(), "mix.level=feature", "batch.gradient_cache="+cache)
		if cache == "on" {
			require.Equal(t, tr.cfg.Out, tr.stores.own.dir)
			tr.stores = newStores(scratch)
		}
		g, b := alone(t, tr)
		require.NoError(t, tr.initialize())
		require.NoError(t, tr.trainStep(t.Context(), g, b))
		for _, s := range []*rowStore{&tr.stores.own, &tr.stores.mapGrads, &tr.stores.mixGrads} {
			require.Equal(t, tr.network.Features.Size(), s.width)
			if cache == "on" {
				require.Empty(t, s.data)
				size, err := s.file.Seek(0, 2)
				require.NoError(t, err)
				require.EqualValues(t, 4*s.width*tr.sampler.Rows()*max(1, tr.mix.Hardest), size)
			} else {
				require.Nil(t, s.file)
				require.Len(t, s.data, s.width*tr.sampler.Rows()*max(1, tr.mix.Hardest))
			}
		}
	}
}

// Rows travel a few at a time, and each arrives at its place.
func TestWindow(t *testing.T) {
	list := []int32{1, 2, 3, 4, 5}
	require.Equal(t, []int32{1, 2}, window(list, 0, 2))
	require.Equal(t, []int32{5}, window(list, 4, 2))
	require.Empty(t, window(list, 6, 2))
}
