package dataset

import (
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	random "github.com/metrixml/metrix/internal/draw"
)

// plain is a transform that only resamples, to 0..255.
func plain(size, resize int) Transform {
	return Transform{Size: size, Resize: resize, Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1},
		Std: [3]float32{1.0 / 255, 1.0 / 255, 1.0 / 255}}
}

// formula is an image that other programs can make too: R = 37x + 11y, G = 5x + 6y, B = xx + 3y.
func formula(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			copy(img.Pix[img.PixOffset(x, y):], []uint8{uint8(37*x + 11*y), uint8(5*x + 6*y), uint8(x*x + 3*y), 255})
		}
	}
	return img
}

// TestEvalAgreesWithPillow compares with Resize(10) and CenterCrop(8) of torchvision's definition,
// recorded from Pillow 9.4 with its BILINEAR filter.
func TestEvalAgreesWithPillow(t *testing.T) {
	red := []float32{143, 111, 145, 110, 136, 129, 119, 147, 148, 113, 139, 130, 111, 146, 107, 145,
		131, 130, 111, 146, 109, 149, 121, 129, 115, 147, 107, 147, 120, 124, 140, 112,
		107, 142, 123, 128, 143, 111, 145, 110, 125, 127, 141, 106, 148, 113, 139, 130,
		144, 110, 151, 116, 131, 130, 111, 146, 146, 114, 129, 134, 115, 147, 107, 147}
	row3 := [][]float32{{115, 147, 107, 147, 120, 124, 140, 112}, {153, 173, 193, 213, 225, 147, 42, 37},
		{146, 159, 113, 134, 122, 132, 142, 135}}
	tr := plain(8, 10)
	dst := make([]float32, 3*8*8)
	tr.Eval(dst, formula(52, 40))
	require.InDeltaSlice(t, red, dst[:64], 1)
	for c, want := range row3 {
		require.InDeltaSlice(t, want, dst[c*64+24:c*64+32], 1)
	}
}

// TestTrainAgreesWithPillow shrinks a whole image and enlarges another with the training path.
func TestTrainAgreesWithPillow(t *testing.T) {
	shrunk := []float32{120, 129, 127, 125, 131, 125, 128, 123, 134, 128, 129, 124, 126, 127, 128, 138,
		102, 136, 173, 207, 129, 163, 200, 205, 159, 193, 204, 88, 186, 214, 119, 39,
		114, 137, 132, 133, 125, 126, 118, 133, 136, 130, 129, 134, 145, 122, 130, 120}
	tr := plain(4, 0)
	tr.Ratio = [2]float64{1.5, 1.5}
	dst := make([]float32, 3*16)
	sub := formula(52, 40).SubImage(image.Rect(5, 7, 35, 27)).(*image.RGBA)
	tr.Train(dst, sub, random.Of(1, random.Test))
	require.InDeltaSlice(t, shrunk, dst, 1)

	enlarged := []float32{67, 69, 72, 75, 79, 82, 85, 87, 67, 69, 72, 75, 79, 82, 85, 87,
		70, 72, 75, 78, 82, 85, 88, 90, 72, 74, 77, 80, 84, 87, 90, 92}
	tr = plain(8, 0)
	tr.Ratio = [2]float64{5.0 / 3, 5.0 / 3}
	dst = make([]float32, 3*64)
	tr.Train(dst, formula(52, 40).SubImage(image.Rect(5, 7, 10, 10)).(*image.RGBA), random.Of(1, random.Test))
	require.InDeltaSlice(t, enlarged, dst[64:96], 1)
}

func TestCropFollowsItsRanges(t *testing.T) {
	tr := DefaultTransform()
	const w, h, n = 400, 300, 4000
	var share, logRatio, x, y float64
	for i := range uint64(n) {
		c := tr.crop(w, h, random.Of(2, random.Augment, i))
		require.True(t, c.In(image.Rect(0, 0, w, h)), "%v", c)
		a := float64(c.Dx()*c.Dy()) / (w * h)
		r := float64(c.Dx()) / float64(c.Dy())
		require.InDelta(t, 0.54, a, 0.47) // 0.08 .. 1 and rounding
		require.Greater(t, r, 0.75*0.97)
		require.Less(t, r, 4.0/3*1.03)
		share += a / n
		logRatio += math.Log(r) / n
		if free := w - c.Dx(); free > 0 {
			x += (float64(c.Min.X)/float64(free) - 0.5) / n
		}
		if free := h - c.Dy(); free > 0 {
			y += (float64(c.Min.Y)/float64(free) - 0.5) / n
		}
	}
	// The means of torchvision's rule for 400x300, from 200 000 draws of a plain simulation: large
	// crops of odd shape do not fit, which favours small and wide ones.
	require.InDelta(t, 0.433, share, 0.012)
	require.InDelta(t, 0.031, logRatio, 0.01)
	require.InDelta(t, 0, x, 0.02)
	require.InDelta(t, 0, y, 0.02)
}

// The fall-back of RandomResizedCrop: the largest centred crop of an allowed shape.
func TestCropFallsBack(t *testing.T) {
	tr := plain(8, 0)
	tr.Ratio = [2]float64{3.0 / 4, 4.0 / 3}
	for _, c := range []struct {
		w, h int
		want image.Rectangle
	}{
		{300, 30, image.Rect(130, 0, 170, 30)},
		{30, 300, image.Rect(0, 130, 30, 170)},
		{1, 1000, image.Rect(0, 499, 1, 500)},
	} {
		require.Equal(t, c.want, tr.crop(c.w, c.h, random.Of(1, random.Test)))
	}
}

