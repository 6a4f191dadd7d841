package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// A pack is a folder with one file for each split:
//
//	0     header   128 bytes: magic, version, where the index lies, length of the file, SHA-256 of
//	               the index, SHA-256 of the header before it; zeros up to 4096
//	4096  pixels   of each image in order: height rows of width R, G, B bytes, nothing between
//	      index    length of the configuration (4 bytes), configuration (JSON), one record of 80
//	               bytes for each image, then the paths
//
// Numbers are little endian. The header is written last, so that a file cut short has none. The
// index is small (80 bytes and a path for an image) and is checked whole when a pack is opened; the
// pixels are mapped into memory, and their checksums are compared by Verify.
const (
	packMagic   = "metrixpk"
	packVersion = 1

	packHeader = 128
	packPixels = 4096 // offset of the pixels: a page
	packRecord = 80

	maxPackIndex = 1 << 30 // bytes: five million images
)

// packFiles are the names of the files, which Open recognises a pack by.
const (
	packTrain = "train.pack"
	packTest  = "test.pack"
)

// storeVersion is raised whenever fit would give other pixels.
const storeVersion = 1

// packConfig says in a pack what it holds and how it was made.
type packConfig struct {
	Name           string   `json:"name"`
	Split          string   `json:"split"`  // "train" or "test"
	Layout         string   `json:"layout"` // of the files
	Side           int      `json:"side"`   // Delivery.Store
	Decoder        string   `json:"decoder"`
	DecoderVersion string   `json:"decoder_version"` // for people; decides nothing
	Resampling     int      `json:"resampling"`      // storeVersion
	Images         int      `json:"images"`
	Queries        int      `json:"queries,omitempty"` // Split.QueryImages
	Classes        []string `json:"classes"`
}

func (c *packConfig) delivery() Delivery { return Delivery{Store: c.Side, Decoder: c.Decoder} }

// packed is the record of one image.
type packed struct {
	offset int64 // of its pixels in the file
	w, h   int
	crc    uint32            // CRC-32C of the pixels
	sum    [sha256.Size]byte // of the file it came from
}

func (p packed) bytes() int64 { return 3 * int64(p.w) * int64(p.h) }

// packIndex is the index of a pack file.
type packIndex struct {
	config  packConfig
	images  []Image
	records []packed
}

// checksum is the CRC-32C, whose polynomial processors compute.
func checksum(pix []byte) uint32 { return crc32.Checksum(pix, crc32.MakeTable(crc32.Castagnoli)) }

func (x *packIndex) encode() ([]byte, error) {
	config, err := json.Marshal(x.config)
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(config)))
	b = append(b, config...)
	var paths []byte
	le := binary.LittleEndian
	for i, r := range x.records {
		im := x.images[i]
		b = le.AppendUint64(b, uint64(r.offset))
		b = le.AppendUint64(b, uint64(im.ID))
		b = le.AppendUint64(b, uint64(im.Super))
		for _, v := range []int{im.Class, r.w, r.h, len(paths), len(im.Path)} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = le.AppendUint32(b, r.crc)
		b = append(b, r.sum[:]...)
		paths = append(paths, im.Path...)
	}
	b = append(b, paths...)
	if len(b) > maxPackIndex {
		return nil, fmt.Errorf("the index has %d bytes, more than the limit of %d; pack fewer images", len(b), maxPackIndex)
	}
	return b, nil
}

// packHead is what a header says.
type packHead struct {
	index, indexBytes, fileBytes int64
	indexSum                     [sha256.Size]byte
}

