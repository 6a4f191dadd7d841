package dataset

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
	"time"

	random "github.com/metrixml/metrix/internal/draw"
)

// picture is a smooth colourful image with some texture, like a photograph to a codec.
func picture(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	r := random.Of(1, random.Test)
	for y := range h {
		for x := range w {
			p := img.Pix[img.PixOffset(x, y):]
			p[0] = uint8(255 * x / w)
			p[1] = uint8(255 * y / h)
			p[2] = uint8(128 + 100*(x*7/w%2) + r.IntN(20))
			p[3] = 255
		}
	}
	return img
}

// perCore reports images a second of processor time, which another program on the machine disturbs
// less than the wall clock, and which is the rate of one core whatever -cpu says.
func perCore(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(b.N)/(processorTime()-start).Seconds(), "img/s/core")
}

func BenchmarkDecode(b *testing.B) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, picture(64, 64), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBytes(buf.Bytes(), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct {
		name         string
		source, size int
	}{{"64to48", 64, 48}, {"500to224", 500, 224}} {
		b.Run(c.name, func(b *testing.B) {
			t := DefaultTransform()
			t.Size, t.Color, t.Scale = c.size, 0.2, [2]float64{0.3, 1}
			img := picture(c.source, c.source)
			dst := make([]float32, 3*t.Size*t.Size)
			b.ReportAllocs()
			start := processorTime()
			defer func() { perCore(b, start) }()
			for i := uint64(0); b.Loop(); i++ {
				t.Train(dst, img, random.Of(1, random.Augment, i))
			}
		})
	}
}

func BenchmarkEval(b *testing.B) {
	t := DefaultTransform()
	t.Size, t.Resize = 48, 56
	img := picture(64, 64)
	dst := make([]float32, 3*t.Size*t.Size)
	b.ReportAllocs()
	for b.Loop() {
		t.Eval(dst, img)
	}
}
