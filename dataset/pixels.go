package dataset

import "image"

// pixels is a rectangle of 8-bit R, G, B samples in somebody else's memory: a decoded image, whose
// pixels take 4 bytes, or a packed one, whose pixels take 3.
type pixels struct {
	pix    []byte
	stride int // bytes from a row to the next
	step   int // bytes of a pixel, 3 or 4
	w, h   int
}

// pixelsOf views img without its alpha, which decoding has made opaque.
func pixelsOf(img *image.RGBA) pixels {
	r := img.Rect
	if r.Empty() {
		return pixels{}
	}
	return pixels{pix: img.Pix[img.PixOffset(r.Min.X, r.Min.Y):], stride: img.Stride, step: 4, w: r.Dx(), h: r.Dy()}
}

// rgba copies p to an image of its own.
func (p pixels) rgba() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, p.w, p.h))
	for y := range p.h {
		src := p.pix[y*p.stride : y*p.stride+p.w*p.step]
		dst := img.Pix[y*img.Stride : y*img.Stride+4*p.w]
		for len(src) >= 3 && len(dst) >= 4 {
			dst[0], dst[1], dst[2], dst[3] = src[0], src[1], src[2], 255
			if len(src) < p.step {
				break
			}
			src, dst = src[p.step:], dst[4:]
		}
	}
	return img
}

// A spread pixel holds its three samples in 21-bit lanes of one word, so that one multiplication by
// a weight of up to 13 bits scales all of them, and sums of such products stay in their lanes.
const (
	laneBits = 21
	laneMask = 0xff | 0xff<<laneBits | 0xff<<(2*laneBits)
)

// spread writes pixels [lo, hi) of row y of p to dst[lo:hi].
func (p pixels) spread(dst []uint64, y, lo, hi int) {
	row := p.pix[y*p.stride+lo*p.step : y*p.stride+hi*p.step]
	dst = dst[lo:hi]
	if p.step == 4 {
		for i := range dst {
			if len(row) < 4 {
				return
			}
			dst[i] = uint64(row[0]) | uint64(row[1])<<laneBits | uint64(row[2])<<(2*laneBits)
			row = row[4:]
		}
		return
	}
	for i := range dst {
		if len(row) < 3 {
			return
		}
		dst[i] = uint64(row[0]) | uint64(row[1])<<laneBits | uint64(row[2])<<(2*laneBits)
		row = row[3:]
	}
}
