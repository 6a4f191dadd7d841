package dataset

import (
	"fmt"
	"image"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pngSplit is a split of n images of 8 x 8 pixels, 256 bytes each.
func pngSplit(t *testing.T, n int) *Split {
	dir := t.TempDir()
	s := &Split{Root: dir, Classes: []string{"0"}}
	for i := range n {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		img.Pix[0] = uint8(i)
		name := fmt.Sprintf("%d.png", i)
		write(t, dir, name, string(pngBytes(t, img)))
		s.Images = append(s.Images, Image{ID: int64(i), Path: name})
	}
	return s
}

func TestCacheKeepsWithinItsBudget(t *testing.T) {
	c := pngSplit(t, 5).Cache(3*256+10, Limits{})
	for range 2 {
		for i := range 5 {
			img, err := c.Image(i)
			require.NoError(t, err)
			require.Equal(t, uint8(i), img.Pix[0])
		}
	}
	require.Equal(t, CacheStats{Hits: 3, Misses: 7, Bytes: 3 * 256}, c.Stats())
	_, err := c.Image(5)
	require.ErrorContains(t, err, "the split has images 0 to 4")
	_, err = c.Image(-1)
	require.Error(t, err)

	none := pngSplit(t, 1).Cache(0, Limits{})
	_, err = none.Image(0)
	require.NoError(t, err)
	require.Equal(t, CacheStats{Misses: 1}, none.Stats())
}

func TestCacheManyReaders(t *testing.T) {
	const n, readers = 20, 8
	c := pngSplit(t, n).Cache(12*256, Limits{})
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for k := range 3 * n {
				i := (k + 3*r) % n
				img, err := c.Image(i)
				if err != nil || img.Pix[0] != uint8(i) {
					t.Errorf("image %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	s := c.Stats()
	require.Equal(t, int64(readers*3*n), s.Hits+s.Misses)
	require.LessOrEqual(t, s.Bytes, int64(12*256))
	require.Greater(t, s.Bytes, int64(4*256), "readers that collide may each give up a little space, not all")
}
