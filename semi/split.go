package semi

import (
	"fmt"
	"math"
	"slices"

	"github.com/metrixml/metrix/internal/draw"
)

// Split says which images keep their label.
type Split struct {
	Classes    [][]int // labelled images of each class, ascending; no class is empty
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

// SplitLabels keeps labels for a fraction of each class; classes[c] lists the images of class c. Of n
// images, max(round(fraction n), min(least, n)) keep theirs, halves rounded up, drawn from (seed, c):
// the split does not depend on the order in which images are listed, and a larger fraction keeps all
// that a smaller one keeps. A class with least images or fewer is labelled whole, so that class
// numbers stay and a class has least-1 positives for an anchor where it can; sets of small classes
// thus keep more than the fraction (Labels tells). The fraction is in (0, 1] and least >= 1; least = 2
// is what losses of pairs need.
func SplitLabels(seed uint64, fraction float64, least int, classes [][]int) (Split, error) {
	if !(fraction > 0 && fraction <= 1) {
		return Split{}, fmt.Errorf("semi: the labelled fraction is %v; it must be above 0 and at most 1", fraction)
	}
	if least < 1 {
		return Split{}, fmt.Errorf("semi: at least %d labels per class asked for; it must be 1 or more, as a class without labels has no number", least)
	}
	s := Split{Classes: make([][]int, len(classes))}
	for c, images := range classes {
		n := len(images)
		if n == 0 {
			return Split{}, fmt.Errorf("semi: class %d has no images: leave it out", c)
		}
		kept := min(n, max(int(math.Floor(fraction*float64(n)+0.5)), least))
		sorted := slices.Sorted(slices.Values(images))
		for i, at := range draw.Of(seed, draw.LabelSplit, uint64(c)).Perm(n) {
			if i < kept {
				s.Classes[c] = append(s.Classes[c], sorted[at])
			} else {
				s.Unlabelled = append(s.Unlabelled, sorted[at])
			}
		}
		slices.Sort(s.Classes[c])
	}
	slices.Sort(s.Unlabelled)
	return s, nil
}
