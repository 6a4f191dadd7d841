package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	random "github.com/metrixml/metrix/internal/draw"
)

// photos makes a set of JPEG and PNG images of several shapes, 3 classes in each split.
func photos(t testing.TB) *Set {
	dir := t.TempDir()
	i := 0
	for _, split := range []string{"train", "test"} {
		for class := range 3 {
			for _, s := range []image.Point{{90, 70}, {40, 80}, {33, 33}, {20, 31}} {
				img := picture(s.X, s.Y)
				img.Pix[0] = uint8(i)
				data, ending := jpegBytes(t, img), "jpg"
				if i%4 == 1 {
					data, ending = pngBytes(t, img), "png"
				}
				write(t, dir, fmt.Sprintf("%s/c%d/%d.%s", split, class, i, ending), string(data))
				i++
			}
		}
	}
	set, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	return set
}

// packOf packs a set and opens the result.
func packOf(t testing.TB, set *Set, d Delivery) (*Set, string) {
	dir := filepath.Join(t.TempDir(), "pack")
	require.NoError(t, Pack(t.Context(), dir, set, PackOptions{Delivery: d}))
	packed, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, packed.Close()) })
	return packed, dir
}

// requireSameDelivery demands equal bits of everything a run can see of the two sets.
func requireSameDelivery(t *testing.T, files, packed *Set) {
	tr := DefaultTransform()
	tr.Size, tr.Resize, tr.Color = 24, 28, 0.2
	a, b := make([]float32, 3*24*24), make([]float32, 3*24*24)
	for _, pair := range [][2]*Split{{files.Train, packed.Train}, {files.Test, packed.Test}} {
		f, p := pair[0], pair[1]
		require.Equal(t, f.Images, p.Images)
		require.Equal(t, f.Classes, p.Classes)
		fc, pc := f.Cache(1<<30, Limits{}), p.Cache(1<<30, Limits{})
		for i := range f.Images {
			want, err := f.Decode(i, Limits{})
			require.NoError(t, err)
			got, err := p.Decode(i, Limits{})
			require.NoError(t, err)
			require.Equal(t, want.Rect, got.Rect)
			require.True(t, bytes.Equal(want.Pix, got.Pix), f.File(i))
			for use := range uint64(3) {
				chance := func() *random.Rand { return random.Of(1, random.Augment, 2, uint64(i), use) }
				require.NoError(t, fc.Train(a, i, &tr, chance()))
				require.NoError(t, pc.Train(b, i, &tr, chance()))
				require.True(t, slices.Equal(a, b), "train view %d of %s", use, f.File(i))
				tr.Train(b, got, chance())
				require.True(t, slices.Equal(a, b), "through Decode")
			}
			require.NoError(t, f.Eval(a, i, &tr, Limits{}))
			require.NoError(t, p.Eval(b, i, &tr, Limits{}))
			require.True(t, slices.Equal(a, b), "eval view of %s", f.File(i))
		}
		require.Zero(t, pc.Stats().Bytes)
	}
}

// TestPackDeliversTheBitsOfFiles is the promise: a run is a function of recipe and seed, whether its
// images come from files or from a pack.
func TestPackDeliversTheBitsOfFiles(t *testing.T) {
	defer goleak.VerifyNone(t)
	set := photos(t)
	decoders := []string{DecoderGo}
	if HasTurbo() {
		decoders = append(decoders, DecoderTurbo)
	}
	for _, decoder := range decoders {
		for _, side := range []int{0, 32, 16} {
			d := Delivery{Store: side, Decoder: decoder}
			files, err := set.With(d)
			require.NoError(t, err)
			packed, dir := packOf(t, set, d)
			require.Equal(t, LayoutPack, packed.Layout)
			require.Equal(t, set.Name, packed.Name)
			requireSameDelivery(t, files, packed)
			unmapped, err := openPack(dir, false)
			require.NoError(t, err)
			requireSameDelivery(t, files, unmapped)
			require.NoError(t, unmapped.Close())
		}
	}
}

