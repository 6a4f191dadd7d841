package dataset

import "path/filepath"

// The layouts that Open understands.
const (
	LayoutAuto   = "auto"
	LayoutSOP    = "sop"    // Stanford Online Products
	LayoutCUB    = "cub"    // CUB-200-2011
	LayoutCars   = "cars"   // Cars196
	LayoutInShop = "inshop" // In-Shop Clothes Retrieval, of DeepFashion
	LayoutFolder = "folder"
	LayoutPack   = "pack" // made by Pack
)

// Image is one image of a split.
type Image struct {
	ID    int64  // unique within its split; in the SOP layout the image_id of the index
	Path  string // relative to Split.Root, with forward slashes
	Class int    // dense, 0..len(Split.Classes)-1
	Super int    // super class: as the index gives it, or numbered from 1; 0 where the layout has none
}

// Split is one half of a set. It is not changed after Open and is safe for concurrent use.
type Split struct {
	Root    string   // folder that image paths start from
	Images  []Image  // in the order of the index or, for folders, sorted by class and path
	Classes []string // name of each dense class: as the index or the folder has it, or its id in decimal

	// QueryImages, if not 0, says that the first so many Images are queries and all others the gallery
	// that they are compared with, as In-Shop is tested. 0: every image is compared with all others.
	QueryImages int

	store int    // see Delivery.Store
	turbo *turbo // decodes JPEG files; nil: Go does
	pack  *pack  // holds the pixels; nil: files do
}

// Set is an opened collection.
type Set struct {
	Name   string // base name of its root folder
	Root   string // folder that was found to hold the set
	Layout string // any of the layouts but LayoutAuto
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

// Queries returns the images [0, n) that are compared with the gallery.
func (s *Split) Queries() (n int) {
	if s.QueryImages > 0 {
		return s.QueryImages
	}
	return len(s.Images)
}

// Gallery returns the first of the images [first, len(s.Images)) that queries are compared with: 0
// where every image is compared with all others, and itself left out.
func (s *Split) Gallery() (first int) { return s.QueryImages }

// File returns the path of image i on this machine. In a pack no such file need exist.
func (s *Split) File(i int) string {
	return filepath.Join(s.Root, filepath.FromSlash(s.Images[i].Path))
}

// baseName names a set after its folder, also where path is "." or ends in "..".
func baseName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Base(path)
}
