package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// VerifyOptions tune Verify. The zero value is usable.
type VerifyOptions struct {
	Limits   Limits
	Threads  int                   // images decoded at a time; 0 means all cores
	Progress func(done, total int) // may be nil; called by one goroutine at a time
	// As, if not "", names the published layout whose counts the set is compared with (PublishedCounts).
	As string
}

// Report is what Verify found. Its zero lists mean that nothing was.
type Report struct {
	Name   string `json:"name"`
	Root   string `json:"root"`
	Layout string `json:"layout"`
	// OK says that training and evaluation can use the set as it is: nothing is missing or
	// unreadable, and no class is in both splits. Single images and duplicates are only reported.
	OK            bool        `json:"ok"`
	Train         SplitReport `json:"train"`
	Test          SplitReport `json:"test"`
	ClassesInBoth []string    `json:"classes_in_both"` // names, sorted
	Duplicates    []Duplicate `json:"duplicates"`      // in the order of their first file
	// Published is the name of the set that counts were compared with, "" for none; Differences has
	// one sentence for each that is not as published.
	Published   string   `json:"published,omitempty"`
	Differences []string `json:"differences"`
}

// SplitReport is what Verify found in one split. Lists are in the order of the index.
type SplitReport struct {
	Classes    int       `json:"classes"`
	Images     int       `json:"images"`
	Query      *Count    `json:"query,omitempty"`   // where the split tells queries from the gallery
	Gallery    *Count    `json:"gallery,omitempty"` // likewise
	Bytes      int64     `json:"bytes"`             // of the files that could be read
	PerClass   Spread    `json:"images_per_class"`
	Single     []string  `json:"single_image_classes"` // classes with one image: no positive pair
	Missing    []string  `json:"missing"`              // paths relative to the split's root
	Unreadable []BadFile `json:"unreadable"`
}

// BadFile is a file that is there but cannot be used.
type BadFile struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Duplicate is a group of files with equal bytes.
type Duplicate struct {
	SHA256       string    `json:"sha256"`
	Files        []FileRef `json:"files"`
	AcrossSplits bool      `json:"across_splits"` // training has seen a test image
	AcrossClass  bool      `json:"across_classes"`
}

// FileRef names one image of a set.
type FileRef struct {
	Split string `json:"split"` // "train" or "test"
	Class string `json:"class"`
	Path  string `json:"path"`
}

// Spread sums up a list of counts.
type Spread struct {
	Min  int     `json:"min"`
	Mean float64 `json:"mean"`
	Max  int     `json:"max"`
}

