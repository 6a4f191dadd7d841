package dataset

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Info describes a set without decoding its images.
type Info struct {
	Name   string    `json:"name"`
	Root   string    `json:"root"`
	Layout string    `json:"layout"`
	Train  SplitInfo `json:"train"`
	Test   SplitInfo `json:"test"`
}

// SplitInfo describes a split.
type SplitInfo struct {
	Classes   int    `json:"classes"`
	Supers    int    `json:"super_classes"`
	Images    int    `json:"images"`
	Query     *Count `json:"query,omitempty"`   // where the split tells queries from the gallery
	Gallery   *Count `json:"gallery,omitempty"` // likewise
	Missing   int    `json:"missing"`           // files that are not there; Verify names them
	Bytes     int64  `json:"bytes"`
	PerClass  Spread `json:"images_per_class"`
	Histogram []Bin  `json:"histogram"` // ascending in Images
	Sampled   int    `json:"sampled"`   // images whose header was read for Width and Height
	Width     Spread `json:"width"`
	Height    Spread `json:"height"`
}

// Bin says that Classes classes have Images images.
type Bin struct {
	Images  int `json:"images"`
	Classes int `json:"classes"`
}

// Describe counts what the set holds. It asks the size of every file, and reads the headers of at
// most 512 evenly spaced images of each split for their width and height. The error is only that
// ctx ended.
func Describe(ctx context.Context, set *Set) (*Info, error) {
	info := &Info{Name: set.Name, Root: set.Root, Layout: set.Layout}
	for _, s := range []struct {
		split *Split
		dst   *SplitInfo
	}{{set.Train, &info.Train}, {set.Test, &info.Test}} {
		var err error
		if *s.dst, err = describeSplit(ctx, s.split); err != nil {
			return nil, fmt.Errorf("dataset: describe %s: %w", set.Root, err)
		}
	}
	return info, nil
}

const maxSampled = 512

func describeSplit(ctx context.Context, s *Split) (SplitInfo, error) {
	counts := classCounts(s)
	info := SplitInfo{Classes: len(s.Classes), Images: len(s.Images), PerClass: spread(counts),
		Histogram: histogram(counts)}
	info.Query, info.Gallery = s.queryCounts()
	supers := map[int]bool{}
	for _, im := range s.Images {
		supers[im.Super] = true
	}
	info.Supers = len(supers)
	sizes := make([]int64, len(s.Images)) // -1: missing
	every := max(1, (len(s.Images)+maxSampled-1)/maxSampled)
	widths, heights := make([]int, len(s.Images)), make([]int, len(s.Images))
	err := parallel(ctx, runtime.GOMAXPROCS(0), len(s.Images), nil, func(i int) error {
		if s.pack != nil {
			r := s.pack.records[i]
			sizes[i], widths[i], heights[i] = r.bytes(), r.w, r.h
			return nil
		}
		sizes[i] = fileSize(s.File(i))
		if i%every == 0 && sizes[i] >= 0 {
			widths[i], heights[i] = headerSize(s.File(i))
		}
		return nil
	})
	if err != nil {
		return info, err
	}
	for _, n := range sizes {
		if n < 0 {
			info.Missing++
		} else {
			info.Bytes += n
		}
	}
	zero := func(v int) bool { return v == 0 }
	widths, heights = slices.DeleteFunc(widths, zero), slices.DeleteFunc(heights, zero)
	info.Sampled, info.Width, info.Height = len(widths), spread(widths), spread(heights)
	return info, nil
}

func histogram(counts []int) []Bin {
	classes := map[int]int{}
	for _, n := range counts {
		classes[n]++
	}
	bins := []Bin{}
	for _, n := range slices.Sorted(maps.Keys(classes)) {
		bins = append(bins, Bin{n, classes[n]})
	}
	return bins
}

// fileSize returns -1 for a file that is not there.
func fileSize(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return -1
	}
	return info.Size()
}

// headerSize returns 0, 0 for a file that is no image.
func headerSize(file string) (w, h int) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<18)) // a JPEG may begin with a large thumbnail
	if err != nil {
		return 0, 0
	}
	p, err := dimensions(head)
	if err != nil {
		return 0, 0
	}
	return p.X, p.Y
}

// String returns the description as text for people, with a bar for each number of images a class.
func (i *Info) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s layout, %s)\n", i.Name, i.Layout, i.Root)
	i.Train.describe(&b, "train")
	i.Test.describe(&b, "test")
	return b.String()
}

// WriteTo writes the text of String.
func (i *Info) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, i.String())
	return int64(n), err
}

func (s *SplitInfo) describe(b *strings.Builder, name string) {
	fmt.Fprintf(b, "%-6s %d classes of %d super classes, %d images, %s\n", name+":", s.Classes, s.Supers,
		s.Images, byteCount(s.Bytes))
	describeQueries(b, s.Query, s.Gallery)
	if s.Missing > 0 {
		fmt.Fprintf(b, "  %d files are missing; `metrix data verify` names them\n", s.Missing)
	}
	if s.Sampled > 0 {
		fmt.Fprintf(b, "  %d to %d pixels wide, %d to %d high (%d images looked at)\n", s.Width.Min,
			s.Width.Max, s.Height.Min, s.Height.Max, s.Sampled)
	}
	fmt.Fprintf(b, "  %d to %d images a class, %.2f on average:\n", s.PerClass.Min, s.PerClass.Max,
		s.PerClass.Mean)
	most := 1
	for _, bin := range s.Histogram {
		most = max(most, bin.Classes)
	}
	for _, bin := range s.Histogram {
		bar := strings.Repeat("#", max(1, 40*bin.Classes/most))
		fmt.Fprintf(b, "  %5d images: %5d classes %s\n", bin.Images, bin.Classes, bar)
	}
}
