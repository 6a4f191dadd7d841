package dataset

import (
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	random "github.com/metrixml/metrix/internal/draw"
)

// TestTapsAreSound: for any sizes, weights of a result sum to exactly one and lie inside the source,
// and results move forward.
func TestTapsAreSound(t *testing.T) {
	r := random.Of(1, random.Test)
	var x taps
	for n := range 600 {
		size, full := 1+r.IntN(700), 1+r.IntN(300)
		lo := r.IntN(full)
		hi := lo + 1 + r.IntN(full-lo)
		if n%10 == 0 { // a window beyond the border
			lo, hi = lo-5, hi+5
		}
		x.set(size, full, lo, hi)
		require.LessOrEqual(t, x.n, size)
		before := int32(0)
		for i, first := range x.first {
			sum := uint64(0)
			for _, w := range x.w[i*x.n : (i+1)*x.n] {
				sum += w
			}
			if sum != weightOne || first < before || int(first)+x.n > size {
				t.Fatalf("size %d to %d, result %d: weights %v from %d", size, full, lo+i, x.w[i*x.n:(i+1)*x.n], first)
			}
			before = first
		}
	}
}

// reference resizes the red samples of img by the formula of docs/data.md in float64.
func reference(img *image.RGBA, w, h int) []float64 {
	filter := func(n, size, full int, at func(j int) float64) float64 {
		scale := float64(size) / float64(full)
		centre, width := (float64(n)+0.5)*scale, max(scale, 1)
		sum, total := 0.0, 0.0
		for j := range size {
			k := max(0, 1-math.Abs(float64(j)+0.5-centre)/width)
			sum, total = sum+k*at(j), total+k
		}
		return math.Floor(sum/total + 0.5)
	}
	sw, sh := img.Rect.Dx(), img.Rect.Dy()
	out := make([]float64, 0, w*h)
	for y := range h {
		for x := range w {
			out = append(out, filter(y, sh, h, func(v int) float64 {
				return filter(x, sw, w, func(u int) float64 { return float64(img.RGBAAt(u, v).R) })
			}))
		}
	}
	return out
}

func TestResamplerFollowsItsFormula(t *testing.T) {
	worst := 0.0
	for _, c := range [][4]int{{50, 37, 22, 22}, {20, 21, 31, 22}, {90, 10, 7, 11}, {7, 5, 12, 10}, {13, 13, 13, 13}, {1, 1, 3, 3}} {
		img := formula(c[0], c[1])
		want := reference(img, c[2], c[3])
		var rs resampler
		full := image.Pt(c[2], c[3])
		rs.start(pixelsOf(img), img.Rect, full, image.Rectangle{Max: full})
		for y := range full.Y {
			for x, v := range rs.at(y) {
				d := math.Abs(float64(uint8(v)) - want[y*full.X+x])
				require.LessOrEqual(t, d, 1.0, "%v at %d, %d", c, x, y)
				worst = max(worst, d)
			}
		}
	}
	t.Logf("largest difference from float64: %v steps", worst)
}

// TestAWindowIsPartOfTheWhole: making a part gives the pixels of making everything.
func TestAWindowIsPartOfTheWhole(t *testing.T) {
	img := formula(60, 45)
	full := image.Pt(40, 30)
	var whole, part resampler
	var rows [][]uint64
	whole.start(pixelsOf(img), img.Rect, full, image.Rectangle{Max: full})
	for y := range full.Y {
		rows = append(rows, append([]uint64(nil), whole.at(y)...))
	}
	window := image.Rect(7, 9, 31, 25)
	part.start(pixelsOf(img), img.Rect, full, window)
	for y := range window.Dy() {
		require.Equal(t, rows[window.Min.Y+y][window.Min.X:window.Max.X], part.at(y))
	}
}

func TestTrainingViewsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools on purpose")
	}
	tr := DefaultTransform()
	tr.Size, tr.Color = 32, 0.1
	img := picture(90, 80)
	dst := make([]float32, 3*32*32)
	r := random.Of(1, random.Test)
	require.Less(t, testing.AllocsPerRun(200, func() { tr.Train(dst, img, r) }), 0.5)
}
