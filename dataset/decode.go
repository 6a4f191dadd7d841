package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"os"
)

// Limits bound what one image may cost. A zero field means its default.
type Limits struct {
	MaxBytes  int64 // size of the file; default 32 MiB
	MaxPixels int   // width x height; default 25 million (100 MB decoded)
}

// DefaultLimits returns the limits that zero fields stand for.
func DefaultLimits() Limits { return Limits{MaxBytes: 32 << 20, MaxPixels: 25_000_000} }

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.MaxBytes > 0 {
		d.MaxBytes = l.MaxBytes
	}
	if l.MaxPixels > 0 {
		d.MaxPixels = l.MaxPixels
	}
	return d
}

// Decode reads and decodes image i and delivers it as Set.With says. See DecodeBytes for what it
// returns; errors name the file.
func (s *Split) Decode(i int, l Limits) (*image.RGBA, error) {
	if s.pack != nil {
		var img *image.RGBA
		err := s.pack.view(i, func(p pixels) { img = p.rgba() })
		return img, err
	}
	img, _, err := s.decodeFile(i, l)
	return img, err
}

// decodeFile returns image i as it is delivered, and the bytes of its file.
func (s *Split) decodeFile(i int, l Limits) (*image.RGBA, []byte, error) {
	if i < 0 || i >= len(s.Images) {
		return nil, nil, fmt.Errorf("dataset: decode image %d: the split has images 0 to %d", i, len(s.Images)-1)
	}
	file := s.File(i)
	data, err := readFile(file, l)
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: read %s: %w", file, err)
	}
	decode := DecodeBytes
	if s.turbo != nil {
		decode = s.turbo.decode
	}
	img, err := decode(data, l)
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: decode %s: %w", file, err)
	}
	return fit(img, s.store), data, nil
}

// readFile reads a regular file of at most l.MaxBytes.
func readFile(file string, l Limits) ([]byte, error) {
	l = l.orDefault()
	info, err := os.Stat(file) // before the open: opening a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > l.MaxBytes {
		return nil, fmt.Errorf("it has %d bytes, more than the limit of %d", info.Size(), l.MaxBytes)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}

// DecodeBytes decodes a JPEG or PNG, told apart by content: gray, paletted, CMYK, 16-bit and
// interlaced kinds too, transparency laid over white, EXIF orientation not applied (the field's
// loaders do not either). The result is opaque, with bounds from (0, 0) and no padding between rows.
// Width and height are checked against l before any pixel memory is allocated.
func DecodeBytes(data []byte, l Limits) (*image.RGBA, error) {
	l = l.orDefault()
	if int64(len(data)) > l.MaxBytes {
		return nil, fmt.Errorf("it has %d bytes, more than the limit of %d", len(data), l.MaxBytes)
	}
	size, err := dimensions(data)
	if err != nil {
		return nil, err
	}
	if int64(size.X)*int64(size.Y) > int64(l.MaxPixels) {
		return nil, fmt.Errorf("it is %dx%d, more than the limit of %d pixels", size.X, size.Y, l.MaxPixels)
	}
	decode := jpeg.Decode
	if sniff(data) == "png" {
		decode = png.Decode
	}
	img, err := decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return toRGBA(img), nil
}

// dimensions reads the width and height from the header.
func dimensions(data []byte) (image.Point, error) {
	config := jpeg.DecodeConfig
	switch sniff(data) {
	case "jpeg":
	case "png":
		config = png.DecodeConfig
	default:
		return image.Point{}, errors.New("it is neither JPEG nor PNG; convert it")
	}
	c, err := config(bytes.NewReader(data))
	if err != nil {
		return image.Point{}, err
	}
	if c.Width <= 0 || c.Height <= 0 {
		return image.Point{}, fmt.Errorf("it is %dx%d, without pixels", c.Width, c.Height)
	}
	return image.Pt(c.Width, c.Height), nil
}

const sniffBytes = 8

// sniff tells the format by the first bytes: "jpeg", "png" or "".
func sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return "jpeg"
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return "png"
	}
	return ""
}

// toRGBA copies img over white, unless it is such an image already.
func toRGBA(img image.Image) *image.RGBA {
	b := img.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if o, ok := img.(interface{ Opaque() bool }); ok && o.Opaque() {
		draw.Draw(dst, dst.Rect, img, b.Min, draw.Src)
		return dst
	}
	draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(dst, dst.Rect, img, b.Min, draw.Over)
	return dst
}