func TestStoreNeverEnlarges(t *testing.T) {
	for _, c := range []struct{ w, h, side, ww, wh int }{
		{90, 70, 32, 41, 32}, {40, 80, 32, 32, 64}, {33, 33, 32, 32, 32}, {32, 50, 32, 32, 50}, {20, 31, 32, 20, 31},
		{1, 900, 1, 1, 900}, {2, 900, 1, 1, 450}, {90, 70, 0, 90, 70},
	} {
		img := picture(c.w, c.h)
		got := fit(img, c.side)
		require.Equal(t, image.Pt(c.ww, c.wh), got.Rect.Max)
		if c.w == c.ww && c.h == c.wh {
			require.Same(t, img, got)
		}
	}
}

func TestDeliveryMustAgreeWithThePack(t *testing.T) {
	set := photos(t)
	packed, dir := packOf(t, set, Delivery{Store: 16})
	same, err := packed.With(Delivery{Store: 16, Decoder: DecoderGo})
	require.NoError(t, err)
	require.Same(t, packed, same)
	_, err = packed.With(Delivery{})
	require.ErrorContains(t, err, "is packed with side 16, but the recipe says data.store: 0; set data.store: 16, or pack the files again")
	_, err = packed.With(Delivery{Store: 16, Decoder: DecoderTurbo})
	require.ErrorContains(t, err, "was packed by decoder go, but the recipe says data.decoder: turbo")
	_, err = packed.With(Delivery{Store: -1})
	require.ErrorContains(t, err, "store is -1")
	_, err = set.With(Delivery{Decoder: "fast"})
	require.ErrorContains(t, err, `unknown decoder "fast"; use go or turbo`)
	require.ErrorContains(t, Pack(t.Context(), t.TempDir(), packed, PackOptions{}), "is a pack already, with side 16")
	require.ErrorContains(t, Pack(t.Context(), dir, set, PackOptions{}), "is there already")
	for _, layout := range []string{LayoutSOP, LayoutFolder, LayoutPack, ""} {
		s, err := Open(dir, layout)
		require.NoError(t, err)
		require.Equal(t, LayoutPack, s.Layout)
		require.NoError(t, s.Close())
	}
	_, err = Open(set.Root, LayoutPack)
	require.ErrorContains(t, err, "train.pack is missing; a pack is a folder with train.pack and test.pack")
}

func TestPackIsAFunctionOfTheFiles(t *testing.T) {
	set := photos(t)
	var want [2][]byte
	for threads := range 4 {
		dir := filepath.Join(t.TempDir(), "p")
		calls := 0
		err := Pack(t.Context(), dir, set, PackOptions{Delivery: Delivery{Store: 20}, Threads: threads,
			Progress: func(done, total int) { calls++; require.Equal(t, calls, done); require.Equal(t, 24, total) }})
		require.NoError(t, err)
		require.Equal(t, 24, calls)
		for i, name := range []string{packTrain, packTest} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			if threads == 0 {
				want[i] = b
			}
			require.True(t, bytes.Equal(want[i], b))
		}
	}
}

