package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	sopTrain  = "Ebay_train.txt"
	sopTest   = "Ebay_test.txt"
	sopFolder = "Stanford_Online_Products"
	sopHeader = "image_id class_id super_class_id path"

	maxIndexLine = 4096 // bytes; SOP's longest line has 60
)

func openSOP(root string) (*Set, error) {
	set := &Set{Name: baseName(root), Root: root, Layout: LayoutSOP}
	var err error
	if set.Train, err = openIndex(root, sopTrain); err != nil {
		return nil, err
	}
	if set.Test, err = openIndex(root, sopTest); err != nil {
		return nil, err
	}
	return set, nil
}

func openIndex(root, name string) (*Split, error) {
	file := filepath.Join(root, name)
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("dataset: %s is missing; unpack the whole archive, both %s and %s",
			file, sopTrain, sopTest)
	}
	if err != nil {
		return nil, fmt.Errorf("dataset: open index: %w", err)
	}
	defer f.Close()
	entries, err := parseIndex(f, file)
	if err != nil {
		return nil, err
	}
	return newSplit(root, entries), nil
}

// entry is one line of an index.
type entry struct {
	id, class, super int64
	path             string
}

// parseIndex reads a whole SOP index. It accepts CRLF, a byte order mark, blank lines and runs of
// blanks; everything else that is not SOP is an error that begins with name and the line.
func parseIndex(r io.Reader, name string) ([]entry, error) {
	var (
		entries []entry
		seen    = map[int64]int{} // image id -> line
		header  bool
		br      = bufio.NewReaderSize(r, maxIndexLine+2)
	)
	for line := 1; ; line++ {
		text, err := readLine(br)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if !header {
			if strings.Join(fields, " ") != sopHeader {
				return nil, fmt.Errorf("%s:%d: the first line is %q; it must be the header %q",
					name, line, clip(text), sopHeader)
			}
			header = true
			continue
		}
		e, err := parseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if before, ok := seen[e.id]; ok {
			return nil, fmt.Errorf("%s:%d: image id %d is already on line %d; ids must be unique",
				name, line, e.id, before)
		}
		seen[e.id] = line
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s:1: the index lists no images; it must hold lines %q", name, sopHeader)
	}
	return entries, nil
}

// readLine returns the next line without its end, or io.EOF after the last. A line longer than
// maxIndexLine is an error and is never held in memory.
func readLine(br *bufio.Reader) (string, error) {
	b, err := br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("the line is longer than %d bytes; this is not an index", maxIndexLine)
	case err == io.EOF && len(b) == 0:
		return "", io.EOF
	case err != nil && err != io.EOF:
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// parseEntry parses "image_id class_id super_class_id path"; the path may hold single blanks.
func parseEntry(text string) (entry, error) {
	var e entry
	rest := text
	for _, f := range []struct {
		name string
		dst  *int64
	}{{"image_id", &e.id}, {"class_id", &e.class}, {"super_class_id", &e.super}} {
		var word string
		rest = strings.TrimSpace(rest)
		if i := strings.IndexAny(rest, " \t"); i >= 0 {
			word, rest = rest[:i], rest[i:]
		} else {
			word, rest = rest, ""
		}
		v, err := strconv.ParseInt(word, 10, 64)
		if err != nil || v < 0 {
			return entry{}, fmt.Errorf("%s is %q; it must be a whole number of 0 or more, in a line %q",
				f.name, clip(word), sopHeader)
		}
		*f.dst = v
	}
	e.path = strings.TrimSpace(rest)
	return e, checkPath(e.path)
}

// checkPath refuses paths that could name a file outside the set.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("the path is missing")
	case strings.ContainsAny(p, "\\\x00"):
		return fmt.Errorf("path %q holds a backslash or a zero byte; separate folders by /", clip(p))
	case path.IsAbs(p), !filepath.IsLocal(filepath.FromSlash(p)):
		return fmt.Errorf("path %q leads out of the set; it must be relative to the folder of the "+
			"index and stay in it", clip(p))
	}
	return nil
}

// newSplit gives classes dense numbers in ascending order of their ids.
func newSplit(root string, entries []entry) *Split {
	dense := map[int64]int{}
	var ids []int64
	for _, e := range entries {
		if _, ok := dense[e.class]; !ok {
			dense[e.class] = 0
			ids = append(ids, e.class)
		}
	}
	slices.Sort(ids)
	s := &Split{Root: root, Classes: make([]string, len(ids)), Images: make([]Image, len(entries))}
	for c, id := range ids {
		dense[id] = c
		s.Classes[c] = strconv.FormatInt(id, 10)
	}
	for i, e := range entries {
		s.Images[i] = Image{ID: e.id, Path: e.path, Class: dense[e.class], Super: int(e.super)}
	}
	return s
}

// clip keeps what an error quotes short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}
