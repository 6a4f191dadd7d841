package dataset

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func pngBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func jpegBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}))
	return b.Bytes()
}

// pngHeader is a PNG that claims w x h pixels and holds none.
func pngHeader(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 8, 2, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

func TestDecodeKinds(t *testing.T) {
	r := image.Rect(3, 5, 7, 8) // bounds that do not start at (0, 0)
	set := func(img interface {
		image.Image
		Set(x, y int, c color.Color)
	}, c color.Color) image.Image {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				img.Set(x, y, c)
			}
		}
		return img
	}
	orange := color.NRGBA{200, 100, 40, 255}
	for name, c := range map[string]struct {
		img  image.Image
		want color.RGBA
	}{
		"RGB":         {set(image.NewRGBA(r), orange), color.RGBA{200, 100, 40, 255}},
		"gray":        {set(image.NewGray(r), color.Gray{90}), color.RGBA{90, 90, 90, 255}},
		"gray 16-bit": {set(image.NewGray16(r), color.Gray16{0x5a12}), color.RGBA{90, 90, 90, 255}},
		"RGB 16-bit":  {set(image.NewRGBA64(r), color.RGBA64{0xc812, 0x64ff, 0x2800, 0xffff}), color.RGBA{200, 100, 40, 255}},
		"paletted":    {set(image.NewPaletted(r, color.Palette{color.Black, orange}), orange), color.RGBA{200, 100, 40, 255}},
		"half clear":  {set(image.NewNRGBA(r), color.NRGBA{200, 100, 40, 128}), color.RGBA{227, 177, 147, 255}},
		"clear":       {set(image.NewNRGBA(r), color.NRGBA{200, 100, 40, 0}), color.RGBA{255, 255, 255, 255}},
		"clear 16":    {set(image.NewNRGBA64(r), color.NRGBA64{0xc812, 0, 0, 0}), color.RGBA{255, 255, 255, 255}},
	} {
		got, err := DecodeBytes(pngBytes(t, c.img), Limits{})
		require.NoError(t, err, name)
		require.Equal(t, image.Rect(0, 0, 4, 3), got.Rect, name)
		require.Equal(t, 4*4, got.Stride, name)
		for i := 0; i < len(got.Pix); i += 4 {
			require.InDeltaSlice(t, []uint8{c.want.R, c.want.G, c.want.B, 255}, got.Pix[i:i+4], 1, name)
		}
	}
	for name, img := range map[string]image.Image{
		"JPEG":      set(image.NewRGBA(r), color.Gray{90}),
		"gray JPEG": set(image.NewGray(r), color.Gray{90}),
	} {
		got, err := DecodeBytes(jpegBytes(t, img), Limits{})
		require.NoError(t, err, name)
		require.InDeltaSlice(t, []uint8{90, 90, 90, 255}, got.Pix[:4], 2, name)
	}
}

// image/jpeg writes no CMYK, so this checks the step after its decoder.
func TestCMYKBecomesRGB(t *testing.T) {
	img := image.NewCMYK(image.Rect(0, 0, 2, 2))
	for i := range 4 {
		copy(img.Pix[4*i:], []uint8{0, 255, 255, 0}) // red
	}
	require.Equal(t, []uint8{255, 0, 0, 255}, toRGBA(img).Pix[:4])
}

func TestDecodeRefuses(t *testing.T) {
	small := pngBytes(t, picture(20, 10))
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		want   string
	}{
		"a bomb":     {pngHeader(60_000, 60_000), Limits{}, "it is 60000x60000, more than the limit of 25000000 pixels"},
		"overflow":   {pngHeader(0x7fffffff, 0x7fffffff), Limits{}, ""},
		"no pixels":  {pngHeader(0, 10), Limits{}, ""},
		"pixels":     {small, Limits{MaxPixels: 199}, "it is 20x10, more than the limit of 199 pixels"},
		"bytes":      {small, Limits{MaxBytes: 100}, "more than the limit of 100"},
		"text":       {[]byte("hello"), Limits{}, "it is neither JPEG nor PNG; convert it"},
		"GIF":        {[]byte("GIF89a......"), Limits{}, "it is neither JPEG nor PNG"},
		"nothing":    {nil, Limits{}, "it is neither JPEG nor PNG"},
		"cut PNG":    {small[:len(small)/2], Limits{}, ""},
		"cut JPEG":   {jpegBytes(t, picture(20, 10))[:300], Limits{}, ""},
		"empty JPEG": {[]byte("\xff\xd8\xff"), Limits{}, ""},
	} {
		_, err := DecodeBytes(c.data, c.limits)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := DecodeBytes(small, Limits{MaxPixels: 200})
	require.NoError(t, err)
}

func TestBombCostsNothing(t *testing.T) {
	bomb := pngHeader(60_000, 60_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_, err := DecodeBytes(bomb, Limits{})
		require.Error(t, err)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100*64<<10))
}

func TestDecodeNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	sopSet(t, dir)
	write(t, dir, "a/1.JPG", string(pngBytes(t, picture(8, 8)))) // a PNG, whatever its name says
	write(t, dir, "a/2.JPG", "text")
	set, err := Open(dir, LayoutSOP)
	require.NoError(t, err)
	img, err := set.Train.Decode(0, Limits{})
	require.NoError(t, err)
	require.Equal(t, picture(8, 8).Pix, img.Pix)
	_, err = set.Train.Decode(1, Limits{})
	require.ErrorContains(t, err, "a/2.JPG: it is neither JPEG nor PNG")
	_, err = set.Train.Decode(2, Limits{})
	require.ErrorContains(t, err, "b/3.JPG")
	_, err = set.Train.Decode(0, Limits{MaxBytes: 10})
	require.ErrorContains(t, err, "more than the limit of 10")
	_, err = set.Train.Decode(3, Limits{})
	require.ErrorContains(t, err, "decode image 3: the split has images 0 to 2")
	write(t, dir, "b/3.JPG/x", "")
	_, err = set.Train.Decode(2, Limits{})
	require.ErrorContains(t, err, "it is not a regular file")
}

func FuzzDecode(f *testing.F) {
	limits := Limits{MaxBytes: 1 << 16, MaxPixels: 1 << 14}
	f.Add(pngBytes(f, picture(9, 7)))
	f.Add(jpegBytes(f, picture(9, 7)))
	f.Add(pngHeader(1<<20, 1<<20))
	f.Add([]byte("\xff\xd8\xff\xe0"))
	gray := image.NewGray(image.Rect(0, 0, 5, 5))
	f.Add(jpegBytes(f, gray))
	f.Add(pngBytes(f, image.NewNRGBA64(image.Rect(0, 0, 3, 3))))
	f.Add(pngBytes(f, image.NewPaletted(image.Rect(0, 0, 3, 3), color.Palette{color.Black, color.Transparent})))
	t := DefaultTransform()
	t.Size, t.Resize = 4, 5
	dst := make([]float32, 3*16)
	f.Fuzz(func(tt *testing.T, data []byte) {
		img, err := DecodeBytes(data, limits)
		if err != nil {
			return
		}
		require.LessOrEqual(tt, img.Rect.Dx()*img.Rect.Dy(), limits.MaxPixels)
		t.Eval(dst, img) // any shape of image can be used
	})
}
