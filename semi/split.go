package semi

import (
	"fmt"
	"math"
	"slices"

	"github.com/metrixml/metrix/internal/draw"
)

// Split says which images keep their label.
type Split struct {
	Classes    [][]int // labelled images of each class, ascending; a class may have none
	Unlabelled []int   // the others, ascending
}

// Labels returns the number of labelled images.
func (s Split) Labels() int {
	n := 0
	for _, c := range s.Classes {
		n += len(c)
	}
	return n
}

// SplitLabels keeps labels for round(fraction N) of the N images, halves rounded up; classes[c] lists
// the images of class c. They are spread over the classes as evenly as pairs allow:
//
//  1. Classes are drawn in an order. Each in turn gets max(floor(fraction n), least) labels for its n
//     images, or n if that is fewer, if as many are left.
//  2. What is left goes to these classes in the same order, one each, again and again, while they
//     have images.
//
// Where classes are large, all have their fraction, to one label. Where they are small a class with
// fewer than least labels would have no pairs, so some classes get least and the others none: of 200
// classes of 6 images, 10 % are 2 labels for each of 60 classes. Which images of a class are labelled
// is drawn from (seed, c): the split does not depend on the order in which images are listed.
//
// The fraction is in (0, 1] and least >= 1; losses of pairs need 2. It is an error if no class gets
// any label.
func SplitLabels(seed uint64, fraction float64, least int, classes [][]int) (Split, error) {
	images, err := checkSplit(fraction, least, classes)
	if err != nil {
		return Split{}, err
	}
	left := int(math.Floor(fraction*float64(images) + 0.5))
	kept := make([]int, len(classes))
	order := draw.Of(seed, draw.LabelSplit).Perm(len(classes))
	for _, c := range order {
		n := len(classes[c])
		if share := min(n, max(int(fraction*float64(n)), least)); share <= left {
			kept[c], left = share, left-share
		}
	}
	for given := true; given && left > 0; {
		given = false
		for _, c := range order {
			if left > 0 && kept[c] > 0 && kept[c] < len(classes[c]) {
				kept[c], left, given = kept[c]+1, left-1, true
			}
		}
	}
	s := label(seed, kept, classes)
	if s.Labels() == 0 {
		return Split{}, fmt.Errorf("semi: %v of %d images is too few for a class with %d labels; label a greater fraction", fraction, images, least)
	}
	return s, nil
}

// checkSplit returns the number of images.
func checkSplit(fraction float64, least int, classes [][]int) (images int, err error) {
	if !(fraction > 0 && fraction <= 1) {
		return 0, fmt.Errorf("semi: the labelled fraction is %v; it must be above 0 and at most 1", fraction)
	}
	if least < 1 {
		return 0, fmt.Errorf("semi: at least %d labels per labelled class asked for; it must be 1 or more", least)
	}
	for c, list := range classes {
		if len(list) == 0 {
			return 0, fmt.Errorf("semi: class %d has no images: leave it out", c)
		}
		images += len(list)
	}
	return images, nil
}

// label draws kept[c] images of each class.
func label(seed uint64, kept []int, classes [][]int) Split {
	s := Split{Classes: make([][]int, len(classes))}
	for c, images := range classes {
		sorted := slices.Sorted(slices.Values(images))
		for i, at := range draw.Of(seed, draw.LabelSplit, uint64(c)).Perm(len(sorted)) {
			if i < kept[c] {
				s.Classes[c] = append(s.Classes[c], sorted[at])
			} else {
				s.Unlabelled = append(s.Unlabelled, sorted[at])
			}
		}
		slices.Sort(s.Classes[c])
	}
	slices.Sort(s.Unlabelled)
	return s
}
