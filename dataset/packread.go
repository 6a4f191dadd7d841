package dataset

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
)

// pack is an open pack file. It is safe for concurrent use until it is closed.
type pack struct {
	packIndex
	file    string
	reader  *os.File
	mapped  []byte    // the whole file, nil where it could not be mapped
	buffers sync.Pool // of *[]byte, for images read without a mapping
}

// isPack reports whether dir holds a pack.
func isPack(dir string) bool {
	for _, name := range []string{packTrain, packTest} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// OpenPack opens the set that Pack has written to the folder path. Its layout is LayoutPack, its
// images are delivered as they were packed (see Set.With), and their paths are those of the files
// they came from, which are not needed any more. The pixels are mapped into memory and read when
// they are used; the indexes are read and checked. Close releases both.
func OpenPack(path string) (*Set, error) { return openPack(path, true) }

func openPack(path string, mapped bool) (*Set, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	set := &Set{Name: baseName(path), Root: path, Layout: LayoutPack}
	var err error
	if set.Train, err = openPackSplit(path, packTrain, mapped); err != nil {
		return nil, err
	}
	if set.Test, err = openPackSplit(path, packTest, mapped); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	train, test := &set.Train.pack.config, &set.Test.pack.config
	set.Name = train.Name
	if train.delivery() != test.delivery() || train.Name != test.Name || train.Split != "train" || test.Split != "test" {
		err := fmt.Errorf("dataset: %s and %s in %s do not belong together (%s %s, side %d, decoder %s; and %s %s, side %d, decoder %s); "+
			"pack the files again", packTrain, packTest, path, train.Name, train.Split, train.Side, train.Decoder,
			test.Name, test.Split, test.Side, test.Decoder)
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}

func openPackSplit(dir, name string, mapped bool) (*Split, error) {
	file := filepath.Join(dir, name)
	info, err := os.Stat(file) // before the open: opening a pipe would wait for its writer
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("dataset: %s is missing; a pack is a folder with %s and %s, made by `metrix data pack`", file, packTrain, packTest)
	case err != nil:
		return nil, fmt.Errorf("dataset: open pack: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("dataset: open pack %s: it is not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("dataset: open pack: %w", err)
	}
	p := &pack{file: file, reader: f}
	if err := p.readIndex(info.Size()); err != nil {
		return nil, errors.Join(fmt.Errorf("dataset: open pack %s: %w", file, err), f.Close())
	}
	if mapped {
		p.mapped, _ = mapFile(f, info.Size()) // where it fails, images are read one by one
	}
	return &Split{Root: dir, Images: p.images, Classes: p.config.Classes, QueryImages: p.config.Queries, pack: p}, nil
}

// readIndex reads and checks what lies before and behind the pixels.
func (p *pack) readIndex(size int64) error {
	head := make([]byte, packHeader)
	if _, err := p.reader.ReadAt(head, 0); err != nil {
		return fmt.Errorf("it has %d bytes, too few for a header: %w", size, err)
	}
	h, err := parseHead(head, size)
	if err != nil {
		return err
	}
	index := make([]byte, h.indexBytes)
	if _, err := p.reader.ReadAt(index, h.index); err != nil {
		return fmt.Errorf("its index cannot be read: %w", err)
	}
	if sha256.Sum256(index) != h.indexSum {
		return errors.New("its index is damaged; copy it again, or pack the files again")
	}
	x, err := parsePackIndex(index, h.index)
	if err != nil {
		return err
	}
	p.packIndex = *x
	return nil
}

func (p *pack) close() error {
	err := unmapFile(p.mapped)
	p.mapped = nil
	return errors.Join(err, p.reader.Close())
}

// view calls use with image i, which is valid until use returns and must not be written to. A file
// that was shortened, or whose disk has gone, after it was mapped is an error rather than a crash.
func (p *pack) view(i int, use func(pixels)) (err error) {
	if i < 0 || i >= len(p.records) {
		return fmt.Errorf("dataset: decode image %d: the split has images 0 to %d", i, len(p.records)-1)
	}
	r := p.records[i]
	img := pixels{stride: 3 * r.w, step: 3, w: r.w, h: r.h}
	if p.mapped != nil {
		img.pix = p.mapped[r.offset : r.offset+r.bytes()]
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			cause := recover()
			if _, fault := cause.(interface{ Addr() uintptr }); fault {
				err = fmt.Errorf("dataset: read image %d of %s: the file was shortened or its disk failed after it was opened", i, p.file)
			} else if cause != nil {
				panic(cause)
			}
		}()
		use(img)
		return nil
	}
	buf, _ := p.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer p.buffers.Put(buf)
	*buf = grow(*buf, int(r.bytes()))
	if _, err := p.reader.ReadAt(*buf, r.offset); err != nil {
		return fmt.Errorf("dataset: read image %d of %s: %w", i, p.file, err)
	}
	img.pix = *buf
	use(img)
	return nil
}

// check compares the pixels of image i with their checksum.
func (p *pack) check(i int) check {
	r := p.records[i]
	c := check{bytes: r.bytes(), sum: r.sum, read: true}
	err := p.view(i, func(img pixels) {
		if checksum(img.pix) != r.crc {
			c.reason = "its pixels are damaged; copy the pack again, or pack the files again"
		}
	})
	if err != nil {
		return check{reason: err.Error()}
	}
	return c
}