func TestFlipMirrors(t *testing.T) {
	tr := plain(6, 0)
	img := formula(6, 6)
	straight, mirrored := make([]float32, 108), make([]float32, 108)
	tr.Train(straight, img, random.Of(1, random.Test))
	tr.Flip = 1
	tr.Train(mirrored, img, random.Of(1, random.Test))
	for i := range straight {
		require.Equal(t, straight[i], mirrored[i/6*6+5-i%6])
	}
	tr.Flip = 0.5
	flips := 0
	for i := range uint64(400) {
		tr.Train(mirrored, img, random.Of(1, random.Test, i))
		if mirrored[0] != straight[0] {
			flips++
		}
	}
	require.InDelta(t, 200, flips, 40)
}

func TestJitter(t *testing.T) {
	tr := plain(2, 0)
	tr.Color, tr.Std = 0.4, [3]float32{1, 1, 1}
	start := []float32{0.2, 0.4, 0.6, 0.3, 0.5, 0.1, 0.3, 0.6, 0.4, 0.2, 0.9, 0.5}
	got := append([]float32(nil), start...)
	c := tr.tint(random.Of(4, random.Test))
	for i, v := range got {
		got[i] = clamp(v * c.brightness) // as levels does
	}
	tr.recolour(got, c)
	r := random.Of(4, random.Test)
	b, k, s := r.Range(0.6, 1.4), r.Range(0.6, 1.4), r.Range(0.6, 1.4)
	gray := func(p []float64) float64 { return 0.299*p[0] + 0.587*p[1] + 0.114*p[2] }
	limit := func(v float64) float64 { return min(max(v, 0), 1) }
	var pixels [4][]float64
	mean := 0.0
	for i := range pixels {
		for k := range 3 {
			pixels[i] = append(pixels[i], limit(float64(start[4*k+i])*b))
		}
		mean += gray(pixels[i]) / 4
	}
	for i, p := range pixels {
		for j := range p {
			p[j] = limit(p[j]*k + mean*(1-k))
		}
		g := gray(p)
		for k := range p {
			require.InDelta(t, limit(p[k]*s+g*(1-s)), got[4*k+i], 1e-6)
		}
	}
}

// TestGolden holds the whole of Train to recorded values: a change here changes every run.
func TestGolden(t *testing.T) {
	tr := DefaultTransform()
	tr.Size, tr.Resize, tr.Color = 3, 4, 0.2
	img := picture(40, 30)
	dst := make([]float32, 27)
	tr.Train(dst, img, random.Of(7, random.Augment, 3, 70, 1))
	require.Equal(t, goldenTrain, dst, "bit for bit: all sums are of whole numbers or rounded one by one")
	again := make([]float32, 27)
	tr.Train(again, img, random.Of(7, random.Augment, 3, 70, 1))
	require.Equal(t, dst, again)
	tr.Train(again, img, random.Of(7, random.Augment, 3, 70, 2))
	require.NotEqual(t, dst, again)
	require.Equal(t, picture(40, 30).Pix, img.Pix, "the source is not written to")
}

func TestAnyShapeOfImage(t *testing.T) {
	tr := DefaultTransform()
	tr.Size, tr.Resize = 8, 10
	dst := make([]float32, 3*64)
	for _, s := range []image.Point{{1, 1}, {1, 3}, {2, 1}, {1, 200_000}, {200_000, 1}, {9, 500}} {
		img := image.NewRGBA(image.Rect(0, 0, s.X, s.Y))
		for i := range img.Pix {
			img.Pix[i] = 255
		}
		white := (1 - tr.Mean[0]) / tr.Std[0]
		tr.Eval(dst, img)
		require.InDelta(t, white, dst[0], 1e-5)
		require.InDelta(t, white, dst[63], 1e-5)
		tr.Train(dst, img, random.Of(1, random.Test))
		require.InDelta(t, white, dst[63], 1e-5)
	}
}

func TestValidate(t *testing.T) {
	ok := DefaultTransform()
	require.NoError(t, ok.Validate())
	for want, change := range map[string]func(*Transform){
		"size is 0":     func(t *Transform) { t.Size = 0 },
		"resize is 100": func(t *Transform) { t.Resize = 100 },
		"scale is":      func(t *Transform) { t.Scale = [2]float64{0.5, 0.4} },
		"low <= high <": func(t *Transform) { t.Scale = [2]float64{0.5, 1.1} },
		"ratio is":      func(t *Transform) { t.Ratio = [2]float64{0, 1} },
		"flip is 2":     func(t *Transform) { t.Flip = 2 },
		"flip is NaN":   func(t *Transform) { t.Flip = math.NaN() },
		"color is -1":   func(t *Transform) { t.Color = -1 },
		"std above 0":   func(t *Transform) { t.Std[1] = 0 },
	} {
		bad := DefaultTransform()
		change(&bad)
		require.ErrorContains(t, bad.Validate(), want)
	}
}

var goldenTrain = []float32{
	-0.20365228, 0.52455914, 1.276454, -0.13572277, 0.59248865, 1.3441681, -0.06800877,
	0.6602026, 1.411882, -1.3857334, -1.365144, -1.3404499, -0.08971882, -0.06912927,
	-0.044655718, 1.2060753, 1.2266649, 1.2511386, 1.5451208, 1.5456005, 1.8704594,
	1.6342764, 1.6347558, 1.9393772, 1.7031939, 1.7036737, 2.008295,
}