func (h packHead) encode() []byte {
	b := append([]byte(packMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	le := binary.LittleEndian
	le.PutUint32(b[8:], packVersion)
	le.PutUint32(b[12:], packRecord)
	for _, v := range []int64{packPixels, h.index, h.indexBytes, h.fileBytes} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = append(b, make([]byte, 64-len(b))...)
	b = append(b, h.indexSum[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// parseHead checks a header against itself and the length of the file.
func parseHead(b []byte, fileBytes int64) (packHead, error) {
	var h packHead
	if len(b) < packHeader || !bytes.HasPrefix(b, []byte(packMagic)) {
		return h, errors.New("it does not begin like a pack; it is something else, or its writing was cut short")
	}
	le := binary.LittleEndian
	if v := le.Uint32(b[8:]); v != packVersion {
		return h, fmt.Errorf("it is a pack of version %d, and this program reads version %d", v, packVersion)
	}
	if sum := sha256.Sum256(b[:96]); !bytes.Equal(sum[:], b[96:packHeader]) {
		return h, errors.New("its header is damaged")
	}
	h.index, h.indexBytes, h.fileBytes = int64(le.Uint64(b[24:])), int64(le.Uint64(b[32:])), int64(le.Uint64(b[40:]))
	copy(h.indexSum[:], b[64:])
	switch {
	case h.fileBytes != fileBytes:
		return h, fmt.Errorf("it has %d bytes and says that it should have %d; copy it again", fileBytes, h.fileBytes)
	case h.indexBytes < 4 || h.indexBytes > maxPackIndex || h.index < packPixels || h.index != fileBytes-h.indexBytes,
		le.Uint64(b[16:]) != packPixels, le.Uint32(b[12:]) != packRecord:
		return h, errors.New("its header contradicts itself")
	}
	return h, nil
}

// parsePackIndex reads an index that lies at the given offset, up to which pixels must reach.
func parsePackIndex(b []byte, at int64) (*packIndex, error) {
	if len(b) < 4 {
		return nil, errors.New("its index is empty")
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n > int64(len(b)-4) {
		return nil, errors.New("its configuration is longer than its index")
	}
	x := &packIndex{}
	d := json.NewDecoder(bytes.NewReader(b[4 : 4+n]))
	d.DisallowUnknownFields()
	if err := d.Decode(&x.config); err != nil {
		return nil, fmt.Errorf("its configuration cannot be read: %w", err)
	}
	b = b[4+n:]
	if err := x.config.check(len(b)); err != nil {
		return nil, err
	}
	records, paths := b[:x.config.Images*packRecord], string(b[x.config.Images*packRecord:])
	x.images = make([]Image, x.config.Images)
	x.records = make([]packed, x.config.Images)
	next := int64(packPixels)
	for i := range x.images {
		end, err := x.parseRecord(i, records[i*packRecord:][:packRecord], paths, next, at)
		if err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
		next = end
	}
	if next != at {
		return nil, fmt.Errorf("its images end at byte %d and its index begins at %d", next, at)
	}
	return x, nil
}

// check refuses a configuration that cannot be that of an index whose rest has `rest` bytes.
func (c *packConfig) check(rest int) error {
	d := c.delivery()
	switch {
	case c.Decoder == "":
		return errors.New("it does not name its decoder")
	case d.Validate() != nil:
		return d.Validate()
	case c.Resampling != storeVersion:
		return fmt.Errorf("its images were resized by version %d of the filter, and this program has version %d; pack the files again",
			c.Resampling, storeVersion)
	case c.Images < 1 || c.Images > rest/packRecord:
		return fmt.Errorf("it says that it has %d images, and its index has room for %d", c.Images, rest/packRecord)
	case c.Queries < 0 || c.Queries >= c.Images:
		return fmt.Errorf("it says that %d of its %d images are queries; the others are the gallery, and there must be some", c.Queries, c.Images)
	case len(c.Classes) < 1 || len(c.Classes) > c.Images:
		return fmt.Errorf("it says that it has %d classes, with %d images", len(c.Classes), c.Images)
	}
	return nil
}

// parseRecord fills image i, whose pixels must begin at next, and returns where they end.
func (x *packIndex) parseRecord(i int, b []byte, paths string, next, limit int64) (int64, error) {
	le := binary.LittleEndian
	word := func(at int) int64 { return int64(le.Uint32(b[at:])) }
	r := packed{offset: int64(le.Uint64(b)), crc: le.Uint32(b[44:])}
	copy(r.sum[:], b[48:])
	class, wide, high, from, length := word(24), word(28), word(32), word(36), word(40)
	switch {
	case class >= int64(len(x.config.Classes)):
		return 0, fmt.Errorf("class %d is not one of %d", class, len(x.config.Classes))
	case wide < 1 || high < 1 || wide > 1<<24 || high > 1<<24:
		return 0, fmt.Errorf("it is %dx%d pixels", wide, high)
	case r.offset != next || 3*wide*high > limit-next:
		return 0, fmt.Errorf("its pixels do not lie where they should, at byte %d", next)
	case length > maxIndexLine || from+length > int64(len(paths)):
		return 0, errors.New("its path is missing")
	}
	r.w, r.h = int(wide), int(high)
	im := Image{ID: int64(le.Uint64(b[8:])), Super: int(le.Uint64(b[16:])), Class: int(class), Path: strings.Clone(paths[from : from+length])}
	if err := checkPath(im.Path); err != nil {
		return 0, err
	}
	x.images[i], x.records[i] = im, r
	return next + r.bytes(), nil
}
