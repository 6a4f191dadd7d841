package dataset

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxDepth bounds the nesting of folders under a class, so that a cycle of links ends.
const maxDepth = 6

// folderClass is a class folder and the images below it.
type folderClass struct {
	name  string
	paths []string // relative to the split's root, forward slashes, sorted
}

// openFolder opens one folder per class: under train/ and test/, or all in root, of which the first
// half of the sorted names (the larger half of an odd number) is for training.
func openFolder(root string) (*Set, error) {
	set := &Set{Name: baseName(root), Root: root, Layout: LayoutFolder}
	train, test := filepath.Join(root, "train"), filepath.Join(root, "test")
	switch isFolder(train) + isFolder(test) {
	case 2:
		if err := openFolders(set, train, test); err != nil {
			return nil, err
		}
		return set, nil
	case 1:
		missing := train
		if isFolder(train) == 1 {
			missing = test
		}
		return nil, fmt.Errorf("dataset: %s is missing; %s needs both train and test, each with one "+
			"folder per class", missing, root)
	}
	classes, err := listClasses(root)
	if err != nil {
		return nil, err
	}
	if len(classes) < 2 {
		return nil, fmt.Errorf("dataset: %s holds neither %s nor train and test nor two folders with "+
			"JPEG or PNG images; give the folder of a set", root, sopTrain)
	}
	half := (len(classes) + 1) / 2
	set.Train = folderSplit(root, classes[:half], 1)
	set.Test = folderSplit(root, classes[half:], 1+int64(len(set.Train.Images)))
	return set, nil
}

func openFolders(set *Set, train, test string) error {
	first := int64(1)
	for _, s := range []struct {
		root string
		dst  **Split
	}{{train, &set.Train}, {test, &set.Test}} {
		classes, err := listClasses(s.root)
		if err != nil {
			return err
		}
		if len(classes) == 0 {
			return fmt.Errorf("dataset: %s holds no folder with JPEG or PNG images; it must hold one "+
				"folder per class", s.root)
		}
		*s.dst = folderSplit(s.root, classes, first)
		first += int64(len((*s.dst).Images))
	}
	return nil
}

// isFolder returns 1 if path is a folder.
func isFolder(path string) int {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return 1
	}
	return 0
}

// listClasses returns the folders in root that hold images, sorted by name. Links are followed;
// hidden folders and folders without images are left out.
func listClasses(root string) ([]folderClass, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("dataset: list %s: %w", root, err)
	}
	var classes []folderClass
	for _, e := range entries {
		if hidden(e.Name()) || isFolder(filepath.Join(root, e.Name())) == 0 {
			continue
		}
		paths, err := listImages(root, e.Name(), 0)
		if err != nil {
			return nil, err
		}
		if len(paths) > 0 {
			slices.Sort(paths)
			classes = append(classes, folderClass{e.Name(), paths})
		}
	}
	slices.SortFunc(classes, func(a, b folderClass) int { return cmp.Compare(a.name, b.name) })
	return classes, nil
}

// listImages returns the images at and below rel, relative to root.
func listImages(root, rel string, depth int) ([]string, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("dataset: %s is nested more than %d folders deep; remove the link that "+
			"leads in a circle", filepath.Join(root, rel), maxDepth)
	}
	entries, err := os.ReadDir(filepath.Join(root, rel))
	if err != nil {
		return nil, fmt.Errorf("dataset: list %s: %w", filepath.Join(root, rel), err)
	}
	var paths []string
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		p := path.Join(rel, e.Name())
		file := filepath.Join(root, filepath.FromSlash(p))
		if isFolder(file) == 1 {
			below, err := listImages(root, p, depth+1)
			if err != nil {
				return nil, err
			}
			paths = append(paths, below...)
		} else if looksLikeImage(file) {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// looksLikeImage decides by the usual extensions, and by the first bytes for any other.
func looksLikeImage(file string) bool {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, sniffBytes)
	n, _ := io.ReadFull(f, head)
	return sniff(head[:n]) != ""
}

// hidden reports names that file managers and archivers leave behind.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || name == "__MACOSX"
}

func folderSplit(root string, classes []folderClass, firstID int64) *Split {
	s := &Split{Root: root}
	for c, class := range classes {
		s.Classes = append(s.Classes, class.name)
		for _, p := range class.paths {
			id := firstID + int64(len(s.Images))
			s.Images = append(s.Images, Image{ID: id, Path: p, Class: c})
		}
	}
	return s
}
