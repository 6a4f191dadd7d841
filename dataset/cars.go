package dataset

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/metrixml/metrix/dataset/internal/matfile"
)

// The layout of Cars196: cars_annos.mat, a MATLAB index of all images in its variables annotations
// (a struct array with relative_im_path and class, 1 to 196) and class_names, and the images under
// car_ims/. Its split for classification, the field test, is of no use here. Where the images were
// sorted into one folder per class under car_ims/, no index is needed.
//
// The same images also came as a development kit with another numbering of the files: cars_train/ and
// cars_test/, each with an index that has fname and class.
const (
	carsIndex  = "cars_annos.mat"
	carsFolder = "car_ims"
)

// carsPart is one index of the development kit.
type carsPart struct {
	index  []string // where it may lie, relative to the root
	folder string   // of the images
}

func carsKit() []carsPart {
	return []carsPart{
		{[]string{"devkit/cars_train_annos.mat", "cars_train_annos.mat"}, "cars_train"},
		{[]string{"cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"}, "cars_test"},
	}
}

func hasCars(dir string) bool {
	return isFile(filepath.Join(dir, carsIndex)) || isFolder(filepath.Join(dir, carsFolder)) == 1 ||
		isFolder(filepath.Join(dir, "cars_train")) == 1
}

func openCars(root string) (*Set, error) {
	set := &Set{Name: baseName(root), Root: root, Layout: LayoutCars}
	if file := filepath.Join(root, carsIndex); isFile(file) {
		entries, names, err := readCars(file, "relative_im_path", "")
		if err != nil {
			return nil, err
		}
		return set, set.halve(root, entries, names)
	}
	if isFolder(filepath.Join(root, "cars_train")) == 1 {
		return set, set.openKit(root)
	}
	return set, set.openSorted(filepath.Join(root, carsFolder))
}

// openKit opens the development kit: all images of both folders, split by class.
func (s *Set) openKit(root string) error {
	var all []entry
	for _, part := range carsKit() {
		file := filepath.Join(root, filepath.FromSlash(part.index[0]))
		if other := filepath.Join(root, filepath.FromSlash(part.index[1])); !isFile(file) && isFile(other) {
			file = other
		}
		entries, _, err := readCars(file, "fname", part.folder)
		if err != nil {
			return err
		}
		for i := range entries {
			entries[i].id += int64(len(all))
		}
		all = append(all, entries...)
	}
	var names map[int64]string
	if file := filepath.Join(root, "devkit", "cars_meta.mat"); isFile(file) {
		vars, err := readMat(file)
		if err != nil {
			return err
		}
		if names, err = carsNames(vars); err != nil {
			return fmt.Errorf("dataset: read %s: %w", file, err)
		}
	}
	return s.halve(root, all, names)
}

// openSorted opens one folder per class; the first half of the sorted names trains.
func (s *Set) openSorted(dir string) error {
	classes, err := listClasses(dir)
	if err != nil {
		return err
	}
	if len(classes) < 2 {
		return fmt.Errorf("dataset: %s is missing, and %s is not sorted into one folder per class; put the "+
			"index beside %s", filepath.Join(s.Root, carsIndex), dir, carsFolder)
	}
	half := (len(classes) + 1) / 2
	s.Train = folderSplit(dir, classes[:half], 1)
	s.Test = folderSplit(dir, classes[half:], 1+int64(len(s.Train.Images)))
	return nil
}

// readMat reads the variables of a MATLAB file by their names.
func readMat(file string) (map[string]*matfile.Array, error) {
	f, err := openIndexFile(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := matfile.Read(f)
	if err != nil {
		return nil, fmt.Errorf("dataset: read %s: %w", file, err)
	}
	vars := map[string]*matfile.Array{}
	for _, v := range list {
		vars[v.Name] = v
	}
	return vars, nil
}

// readCars reads an index: entries numbered from 1, whose paths are the given field below folder, and
// the names of the classes where the index has them.
func readCars(file, field, folder string) ([]entry, map[int64]string, error) {
	vars, err := readMat(file)
	if err != nil {
		return nil, nil, err
	}
	list := vars["annotations"]
	if list == nil || list.Kind != matfile.Struct || list.Len() == 0 {
		return nil, nil, fmt.Errorf("dataset: read %s: it has no struct array named annotations; it is not an index of Cars196", file)
	}
	entries := make([]entry, list.Len())
	seen := make(map[string]int, list.Len())
	for i := range entries {
		e, err := readCar(list, i, field, folder)
		if err == nil && seen[e.path] > 0 {
			err = fmt.Errorf("image %q is annotation %d already", e.path, seen[e.path])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("dataset: read %s: annotation %d: %w", file, i+1, err)
		}
		seen[e.path] = i + 1
		entries[i] = e
	}
	names, err := carsNames(vars)
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: read %s: %w", file, err)
	}
	return entries, names, nil
}

func readCar(list *matfile.Array, i int, field, folder string) (entry, error) {
	name, err := list.Field(i, field)
	if err != nil {
		return entry{}, err
	}
	class, err := list.Field(i, "class")
	if err != nil {
		return entry{}, err
	}
	e := entry{id: int64(i + 1)}
	if e.path, err = name.Line(); err != nil {
		return e, fmt.Errorf("%s: %w", field, err)
	}
	if err := checkPath(e.path); err != nil {
		return e, err
	}
	e.path = path.Join(folder, e.path)
	if e.class, err = class.Int(); err != nil {
		return e, fmt.Errorf("class: %w", err)
	}
	if e.class < 1 {
		return e, fmt.Errorf("class is %d; it must be 1 or more", e.class)
	}
	return e, nil
}

// carsNames returns the names of the classes from 1 on, or nil if there is no such variable.
func carsNames(vars map[string]*matfile.Array) (map[int64]string, error) {
	list := vars["class_names"]
	if list == nil || list.Kind != matfile.Cell {
		return nil, nil
	}
	names := map[int64]string{}
	for i, cell := range list.Elements {
		name, err := cell.Line()
		if err != nil {
			return nil, fmt.Errorf("class name %d: %w", i+1, err)
		}
		names[int64(i+1)] = name
	}
	return names, nil
}
