package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func needTurbo(t testing.TB) *turbo {
	t.Helper()
	if !HasTurbo() {
		t.Skip("libturbojpeg is not installed; install libturbojpeg0 to run this")
	}
	tb, err := openTurbo()
	require.NoError(t, err)
	return tb
}

// jpegFile is one of the files in testdata/jpeg: 29x21 pixels of formula, saved by Pillow 9.4 with
// quality 88.
func jpegFile(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", "jpeg", name+".jpg"))
	require.NoError(t, err)
	return b
}

// TestTurboDecodesLikePillow compares with the beginnings of the SHA-256 of the RGB bytes that
// Pillow 9.4 with libjpeg-turbo 2.1.5 decodes.
func TestTurboDecodesLikePillow(t *testing.T) {
	tb := needTurbo(t)
	for name, want := range map[string]string{
		"420": "325ad7e35df369fd", "422": "607adf9c83dba82e", "444": "6faee7e84f0aa3cf",
		"progressive": "325ad7e35df369fd", "gray": "9be3ce327e27778f",
	} {
		data := jpegFile(t, name)
		require.NotNil(t, tb.tryDecode(data, DefaultLimits()), name)
		img, err := tb.decode(data, Limits{})
		require.NoError(t, err)
		require.True(t, img.Opaque())
		sum := sha256.Sum256(packedPixels(img))
		require.Equal(t, want, hex.EncodeToString(sum[:8]), name)
	}
}

// TestDecodersDiffer records why a recipe must name its decoder: even without chroma the rounding of
// the DCT differs, so that no flag of the library gives Go's pixels.
func TestDecodersDiffer(t *testing.T) {
	tb := needTurbo(t)
	for name, largest := range map[string]int{"gray": 1, "444": 3, "420": 80} {
		data := jpegFile(t, name)
		fast, err := tb.decode(data, Limits{})
		require.NoError(t, err)
		slow, err := DecodeBytes(data, Limits{})
		require.NoError(t, err)
		require.NotEqual(t, slow.Pix, fast.Pix, name)
		require.InDeltaSlice(t, slow.Pix, fast.Pix, float64(largest), name)
	}
}

// TestTurboLeavesTheRestToGo: what is not a sound gray or YCbCr JPEG gives Go's pixels and errors.
func TestTurboLeavesTheRestToGo(t *testing.T) {
	tb := needTurbo(t)
	whole := jpegFile(t, "420")
	for name, data := range map[string][]byte{
		"CMYK": jpegFile(t, "cmyk"), "PNG": pngBytes(t, picture(9, 7)), "text": []byte("text"), "nothing": nil,
		"cut": whole[:len(whole)-200], "a start": []byte("\xff\xd8\xff"), "a bomb": pngHeader(60_000, 60_000),
	} {
		want, wantErr := DecodeBytes(data, Limits{})
		got, err := tb.decode(data, Limits{})
		require.Equal(t, wantErr, err, name)
		require.Equal(t, want, got, name)
	}
	_, err := tb.decode(whole, Limits{MaxPixels: 100})
	require.ErrorContains(t, err, "it is 29x21, more than the limit of 100 pixels")
	_, err = tb.decode(whole, Limits{MaxBytes: 100})
	require.ErrorContains(t, err, "more than the limit of 100")
	img, err := tb.decode(whole, Limits{}) // a handle that has failed serves again
	require.NoError(t, err)
	require.Equal(t, 29, img.Rect.Dx())
}

func TestTurboFromManyGoroutines(t *testing.T) {
	tb := needTurbo(t)
	data := jpegFile(t, "420")
	want, err := tb.decode(data, Limits{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for range 20 {
				img, err := tb.decode(data, Limits{})
				if err != nil || string(img.Pix) != string(want.Pix) {
					t.Errorf("other pixels, error %v", err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(tb.idle), cap(tb.idle))
}

func FuzzTurbo(f *testing.F) {
	for _, name := range []string{"420", "422", "444", "progressive", "gray", "cmyk"} {
		f.Add(jpegFile(f, name))
	}
	tb := needTurbo(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{MaxBytes: 1 << 16, MaxPixels: 1 << 14}
		if img, err := tb.decode(data, limits); err == nil {
			require.LessOrEqual(t, img.Rect.Dx()*img.Rect.Dy(), limits.MaxPixels)
		}
	})
}
