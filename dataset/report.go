package dataset

import (
	"fmt"
	"io"
	"strings"
)

// maxNamed is how many things of a kind the text of a report names; the JSON names all.
const maxNamed = 20

// String returns the report as text for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s layout, %s)\n", r.Name, r.Layout, r.Root)
	r.Train.describe(&b, "train")
	r.Test.describe(&b, "test")
	list(&b, "classes in both splits; a test class must not be trained on", r.ClassesInBoth)
	r.describeDuplicates(&b)
	if r.Published != "" {
		list(&b, "differences from "+r.Published+" as published", r.Differences)
		if len(r.Differences) == 0 {
			fmt.Fprintf(&b, "the counts are those of %s\n", r.Published)
		}
	}
	if r.OK {
		b.WriteString("the set can be used\n")
	} else {
		b.WriteString("the set cannot be used as it is: mend the missing and unreadable files and the " +
			"classes in both splits\n")
	}
	return b.String()
}

// WriteTo writes the text of String.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.String())
	return int64(n), err
}

func (s *SplitReport) describe(b *strings.Builder, name string) {
	fmt.Fprintf(b, "%-6s %d classes, %d images, %s; %d to %d images a class, %.2f on average\n", name+":",
		s.Classes, s.Images, byteCount(s.Bytes), s.PerClass.Min, s.PerClass.Max, s.PerClass.Mean)
	describeQueries(b, s.Query, s.Gallery)
	list(b, "missing files", s.Missing)
	bad := make([]string, len(s.Unreadable))
	for i, f := range s.Unreadable {
		bad[i] = f.Path + ": " + f.Reason
	}
	list(b, "unreadable files", bad)
	list(b, "classes with a single image, which have no positive pair", s.Single)
}

func (r *Report) describeDuplicates(b *strings.Builder) {
	lines := make([]string, len(r.Duplicates))
	splits := 0
	for i, d := range r.Duplicates {
		names := make([]string, len(d.Files))
		for k, f := range d.Files {
			names[k] = f.Split + " " + f.Path
		}
		lines[i] = strings.Join(names, " = ")
		if d.AcrossSplits {
			splits++
		}
	}
	list(b, fmt.Sprintf("groups of files with equal content, %d of them across the splits", splits), lines)
}

// describeQueries says how a split is divided for the test, if it is.
func describeQueries(b *strings.Builder, query, gallery *Count) {
	if query != nil && gallery != nil {
		fmt.Fprintf(b, "  %d queries of %d classes, %d images of %d classes in the gallery\n",
			query.Images, query.Classes, gallery.Images, gallery.Classes)
	}
}

// list writes "  N what:" and the items below it, or nothing if there are none.
func list(b *strings.Builder, what string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "  %d %s:\n", len(items), what)
	for i, item := range items {
		if i == maxNamed {
			fmt.Fprintf(b, "    and %d more, which the JSON report names\n", len(items)-i)
			break
		}
		fmt.Fprintf(b, "    %s\n", item)
	}
}

// byteCount writes n with a unit people read.
func byteCount(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
}
