package dataset

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The layout of the In-Shop Clothes Retrieval Benchmark of DeepFashion: an index whose first line is
// the number of images, whose second is a header, and whose others are "image_name item_id
// evaluation_status", the last being train, query or gallery. Image names begin with img/.
const (
	inShopFolder = "In-shop Clothes Retrieval Benchmark"
	inShopIndex  = "list_eval_partition.txt"
	inShopHeader = "image_name item_id evaluation_status"
	inShopImages = "img"
)

// inShopIndexes are where the index may lie: in the published folder, or beside the images.
func inShopIndexes(root string) []string {
	return []string{
		filepath.Join(root, "Eval", inShopIndex), filepath.Join(root, inShopIndex),
		filepath.Join(root, "Anno", inShopIndex),
	}
}

func hasInShop(dir string) bool { return slices.ContainsFunc(inShopIndexes(dir), isFile) }

// item is one line of the index.
type item struct{ path, class, status string }

// openInShop puts the queries at the head of the test split and the gallery behind them; both share
// their dense classes.
func openInShop(root string) (*Set, error) {
	indexes := inShopIndexes(root)
	items, err := parseInShop(indexes[slices.IndexFunc(indexes, isFile)])
	if err != nil {
		return nil, err
	}
	var parts [3][]item // train, query, gallery
	for _, it := range items {
		k := slices.Index(inShopParts(), it.status)
		parts[k] = append(parts[k], it)
	}
	for k, name := range inShopParts() {
		if len(parts[k]) == 0 {
			return nil, fmt.Errorf("dataset: %s in %s lists no image as %s; unpack the whole archive again", inShopIndex, root, name)
		}
	}
	images, err := inShopRoot(root)
	if err != nil {
		return nil, err
	}
	supers := inShopSupers(items)
	set := &Set{Name: baseName(root), Root: root, Layout: LayoutInShop}
	set.Train = inShopSplit(images, parts[0], 1, supers)
	set.Test = inShopSplit(images, slices.Concat(parts[1], parts[2]), 1+int64(len(parts[0])), supers)
	set.Test.QueryImages = len(parts[1])
	return set, nil
}

func inShopParts() []string { return []string{"train", "query", "gallery"} }

// inShopRoot returns the folder in which img lies: Img as published, or the root itself.
func inShopRoot(root string) (string, error) {
	for _, dir := range []string{filepath.Join(root, "Img"), root} {
		if isFolder(filepath.Join(dir, inShopImages)) == 1 {
			return dir, nil
		}
	}
	return "", fmt.Errorf("dataset: %s holds neither Img/%s nor %s; unpack img.zip in its folder Img", root, inShopImages, inShopImages)
}

func parseInShop(file string) ([]item, error) {
	var (
		items []item
		total int64
		seen  = map[string]bool{}
		line  int
	)
	err := readLinesOf(file, func(text string) (err error) {
		line++
		switch line {
		case 1:
			var rest string
			if total, rest, err = cutNumber(text, "number of images"); err == nil && rest != "" {
				err = fmt.Errorf("the first line is %q; it must be the number of images", clip(text))
			}
			return err
		case 2:
			if strings.Join(strings.Fields(text), " ") != inShopHeader {
				return fmt.Errorf("the second line is %q; it must be the header %q", clip(text), inShopHeader)
			}
			return nil
		}
		it, err := parseItem(text)
		if err == nil && seen[it.path] {
			err = fmt.Errorf("image %q is there already; an image has one line", clip(it.path))
		}
		seen[it.path] = true
		items = append(items, it)
		return err
	})
	if err == nil && int64(len(items)) != total {
		err = fmt.Errorf("dataset: %s lists %d images and says that it lists %d; unpack the whole archive again", file, len(items), total)
	}
	return items, err
}

func parseItem(text string) (item, error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return item{}, fmt.Errorf("the line has %d words; it must be %q", len(f), inShopHeader)
	}
	if !slices.Contains(inShopParts(), f[2]) {
		return item{}, fmt.Errorf("the evaluation status is %q; it must be %s", clip(f[2]), strings.Join(inShopParts(), ", "))
	}
	if !strings.HasPrefix(f[0], inShopImages+"/") {
		return item{}, fmt.Errorf("the image name is %q; it must begin with %s/", clip(f[0]), inShopImages)
	}
	return item{f[0], f[1], f[2]}, checkPath(f[0])
}

// category is the kind of clothes: WOMEN/Dresses of img/WOMEN/Dresses/id_00000002/02_1_front.jpg.
func (it item) category() string { return path.Dir(path.Dir(it.path)) }

// inShopSupers numbers the categories from 1, in ascending order of their names.
func inShopSupers(items []item) map[string]int {
	supers := map[string]int{}
	for _, it := range items {
		supers[it.category()] = 0
	}
	for i, name := range slices.Sorted(maps.Keys(supers)) {
		supers[name] = i + 1
	}
	return supers
}

// inShopSplit numbers classes in ascending order of their item ids, and images from firstID on.
func inShopSplit(root string, items []item, firstID int64, supers map[string]int) *Split {
	dense := map[string]int{}
	for _, it := range items {
		dense[it.class] = 0
	}
	s := &Split{Root: root, Classes: slices.Sorted(maps.Keys(dense)), Images: make([]Image, len(items))}
	for c, name := range s.Classes {
		dense[name] = c
	}
	for i, it := range items {
		s.Images[i] = Image{ID: firstID + int64(i), Path: it.path, Class: dense[it.class], Super: supers[it.category()]}
	}
	return s
}

// queryCounts returns how much the queries and the gallery hold, or nil where the split is not divided.
func (s *Split) queryCounts() (query, gallery *Count) {
	if s.QueryImages == 0 {
		return nil, nil
	}
	return countImages(s.Images[:s.QueryImages]), countImages(s.Images[s.QueryImages:])
}

func countImages(images []Image) *Count {
	classes := map[int]bool{}
	for _, im := range images {
		classes[im.Class] = true
	}
	return &Count{Images: len(images), Classes: len(classes)}
}
