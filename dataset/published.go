package dataset

import (
	"fmt"
	"strings"
)

// Count is a number of images and of the classes they have.
type Count struct {
	Images  int `json:"images"`
	Classes int `json:"classes"`
}

// Published are the counts of a set as papers on metric learning give them.
type Published struct {
	Layout      string
	Name        string
	Train, Test Count
	Query       Count // of the test split, where queries are told from the gallery; else zero
	Gallery     Count
}

// published returns the sets whose counts are known. The test split of In-Shop is the sum of queries
// and gallery, which share their classes.
func published() []Published {
	return []Published{
		{Layout: LayoutSOP, Name: "Stanford Online Products", Train: Count{59551, 11318}, Test: Count{60502, 11316}},
		{Layout: LayoutCUB, Name: "CUB-200-2011", Train: Count{5864, 100}, Test: Count{5924, 100}},
		{Layout: LayoutCars, Name: "Cars196", Train: Count{8054, 98}, Test: Count{8131, 98}},
		{Layout: LayoutInShop, Name: "In-Shop Clothes Retrieval", Train: Count{25882, 3997}, Test: Count{14218 + 12612, 3985},
			Query: Count{14218, 3985}, Gallery: Count{12612, 3985}},
	}
}

// PublishedCounts returns the counts of the set with the given layout: LayoutSOP, LayoutCUB,
// LayoutCars or LayoutInShop.
func PublishedCounts(layout string) (Published, error) {
	var names []string
	for _, p := range published() {
		if p.Layout == layout {
			return p, nil
		}
		names = append(names, p.Layout)
	}
	return Published{}, fmt.Errorf("dataset: %q is no published set whose counts are known; use %s", layout, strings.Join(names, ", "))
}

// Differences returns a sentence for each count of the set that is not as published.
func (p Published) Differences(set *Set) []string {
	out := []string{}
	compare := func(part string, got, want Count) {
		for _, c := range []struct {
			what      string
			got, want int
		}{{"images", got.Images, want.Images}, {"classes", got.Classes, want.Classes}} {
			if d := c.got - c.want; d > 0 {
				out = append(out, fmt.Sprintf("%s has %d %s, %d more than the %d of %s", part, c.got, c.what, d, c.want, p.Name))
			} else if d < 0 {
				out = append(out, fmt.Sprintf("%s has %d %s, %d fewer than the %d of %s", part, c.got, c.what, -d, c.want, p.Name))
			}
		}
	}
	compare("train", Count{len(set.Train.Images), len(set.Train.Classes)}, p.Train)
	query, gallery := set.Test.queryCounts()
	divided := query != nil
	switch published := p.Query != (Count{}); {
	case published && divided:
		compare("query", *query, p.Query)
		compare("gallery", *gallery, p.Gallery)
		return out
	case published:
		out = append(out, fmt.Sprintf("test does not tell queries from the gallery, as %s does; open it with layout %s", p.Name, p.Layout))
	case divided:
		out = append(out, fmt.Sprintf("test tells queries from a gallery, and %s does not", p.Name))
	}
	compare("test", Count{len(set.Test.Images), len(set.Test.Classes)}, p.Test)
	return out
}
