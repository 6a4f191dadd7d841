package product

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	random "github.com/metrixml/metrix/internal/draw"
)

func TestPlaneUndoesItsProjection(t *testing.T) {
	cam := newCamera(0.7, -0.4, 0.3, 50, 64, 60)
	for _, z := range []float64{-0.4, 0, 0.5} {
		pl := cam.plane(z)
		for _, q := range []point{{0, 0}, {1, -1}, {-0.3, 0.8}} {
			v := pl.project(q)
			back := pl.unproject(v.x, v.y)
			require.InDelta(t, q.x, back.x, 1e-9)
			require.InDelta(t, q.y, back.y, 1e-9)
		}
	}
}

func TestPerspective(t *testing.T) {
	straight := newCamera(0, 0, 0, 10, 0, 0)
	near, far := straight.plane(1).project(point{1, 0}), straight.plane(-1).project(point{1, 0})
	require.Greater(t, near.x, far.x, "what is near is large")
	turned := newCamera(0.7, 0, 0, 10, 0, 0)
	require.Less(t, turned.plane(0).project(point{1, 0}).x, 10.0, "a turned plane is foreshortened")
}

func TestHueKeepsValue(t *testing.T) {
	red := ink{0, 1, 0.8}
	require.InDeltaSlice(t, []float32{0.8, 0, 0}, slice(red.rgb(0, 1)), 1e-6)
	require.InDeltaSlice(t, []float32{0, 0.8, 0}, slice(red.rgb(1.0/3, 1)), 1e-6)
	require.InDeltaSlice(t, []float32{0.8, 0.8, 0}, slice(red.rgb(1.0/6, 1)), 1e-6)
	require.InDeltaSlice(t, []float32{0.8, 0.8, 0.8}, slice(red.rgb(0.4, 0)), 1e-6)
}

func slice(c rgb) []float32 { return c[:] }

// Every kind, many designs: the product lies inside the picture and fills a good part of it.
func TestProductsFitThePicture(t *testing.T) {
	names := Kinds()
	require.Len(t, names, 12)
	for i := range uint64(120) {
		kind := int(i) % len(names)
		p := New(kind, random.Of(3, random.Synth, i))
		require.False(t, math.IsInf(p.left, 0) || math.IsNaN(p.left), names[kind])
		s := &scene{canvas: newCanvas(32), r: random.Of(3, random.Synth, i, 0), unit: 64}
		cam := s.frame(p)
		for _, part := range p.parts {
			require.Less(t, part.skin.base, len(p.inks))
			for _, q := range s.project(part.shape, cam.plane(part.z)) {
				for _, v := range q {
					require.InDelta(t, 32, v.x, 32.1, names[kind])
					require.InDelta(t, 32, v.y, 32.1, names[kind])
				}
			}
		}
	}
}

func TestPatternsAreBinaryAndVary(t *testing.T) {
	for i, p := range patterns() {
		sum := 0.0
		r := random.Of(1, random.Test, uint64(i))
		for range 2000 {
			v := p(r.Range(-3, 3), r.Range(-3, 3))
			require.True(t, v == 0 || v == 1)
			sum += v
		}
		require.InDelta(t, 0.5, sum/2000, 0.42, "pattern %d is nearly plain", i)
	}
}

// TestGolden holds the drawing to recorded means of the four quarters of a picture; the tolerance
// is for architectures that round otherwise.
func TestGolden(t *testing.T) {
	got := [][]float64{}
	for _, kind := range []int{4, 9} {
		p := New(kind, random.Of(1, random.Synth, uint64(kind)))
		img := p.Photograph(32, random.Of(1, random.Synth, uint64(kind), 1))
		again := p.Photograph(32, random.Of(1, random.Synth, uint64(kind), 1))
		require.Equal(t, img.Pix, again.Pix)
		means := make([]float64, 12)
		for y := range 32 {
			for x := range 32 {
				for c := range 3 {
					means[(y/16*2+x/16)*3+c] += float64(img.Pix[img.PixOffset(x, y)+c]) / 256
				}
			}
		}
		got = append(got, means)
	}
	for i, want := range golden {
		require.InDeltaSlice(t, want, got[i], 1.5, "got %.1f", got)
	}
}

var golden = [][]float64{
	{171.3, 157.8, 185.4, 223.7, 208.5, 216.3, 193.1, 200.9, 204.7, 202.0, 194.6, 205.8},
	{78.2, 82.8, 85.1, 64.9, 63.1, 71.2, 101.9, 83.6, 77.5, 88.6, 75.0, 85.4},
}