// Verify reads and decodes every image of the set; of a pack, it compares the pixels with their
// checksums, and duplicates are found by the files they came from. What is wrong with the set is in the report; the
// error is only that ctx ended, or that opt.As names no published set.
func Verify(ctx context.Context, set *Set, opt VerifyOptions) (*Report, error) {
	differences := []string{}
	var published Published
	if opt.As != "" {
		var err error
		if published, err = PublishedCounts(opt.As); err != nil {
			return nil, err
		}
		differences = published.Differences(set)
	}
	threads := opt.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	total := len(set.Train.Images) + len(set.Test.Images)
	checks := make([]check, total)
	split := func(i int) (*Split, int) {
		if n := len(set.Train.Images); i >= n {
			return set.Test, i - n
		}
		return set.Train, i
	}
	err := parallel(ctx, threads, total, opt.Progress, func(i int) error {
		s, k := split(i)
		if s.pack != nil {
			checks[i] = s.pack.check(k)
		} else {
			checks[i] = checkFile(s.File(k), opt.Limits)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("dataset: verify %s: %w", set.Root, err)
	}
	n := len(set.Train.Images)
	r := &Report{
		Name: set.Name, Root: set.Root, Layout: set.Layout,
		Train:         reportSplit(set.Train, checks[:n]),
		Test:          reportSplit(set.Test, checks[n:]),
		ClassesInBoth: classesInBoth(set),
		Duplicates:    duplicates(set, checks),
		Published:     published.Name,
		Differences:   differences,
	}
	r.OK = r.Train.usable() && r.Test.usable() && len(r.ClassesInBoth) == 0
	return r, nil
}

func (s *SplitReport) usable() bool { return len(s.Missing) == 0 && len(s.Unreadable) == 0 }

// check is the outcome for one file.
type check struct {
	bytes   int64
	sum     [sha256.Size]byte // valid if read
	read    bool
	missing bool
	reason  string // why it cannot be used; "" if it can
}

func checkFile(file string, l Limits) check {
	data, err := readFile(file, l)
	if err != nil {
		return check{missing: errors.Is(err, fs.ErrNotExist), reason: err.Error()}
	}
	c := check{bytes: int64(len(data)), sum: sha256.Sum256(data), read: true}
	if _, err := DecodeBytes(data, l); err != nil {
		c.reason = err.Error()
	}
	return c
}

func reportSplit(s *Split, checks []check) SplitReport {
	r := SplitReport{Classes: len(s.Classes), Images: len(s.Images), Single: []string{},
		Missing: []string{}, Unreadable: []BadFile{}}
	for i, c := range checks {
		r.Bytes += c.bytes
		switch {
		case c.missing:
			r.Missing = append(r.Missing, s.Images[i].Path)
		case c.reason != "":
			r.Unreadable = append(r.Unreadable, BadFile{s.Images[i].Path, c.reason})
		}
	}
	r.Query, r.Gallery = s.queryCounts()
	counts := classCounts(s)
	r.PerClass = spread(counts)
	for c, n := range counts {
		if n == 1 {
			r.Single = append(r.Single, s.Classes[c])
		}
	}
	return r
}

// classCounts returns the number of images of each dense class.
func classCounts(s *Split) []int {
	counts := make([]int, len(s.Classes))
	for _, im := range s.Images {
		counts[im.Class]++
	}
	return counts
}

func spread(counts []int) Spread {
	if len(counts) == 0 {
		return Spread{}
	}
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return Spread{slices.Min(counts), float64(sum) / float64(len(counts)), slices.Max(counts)}
}

func classesInBoth(set *Set) []string {
	train := map[string]bool{}
	for _, name := range set.Train.Classes {
		train[name] = true
	}
	both := map[string]bool{}
	for _, name := range set.Test.Classes {
		if train[name] {
			both[name] = true
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(both))...)
}

// duplicates groups files by content. checks holds the training split, then the test split.
func duplicates(set *Set, checks []check) []Duplicate {
	var order [][sha256.Size]byte
	groups := map[[sha256.Size]byte][]FileRef{}
	n := len(set.Train.Images)
	for i, c := range checks {
		if !c.read {
			continue
		}
		s, k, name := set.Train, i, "train"
		if i >= n {
			s, k, name = set.Test, i-n, "test"
		}
		if groups[c.sum] == nil {
			order = append(order, c.sum)
		}
		im := s.Images[k]
		groups[c.sum] = append(groups[c.sum], FileRef{name, s.Classes[im.Class], im.Path})
	}
	out := []Duplicate{}
	for _, sum := range order {
		files := groups[sum]
		if len(files) < 2 {
			continue
		}
		d := Duplicate{SHA256: hex.EncodeToString(sum[:]), Files: files}
		for _, f := range files[1:] {
			d.AcrossSplits = d.AcrossSplits || f.Split != files[0].Split
			d.AcrossClass = d.AcrossClass || f.Class != files[0].Class
		}
		out = append(out, d)
	}
	return out
}

// parallel calls work(0..n-1) from threads goroutines and waits for them; the first error, or the
// end of ctx, stops the rest.
func parallel(ctx context.Context, threads, n int, progress func(done, total int), work func(i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var (
		mu         sync.Mutex
		next, done int
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	finish := func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		if progress != nil {
			progress(done, n)
		}
	}
	for range min(threads, n) {
		g.Go(func() error {
			for i := take(); i < n; i = take() {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := work(i); err != nil {
					return err
				}
				finish()
			}
			return nil
		})
	}
	return g.Wait()
}
