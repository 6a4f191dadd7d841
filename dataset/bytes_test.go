package dataset

import (
	"testing"

	"github.com/stretchr/testify/require"

	random "github.com/metrixml/metrix/internal/draw"
)

// Bytes that are mirrored and normalised later have the bits of floats that were made at once.
func TestTrainInTwoParts(t *testing.T) {
	tr := DefaultTransform()
	tr.Size = 17
	mirrored := map[bool]int{}
	for seed := range uint64(20) {
		src := pixelsOf(formula(40+int(seed), 33))
		want, got, bytes := make([]float32, 3*17*17), make([]float32, 3*17*17), make([]byte, 3*17*17)
		one, two := random.Of(seed, random.Test), random.Of(seed, random.Test)
		tr.train(want, src, one)
		flip := tr.trainBytes(bytes, src, two)
		tr.Floats(got, bytes, flip)
		require.Equal(t, want, got)
		require.Equal(t, one.Float64(), two.Float64(), "both have drawn the same")
		mirrored[flip]++
	}
	require.Len(t, mirrored, 2, "some are mirrored, some not")
}

func TestColoursTakeFloats(t *testing.T) {
	tr := DefaultTransform()
	require.True(t, tr.TakesBytes())
	tr.Color = 0.1
	require.False(t, tr.TakesBytes())
}

// Bytes come from files and packs alike.
func TestBytesOfFilesAndPacks(t *testing.T) {
	set := photos(t)
	packed, _ := packOf(t, set, Delivery{})
	tr := DefaultTransform()
	tr.Size = 24
	want, got, bytes := make([]float32, 3*24*24), make([]float32, 3*24*24), make([]byte, 3*24*24)
	for _, split := range []*Split{set.Train, packed.Train} {
		c := split.Cache(0, Limits{})
		for i := range split.Images {
			require.NoError(t, c.Train(want, i, &tr, random.Of(1, random.Augment, uint64(i))))
			mirrored, err := c.TrainBytes(bytes, i, &tr, random.Of(1, random.Augment, uint64(i)))
			require.NoError(t, err)
			tr.Floats(got, bytes, mirrored)
			require.Equal(t, want, got)
		}
		_, err := c.TrainBytes(bytes, len(split.Images), &tr, random.Of(1, random.Augment))
		require.Error(t, err)
	}
}
