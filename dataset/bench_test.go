package dataset

import (
	"bytes"
	"image"
	"image/jpeg"
	"path/filepath"
	"sync/atomic"
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
		color        float64
	}{{"64to48", 64, 48, 0}, {"64to48-coloured", 64, 48, 0.2}, {"500to224", 500, 224, 0}, {"500to224-coloured", 500, 224, 0.2}} {
		b.Run(c.name, func(b *testing.B) {
			t := DefaultTransform()
			t.Size, t.Color, t.Scale = c.size, c.color, [2]float64{0.3, 1}
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

// BenchmarkLoad measures all that a loader does for one training view: read, decode, resize to the
// stored side, crop, flip, normalise. -cpu sets the number of goroutines that load. img/s is
// what they load together by the clock, img/s/core goes by processor time.
func BenchmarkLoad(b *testing.B) {
	for _, source := range []struct {
		name              string
		side, store, size int
	}{{"icon64", 64, 0, 56}, {"photo500", 500, 256, 224}} {
		dir := filepath.Join(b.TempDir(), source.name)
		if err := Synth(dir, SynthConfig{Classes: 2, Images: 4, Side: source.side, Seed: 1}, nil); err != nil {
			b.Fatal(err)
		}
		set, err := Open(dir, LayoutAuto)
		if err != nil {
			b.Fatal(err)
		}
		tr := DefaultTransform()
		tr.Size, tr.Resize = source.size, source.size*8/7
		for _, decoder := range []string{DecoderGo, DecoderTurbo} {
			files, err := set.With(Delivery{Store: source.store, Decoder: decoder})
			if err != nil {
				b.Logf("without decoder %s: %v", decoder, err)
				continue
			}
			b.Run(source.name+"/files-"+decoder, func(b *testing.B) { benchmarkLoad(b, files.Train, &tr) })
		}
		packed, _ := packOf(b, set, Delivery{Store: source.store})
		b.Run(source.name+"/pack", func(b *testing.B) { benchmarkLoad(b, packed.Train, &tr) })
	}
}

func benchmarkLoad(b *testing.B, s *Split, t *Transform) {
	cache := s.Cache(0, Limits{})
	var next atomic.Int64
	b.ReportAllocs()
	start := processorTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]float32, 3*t.Size*t.Size)
		for pb.Next() {
			i := next.Add(1)
			r := random.Of(1, random.Augment, uint64(i))
			if err := cache.Train(dst, int(i)%len(s.Images), t, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
	perCore(b, start)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "img/s")
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
