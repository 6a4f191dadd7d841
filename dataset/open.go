package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// layout is a published way to lay out a set, which its files give away.
type layout struct {
	name   string
	usual  string                // name of the folder that the published archive unpacks to; may be ""
	has    func(dir string) bool // whether dir is the root of such a set
	open   func(dir string) (*Set, error)
	marks  string // the files that has looks for
	advice string // which folder to give
}

// layouts returns the published layouts in the order in which LayoutAuto tries them.
func layouts() []layout {
	return []layout{
		{LayoutSOP, sopFolder, anyFile(sopTrain, sopTest), openSOP, sopTrain,
			"give the folder " + sopFolder + " or its parent"},
		{LayoutCUB, cubFolder, allFiles(cubImages, cubLabels), openCUB, cubImages + " and " + cubLabels,
			"give the folder " + cubFolder + " or its parent"},
		{LayoutCars, "", hasCars, openCars, carsIndex + " or " + carsFolder,
			"give the folder that holds both"},
		{LayoutInShop, inShopFolder, hasInShop, openInShop, inShopIndex,
			"give the folder that holds Eval and Img, or the file and img"},
	}
}

// Open opens the set at path. layout is one of the published layouts, LayoutFolder, LayoutPack, or
// LayoutAuto (also "") to find out: a folder that holds train.pack and test.pack is a pack, whichever
// layout the files had that it was made of; one with the index of a published set is that, and so is
// one of whose subfolders a single one has it; any other with folders of images is one folder per
// class. Open reads the indexes and folder listings, not the images: Verify does that.
func Open(path, layout string) (*Set, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	if layout == "" {
		layout = LayoutAuto
	}
	known := layout == LayoutAuto || layout == LayoutFolder
	for _, l := range layouts() {
		known = known || l.name == layout
	}
	switch {
	case layout == LayoutPack, known && isPack(path):
		return OpenPack(path) // a recipe names the layout of the files, and a pack delivers them alike
	case layout == LayoutFolder:
		return openFolder(path)
	case !known:
		return nil, fmt.Errorf("dataset: unknown layout %q; use %s", layout, strings.Join(Layouts(), ", "))
	}
	l, root, err := find(path, layout)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return openFolder(path)
	}
	return l.open(root)
}

// Layouts returns the names that Open takes.
func Layouts() []string {
	names := []string{LayoutAuto}
	for _, l := range layouts() {
		names = append(names, l.name)
	}
	return append(names, LayoutFolder, LayoutPack)
}

// find returns the published layout that the set at path has, and its root. With LayoutAuto it may
// be none.
func find(path, name string) (*layout, string, error) {
	var found *layout
	var root string
	for _, l := range layouts() {
		if name != LayoutAuto && name != l.name {
			continue
		}
		dir, err := l.find(path)
		if err != nil {
			return nil, "", err
		}
		switch {
		case dir == "" && name == l.name:
			return nil, "", fmt.Errorf("dataset: %s holds no %s, nor does a folder in it; %s", path, l.marks, l.advice)
		case dir == "":
		case dir == path:
			return &l, dir, nil
		case found != nil:
			return nil, "", fmt.Errorf("dataset: %s holds more than one set (%s and %s); give one of them",
				path, filepath.Base(root), filepath.Base(dir))
		default:
			found, root = &l, dir
		}
	}
	return found, root, nil
}

// find returns the root of a set of this layout: dir, its folder of the usual name, or the only
// subfolder that is one. It returns "" if there is none.
func (l *layout) find(dir string) (string, error) {
	if l.has(dir) {
		return dir, nil
	}
	if d := filepath.Join(dir, l.usual); l.usual != "" && l.has(d) {
		return d, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("dataset: list %s: %w", dir, err)
	}
	var found []string
	for _, e := range entries {
		if d := filepath.Join(dir, e.Name()); !hidden(e.Name()) && l.has(d) {
			found = append(found, d)
		}
	}
	if len(found) > 1 {
		return "", fmt.Errorf("dataset: %s holds more than one set (%s and %s); give one of them",
			dir, filepath.Base(found[0]), filepath.Base(found[1]))
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0], nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func anyFile(names ...string) func(dir string) bool {
	return func(dir string) bool {
		for _, name := range names {
			if isFile(filepath.Join(dir, name)) {
				return true
			}
		}
		return false
	}
}

func allFiles(names ...string) func(dir string) bool {
	return func(dir string) bool {
		for _, name := range names {
			if !isFile(filepath.Join(dir, name)) {
				return false
			}
		}
		return true
	}
}

// checkFolder says in one sentence why path cannot hold a set.
func checkFolder(path string) error {
	if path == "" {
		return errors.New("dataset: no path given; give the folder of the images")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("dataset: %s does not exist; give the folder that holds %s, another published set or "+
			"one folder per class, or make a set with `metrix data synth`", path, sopTrain)
	case err != nil:
		return fmt.Errorf("dataset: open %s: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("dataset: %s is a file, not a folder; unpack it if it is an archive and "+
			"give the folder", path)
	}
	return nil
}

// openIndexFile opens a text or MATLAB index, and says what to do where it is missing.
func openIndexFile(file string) (*os.File, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("dataset: %s is missing; unpack the whole archive", file)
	}
	if err != nil {
		return nil, fmt.Errorf("dataset: open index: %w", err)
	}
	return f, nil
}
