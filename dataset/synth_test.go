package dataset

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/draw"
)

// TestSynthIsHard measures how well the nearest neighbour by raw pixels and by colours finds the
// class: both must be far below what a trained network reaches.
func TestSynthIsHard(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Synth(dir, SynthConfig{Classes: 2, TestClasses: 100, Images: 8, Side: 64, Seed: 1}, nil))
	set, err := Open(dir, LayoutSOP)
	require.NoError(t, err)
	var pixels, colours [][]float64
	for i := range set.Test.Images {
		img, err := set.Test.Decode(i, Limits{})
		require.NoError(t, err)
		pixels = append(pixels, thumbnail(img, 16))
		colours = append(colours, histogram3(img))
	}
	labels := set.Test.Labels()
	p, c := recallAt1(pixels, labels), recallAt1(colours, labels)
	t.Logf("%d images of %d classes: Recall@1 by 16x16 pixels %.3f, by colour histogram %.3f",
		len(labels), len(set.Test.Classes), p, c)
	require.Less(t, p, 0.15)
	require.Less(t, c, 0.15)
}

// thumbnail returns n x n pixels less their mean, scaled to unit length.
func thumbnail(img *image.RGBA, n int) []float64 {
	small := image.NewRGBA(image.Rect(0, 0, n, n))
	draw.BiLinear.Scale(small, small.Rect, img, img.Rect, draw.Src, nil)
	var out []float64
	for i, v := range small.Pix {
		if i%4 != 3 {
			out = append(out, float64(v))
		}
	}
	return out
}

// histogram3 returns the counts of 4 x 4 x 4 colours.
func histogram3(img *image.RGBA) []float64 {
	out := make([]float64, 64)
	for i := 0; i < len(img.Pix); i += 4 {
		out[img.Pix[i]>>6<<4|img.Pix[i+1]>>6<<2|img.Pix[i+2]>>6]++
	}
	return out
}

// recallAt1 is the share of rows whose nearest other row, by squared distance, has their label.
func recallAt1(rows [][]float64, labels []int32) float64 {
	hits := 0
	for i, a := range rows {
		best, at := 1e300, -1
		for j, b := range rows {
			if i == j {
				continue
			}
			d := 0.0
			for k := range a {
				d += (a[k] - b[k]) * (a[k] - b[k])
			}
			if d < best {
				best, at = d, j
			}
		}
		if labels[at] == labels[i] {
			hits++
		}
	}
	return float64(hits) / float64(len(rows))
}