// requireNothingLeft demands that a failed Pack leaves no trace beside its target.
func requireNothingLeft(t *testing.T, parent string) {
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestPackIsWrittenWholeOrNotAtAll(t *testing.T) {
	defer goleak.VerifyNone(t)
	set := photos(t)
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	err := Pack(ctx, filepath.Join(parent, "p"), set, PackOptions{Progress: func(done, _ int) {
		if done == 5 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	requireNothingLeft(t, parent)

	write(t, set.Root, "test/c1/bad.jpg", "\xff\xd8\xff no image")
	set, err = Open(set.Root, LayoutAuto)
	require.NoError(t, err)
	err = Pack(t.Context(), filepath.Join(parent, "p"), set, PackOptions{})
	require.ErrorContains(t, err, filepath.Join("test", "c1", "bad.jpg"))
	requireNothingLeft(t, parent)
}

func TestVerifyAndDescribeAPack(t *testing.T) {
	set := photos(t)
	_, dir := packOf(t, set, Delivery{Store: 20})
	file := filepath.Join(dir, packTest)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	b[packPixels+7]++
	require.NoError(t, os.WriteFile(file, b, 0o644))
	packed, err := OpenPack(dir)
	require.NoError(t, err)
	defer packed.Close()
	r, err := Verify(t.Context(), packed, VerifyOptions{})
	require.NoError(t, err)
	require.False(t, r.OK)
	require.Empty(t, r.Train.Unreadable)
	require.Equal(t, []BadFile{{set.Test.Images[0].Path, "its pixels are damaged; copy the pack again, or pack the files again"}}, r.Test.Unreadable)
	require.Empty(t, r.Duplicates)
	info, err := Describe(t.Context(), packed)
	require.NoError(t, err)
	require.Zero(t, info.Test.Missing)
	require.Equal(t, 12, info.Test.Sampled)
	require.Equal(t, 20, info.Test.Width.Min)
	require.Contains(t, info.String(), "pack layout")
}

// TestShortenedWhileOpen cuts a file after it was mapped, which the system answers with a fault.
func TestShortenedWhileOpen(t *testing.T) {
	packed, dir := packOf(t, photos(t), Delivery{})
	require.NoError(t, os.Truncate(filepath.Join(dir, packTrain), 100))
	tr := plain(8, 8)
	err := packed.Train.Cache(0, Limits{}).Train(make([]float32, 3*64), 11, &tr, random.Of(1, random.Test))
	require.ErrorContains(t, err, "the file was shortened or its disk failed after it was opened")
	_, err = packed.Train.Decode(12, Limits{})
	require.ErrorContains(t, err, "the split has images 0 to 11")
	require.Panics(t, func() { _ = packed.Test.pack.view(0, func(pixels) { panic("mine") }) })
}

// sealed is a pack file with the given index, whose sums are right: what a hostile writer makes.
func sealed(pixels, index []byte) []byte {
	at := int64(packPixels + len(pixels))
	h := packHead{index: at, indexBytes: int64(len(index)), fileBytes: at + int64(len(index)), indexSum: sha256.Sum256(index)}
	b := append(h.encode(), make([]byte, packPixels-packHeader)...)
	return append(append(b, pixels...), index...)
}

// smallIndex is a valid index of two images of 2x1 pixels.
func smallIndex() *packIndex {
	return &packIndex{
		config: packConfig{Name: "n", Split: "train", Decoder: DecoderGo, Resampling: storeVersion, Images: 2, Classes: []string{"a"}},
		images: []Image{{ID: 1, Path: "a/1.jpg"}, {ID: 2, Path: "a/2.jpg"}},
		records: []packed{{offset: packPixels, w: 2, h: 1, crc: checksum(make([]byte, 6))},
			{offset: packPixels + 6, w: 2, h: 1, crc: checksum(make([]byte, 6))}},
	}
}

func openBytes(t *testing.T, b []byte) error {
	file := filepath.Join(t.TempDir(), packTrain)
	require.NoError(t, os.WriteFile(file, b, 0o644))
	s, err := openPackSplit(filepath.Dir(file), packTrain, true)
	if err == nil {
		require.NoError(t, s.pack.close())
	}
	return err
}

func TestPackRefusesHostileFiles(t *testing.T) {
	encode := func(x *packIndex) []byte {
		b, err := x.encode()
		require.NoError(t, err)
		return b
	}
	pix := make([]byte, 12)
	good := sealed(pix, encode(smallIndex()))
	require.NoError(t, openBytes(t, good))
	for _, n := range []int{0, 7, packHeader - 1, packHeader, packPixels, len(good) - 1} {
		require.Error(t, openBytes(t, good[:n]), "cut to %d bytes", n)
	}
	require.ErrorContains(t, openBytes(t, good[:len(good)-1]), "and says that it should have")
	require.ErrorContains(t, openBytes(t, make([]byte, 5000)), "does not begin like a pack")
	for at, want := range map[int]string{8: "version", 30: "header is damaged", packPixels + 20: "index is damaged"} {
		b := bytes.Clone(good)
		b[at] ^= 64
		require.ErrorContains(t, openBytes(t, b), want)
	}
	for want, change := range map[string]func(*packIndex){
		"has room for 2":                 func(x *packIndex) { x.config.Images = 1 << 30 },
		"it has 0 images":                func(x *packIndex) { x.config.Images = 0 },
		"0 classes":                      func(x *packIndex) { x.config.Classes = nil },
		"unknown decoder":                func(x *packIndex) { x.config.Decoder = "x" },
		"does not name its decoder":      func(x *packIndex) { x.config.Decoder = "" },
		"version 9 of the filter":        func(x *packIndex) { x.config.Resampling = 9 },
		"store is -3":                    func(x *packIndex) { x.config.Side = -3 },
		"class 1 is not one of 1":        func(x *packIndex) { x.images[1].Class = 1 },
		"0x1 pixels":                     func(x *packIndex) { x.records[0].w = 0 },
		"4294967295x1 pixels":            func(x *packIndex) { x.records[0].w = -1 },
		"image 1: its pixels do not":     func(x *packIndex) { x.records[1].offset = packPixels },
		"image 0: its pixels do not":     func(x *packIndex) { x.records[0].h = 1 << 24 },
		"end at byte 4105 and its index": func(x *packIndex) { x.records[1].w = 1 },
		"leads out of the set":           func(x *packIndex) { x.images[0].Path = "../../etc/passwd" },
		"image 0: the path is missing":   func(x *packIndex) { x.images[0].Path = "" },
		"image 1: its path is missing":   func(x *packIndex) { x.images[1].Path = string(make([]byte, 5000)) },
	} {
		x := smallIndex()
		change(x)
		require.ErrorContains(t, openBytes(t, sealed(pix, encode(x))), want)
	}
	require.ErrorContains(t, openBytes(t, sealed(pix, []byte{1})), "header contradicts itself")
	require.ErrorContains(t, openBytes(t, sealed(pix, []byte{9, 0, 0, 0, 1})), "configuration is longer")
	require.ErrorContains(t, openBytes(t, sealed(pix, []byte("\x02\x00\x00\x00[]"))), "configuration cannot be read")
}

func TestPacksThatDoNotBelongTogether(t *testing.T) {
	set := photos(t)
	_, a := packOf(t, set, Delivery{Store: 16})
	_, b := packOf(t, set, Delivery{Store: 20})
	require.NoError(t, os.Rename(filepath.Join(b, packTest), filepath.Join(a, packTest)))
	_, err := OpenPack(a)
	require.ErrorContains(t, err, "do not belong together")
}

func FuzzPack(f *testing.F) {
	index, err := smallIndex().encode()
	require.NoError(f, err)
	f.Add(index, 12)
	f.Add([]byte("\x02\x00\x00\x00{}"), 0)
	f.Fuzz(func(t *testing.T, index []byte, pix int) {
		if pix < 0 || pix > 1<<16 {
			return
		}
		b := sealed(make([]byte, pix), index)
		if _, err := parseHead(b, int64(len(b))); err != nil {
			return
		}
		x, err := parsePackIndex(index, int64(packPixels+pix))
		if err != nil {
			return
		}
		total := int64(packPixels)
		for i, r := range x.records {
			require.Equal(t, total, r.offset)
			require.Less(t, x.images[i].Class, len(x.config.Classes))
			total += r.bytes()
		}
		require.Equal(t, int64(packPixels+pix), total)
	})
}
