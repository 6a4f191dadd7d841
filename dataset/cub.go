package dataset

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
)

// The layout of CUB-200-2011: images.txt with lines "image_id path", image_class_labels.txt with
// lines "image_id class_id", classes.txt with lines "class_id name", and the images under images/.
// train_test_split.txt splits every class for classification and is of no use here.
const (
	cubFolder  = "CUB_200_2011"
	cubImages  = "images.txt"
	cubLabels  = "image_class_labels.txt"
	cubClasses = "classes.txt"
)

func openCUB(root string) (*Set, error) {
	paths, err := readNumbered(filepath.Join(root, cubImages), "image id", checkPath)
	if err != nil {
		return nil, err
	}
	labels := map[int64]int64{}
	file := filepath.Join(root, cubLabels)
	err = readLinesOf(file, func(text string) error {
		id, rest, err := cutNumber(text, "image id")
		if err != nil {
			return err
		}
		class, rest, err := cutNumber(rest, "class id")
		switch {
		case err != nil:
			return err
		case rest != "":
			return fmt.Errorf("%q follows the class id; a line is \"image_id class_id\"", clip(rest))
		case paths[id] == "":
			return fmt.Errorf("image id %d is not in %s; unpack the whole archive again", id, cubImages)
		case labels[id] != 0:
			return fmt.Errorf("image id %d has a class already; ids must be unique", id)
		}
		labels[id] = class
		return nil
	})
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(paths))
	for _, id := range slices.Sorted(maps.Keys(paths)) {
		if labels[id] == 0 {
			return nil, fmt.Errorf("dataset: %s gives image id %d no class; unpack the whole archive again", file, id)
		}
		entries = append(entries, entry{id: id, class: labels[id], path: paths[id]})
	}
	var names map[int64]string
	if file := filepath.Join(root, cubClasses); isFile(file) {
		if names, err = readNumbered(file, "class id", nil); err != nil {
			return nil, err
		}
	}
	set := &Set{Name: baseName(root), Root: root, Layout: LayoutCUB}
	return set, set.halve(filepath.Join(root, "images"), entries, names)
}

// readNumbered reads a file of lines "number text" with unique numbers.
func readNumbered(file, what string, check func(text string) error) (map[int64]string, error) {
	out := map[int64]string{}
	err := readLinesOf(file, func(text string) error {
		n, rest, err := cutNumber(text, what)
		if err != nil {
			return err
		}
		if rest == "" {
			return fmt.Errorf("nothing follows the %s %d", what, n)
		}
		if out[n] != "" {
			return fmt.Errorf("%s %d is there already; ids must be unique", what, n)
		}
		out[n] = rest
		if check != nil {
			return check(rest)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s:1: %w", file, io.ErrUnexpectedEOF)
	}
	return out, err
}

// halve makes the splits of a set whose publication has none for metric learning: the first half of
// the class ids, in ascending order, trains, and the other half tests. That is classes 1 to 100 of
// the 200 of CUB-200-2011 and 1 to 98 of the 196 of Cars196. The larger half of an odd number trains.
func (s *Set) halve(root string, entries []entry, names map[int64]string) error {
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.class, b.class) })
	var ids []int64
	for _, e := range entries {
		if len(ids) == 0 || ids[len(ids)-1] != e.class {
			ids = append(ids, e.class)
		}
	}
	if len(ids) < 2 {
		return fmt.Errorf("dataset: %s has %d classes; it needs at least 2, to train and to test", s.Root, len(ids))
	}
	first := ids[(len(ids)+1)/2] // class of the test split
	at, _ := slices.BinarySearchFunc(entries, first, func(e entry, class int64) int { return cmp.Compare(e.class, class) })
	s.Train, s.Test = newSplit(root, entries[:at]), newSplit(root, entries[at:])
	for i, id := range ids {
		split, c := s.Train, i
		if id >= first {
			split, c = s.Test, i-len(s.Train.Classes)
		}
		if name := names[id]; name != "" {
			split.Classes[c] = name
		}
	}
	return nil
}
