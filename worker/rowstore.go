package worker

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// rowStore keeps the rows of one kind that a step mixes: images, feature maps, or gradients by them. They
// lie in memory or, where dir names a folder, in a file there that has no name and so is gone with the
// process, however it ends. Rows come back with the bits that they had.
type rowStore struct {
	dir   string
	width int // floats of a row
	data  []float32
	file  *os.File
}

// reset forgets all rows and makes room for others, of width floats.
func (s *rowStore) reset(width, rows int) {
	s.width = width
	if s.dir == "" {
		s.data = slices.Grow(s.data[:0], rows*width)[:rows*width]
	}
}

// put stores rows from number at on.
func (s *rowStore) put(at int, rows []float32) error {
	lo := at * s.width
	switch {
	case len(rows) == 0: // whatever at is
		return nil
	case s.dir == "":
		copy(s.data[lo:lo+len(rows)], rows)
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(floatBytes(rows), 4*int64(lo)); err != nil {
		return fmt.Errorf("keeping rows that are mixed in %s: %w; worker --scratch names another folder", s.dir, err)
	}
	return nil
}

// get reads the rows from number at on into dst.
func (s *rowStore) get(dst []float32, at int) error {
	lo := at * s.width
	if s.dir == "" {
		copy(dst, s.data[lo:lo+len(dst)])
		return nil
	}
	if _, err := s.file.ReadAt(floatBytes(dst), 4*int64(lo)); err != nil {
		return fmt.Errorf("reading rows that are mixed from %s: %w", s.dir, err)
	}
	return nil
}

// open makes the file of s, unless it is there already.
func (s *rowStore) open() error {
	if s.file != nil {
		return nil
	}
	err := os.MkdirAll(s.dir, 0o755)
	if err == nil {
		s.file, err = os.CreateTemp(s.dir, ".mixed-*")
	}
	if err == nil {
		err = os.Remove(s.file.Name())
	}
	if err != nil {
		return fmt.Errorf("making a file for rows that are mixed in %s: %w; worker --scratch names another folder", s.dir, err)
	}
	return nil
}

func (s *rowStore) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// stores hold what a step that mixes images or feature maps needs of all own rows at once. With the
// gradient cache, which is there to save memory, they are files.
type stores struct {
	own      rowStore // own images or feature maps, in the order of the batch
	others   rowStore // those of other workers that are mixed here, in the order of partners.ids
	mapGrads rowStore // gradients by own feature maps, of the clean rows
	mixGrads rowStore // gradients by mixed feature maps: own mixes, then those of mixing.returned
}

func newStores(dir string) *stores {
	s := rowStore{dir: dir}
	return &stores{own: s, others: s, mapGrads: s, mixGrads: s}
}

func (s *stores) close() error {
	return errors.Join(s.own.close(), s.others.close(), s.mapGrads.close(), s.mixGrads.close())
}
