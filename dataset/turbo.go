package dataset

import (
	"fmt"
	"image"
	"runtime"
)

// Numbers of the interface of libturbojpeg that this package uses. They are the same in versions 2
// and 3 of libjpeg-turbo.
const (
	turboRGBA         = 7       // pixel format
	turboYCbCr        = 1       // colour spaces of files: YCbCr, gray
	turboGray         = 2       //
	turboAccurateDCT  = 1 << 12 // flags
	turboStopOnDamage = 1 << 13
	turboLimitScans   = 1 << 15

	turboFlags = turboAccurateDCT | turboStopOnDamage | turboLimitScans
)

// turbo decodes JPEG with libjpeg-turbo, found when the program runs. It is safe for concurrent use.
//
// Its pixels are those of Pillow, which torchvision loads images with: exact integer DCT, chroma
// interpolated ("fancy" upsampling). Go's decoder rounds its DCT otherwise and repeats chroma
// samples, so the two differ by a few steps in most pixels, and no flag of either removes that.
type turbo struct {
	init       func() uintptr
	destroy    func(handle uintptr) int32
	header     func(handle uintptr, data *byte, bytes uintptr, w, h, sampling, colours *int32) int32
	decompress func(handle uintptr, data *byte, bytes uintptr, dst *byte, w, pitch, h, format, flags int32) int32

	path string       // of the library
	idle chan uintptr // handles not in use; a handle serves one goroutine at a time
}

// openTurbo finds the library or says how to install it.
func openTurbo() (*turbo, error) {
	t := loadTurbo()
	if t == nil {
		return nil, fmt.Errorf("dataset: decoder %s needs libjpeg-turbo, which is not installed; install it (Debian and Ubuntu: "+
			"apt-get install libturbojpeg0, or libturbojpeg; macOS: brew install jpeg-turbo) or set data.decoder: %s, "+
			"which is another run: its pixels differ slightly", DecoderTurbo, DecoderGo)
	}
	t.idle = make(chan uintptr, 2*runtime.GOMAXPROCS(0))
	return t, nil
}

// HasTurbo reports whether this machine has what DecoderTurbo needs.
func HasTurbo() bool { return loadTurbo() != nil }

// decode is DecodeBytes with JPEG decoded by the library. What the library does not turn into RGB
// (CMYK), finds damaged, or is not JPEG, is left to Go's decoders: which of them decodes a file
// depends on the file alone.
func (t *turbo) decode(data []byte, l Limits) (*image.RGBA, error) {
	l = l.orDefault()
	if sniff(data) == "jpeg" && int64(len(data)) <= l.MaxBytes {
		if img := t.tryDecode(data, l); img != nil {
			return img, nil
		}
	}
	return DecodeBytes(data, l)
}

// tryDecode returns nil if the file is not for the library.
func (t *turbo) tryDecode(data []byte, l Limits) *image.RGBA {
	handle := t.take()
	if handle == 0 {
		return nil
	}
	defer t.give(handle)
	var w, h, sampling, colours int32
	n := uintptr(len(data))
	if t.header(handle, &data[0], n, &w, &h, &sampling, &colours) != 0 {
		return nil
	}
	if w <= 0 || h <= 0 || int64(w)*int64(h) > int64(l.MaxPixels) || colours != turboYCbCr && colours != turboGray {
		return nil
	}
	img := image.NewRGBA(image.Rect(0, 0, int(w), int(h)))
	if t.decompress(handle, &data[0], n, &img.Pix[0], w, int32(img.Stride), h, turboRGBA, turboFlags) != 0 {
		return nil
	}
	return img
}

func (t *turbo) take() uintptr {
	select {
	case h := <-t.idle:
		return h
	default:
		return t.init()
	}
}

func (t *turbo) give(handle uintptr) {
	select {
	case t.idle <- handle:
	default:
		t.destroy(handle)
	}
}
