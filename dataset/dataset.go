package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The layouts that Open understands.
const (
	LayoutAuto   = "auto"
	LayoutSOP    = "sop"
	LayoutFolder = "folder"
	LayoutPack   = "pack" // made by Pack
)

// Image is one image of a split.
type Image struct {
	ID    int64  // unique within its split; in the SOP layout the image_id of the index
	Path  string // relative to Split.Root, with forward slashes
	Class int    // dense, 0..len(Split.Classes)-1
	Super int    // super class as the index gives it; 0 where the layout has none
}

// Split is one half of a set. It is not changed after Open and is safe for concurrent use.
type Split struct {
	Root    string   // folder that image paths start from
	Images  []Image  // in the order of the index or, for folders, sorted by class and path
	Classes []string // name of each dense class: the class_id in decimal, or the folder's name

	store int    // see Delivery.Store
	turbo *turbo // decodes JPEG files; nil: Go does
	pack  *pack  // holds the pixels; nil: files do
}

// Set is an opened collection.
type Set struct {
	Name   string // base name of its root folder
	Root   string // folder that was found to hold the set
	Layout string // LayoutSOP, LayoutFolder or LayoutPack
	Train  *Split
	Test   *Split
}

// ByClass returns, for each dense class, the indices into s.Images of its images, ascending.
func (s *Split) ByClass() [][]int {
	out := make([][]int, len(s.Classes))
	for i, im := range s.Images {
		out[im.Class] = append(out[im.Class], i)
	}
	return out
}

// Labels returns the dense class of every image.
func (s *Split) Labels() []int32 {
	out := make([]int32, len(s.Images))
	for i, im := range s.Images {
		out[i] = int32(im.Class)
	}
	return out
}

// File returns the path of image i on this machine. In a pack no such file need exist.
func (s *Split) File(i int) string {
	return filepath.Join(s.Root, filepath.FromSlash(s.Images[i].Path))
}

// Open opens the set at path. layout is LayoutSOP, LayoutFolder, LayoutPack, or LayoutAuto (also "")
// to find out: a folder that holds train.pack and test.pack is a pack, whichever layout the files had
// that it was made of; one that holds Ebay_train.txt, or whose only such subfolder does, is SOP; any
// other with folders of images is one folder per class. Open reads the indexes and folder listings,
// not the images: Verify does that.
func Open(path, layout string) (*Set, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	if isPack(path) && (layout == LayoutSOP || layout == LayoutFolder) {
		layout = LayoutPack // a recipe names the layout of the files, and a pack delivers them alike
	}
	switch layout {
	case LayoutPack:
		return OpenPack(path)
	case LayoutSOP:
		root, err := findSOP(path)
		if err != nil {
			return nil, err
		}
		if root == "" {
			return nil, fmt.Errorf("dataset: %s holds no %s, nor does a folder in it; "+
				"give the folder Stanford_Online_Products or its parent", path, sopTrain)
		}
		return openSOP(root)
	case LayoutFolder:
		return openFolder(path)
	case LayoutAuto, "":
		if isPack(path) {
			return OpenPack(path)
		}
		root, err := findSOP(path)
		if err != nil {
			return nil, err
		}
		if root != "" {
			return openSOP(root)
		}
		return openFolder(path)
	}
	return nil, fmt.Errorf("dataset: unknown layout %q; use %s, %s, %s or %s",
		layout, LayoutAuto, LayoutSOP, LayoutFolder, LayoutPack)
}

// checkFolder says in one sentence why path cannot hold a set.
func checkFolder(path string) error {
	if path == "" {
		return errors.New("dataset: no path given; give the folder of the images")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("dataset: %s does not exist; give the folder that holds %s or one folder "+
			"per class, or make a set with `metrix data synth`", path, sopTrain)
	case err != nil:
		return fmt.Errorf("dataset: open %s: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("dataset: %s is a file, not a folder; unpack it if it is an archive and "+
			"give the folder", path)
	}
	return nil
}

// baseName names a set after its folder, also where path is "." or ends in "..".
func baseName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Base(path)
}
