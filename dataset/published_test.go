package dataset

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// counted returns a split with the given counts and no files.
func counted(c Count, queries int) *Split {
	s := &Split{QueryImages: queries, Classes: make([]string, c.Classes), Images: make([]Image, c.Images)}
	for i := range s.Classes {
		s.Classes[i] = strconv.Itoa(i)
	}
	for i := range s.Images {
		s.Images[i].Class = i % c.Classes
	}
	return s
}

// The counts that the issue and the papers give for each set.
func TestPublishedCounts(t *testing.T) {
	want := map[string][4]Count{
		LayoutSOP:    {{59551, 11318}, {60502, 11316}},
		LayoutCUB:    {{5864, 100}, {5924, 100}},
		LayoutCars:   {{8054, 98}, {8131, 98}},
		LayoutInShop: {{25882, 3997}, {26830, 3985}, {14218, 3985}, {12612, 3985}},
	}
	for layout, c := range want {
		p, err := PublishedCounts(layout)
		require.NoError(t, err)
		require.Equal(t, c, [4]Count{p.Train, p.Test, p.Query, p.Gallery})
		set := &Set{Train: counted(p.Train, 0), Test: counted(p.Test, p.Query.Images)}
		require.Empty(t, p.Differences(set))
	}
	_, err := PublishedCounts("folder")
	require.EqualError(t, err, `dataset: "folder" is no published set whose counts are known; use sop, cub, cars, inshop`)
}

func TestDifferencesAreSentences(t *testing.T) {
	cub, err := PublishedCounts(LayoutCUB)
	require.NoError(t, err)
	require.Equal(t, []string{
		"train has 5863 images, 1 fewer than the 5864 of CUB-200-2011",
		"test has 101 classes, 1 more than the 100 of CUB-200-2011",
	}, cub.Differences(&Set{Train: counted(Count{5863, 100}, 0), Test: counted(Count{5924, 101}, 0)}))
	require.Equal(t, []string{"test tells queries from a gallery, and CUB-200-2011 does not"},
		cub.Differences(&Set{Train: counted(cub.Train, 0), Test: counted(cub.Test, 7)}))
	shop, err := PublishedCounts(LayoutInShop)
	require.NoError(t, err)
	require.Equal(t, []string{"test does not tell queries from the gallery, as In-Shop Clothes Retrieval does; open it with layout inshop"},
		shop.Differences(&Set{Train: counted(shop.Train, 0), Test: counted(shop.Test, 0)}))
	require.Equal(t, []string{
		"query has 14217 images, 1 fewer than the 14218 of In-Shop Clothes Retrieval",
		"gallery has 12613 images, 1 more than the 12612 of In-Shop Clothes Retrieval",
	}, shop.Differences(&Set{Train: counted(shop.Train, 0), Test: counted(shop.Test, 14217)}))
}

func TestVerifyAsAPublishedSet(t *testing.T) {
	set, err := Open(fixture(t, LayoutCUB), LayoutAuto)
	require.NoError(t, err)
	r, err := Verify(t.Context(), set, VerifyOptions{As: LayoutCUB})
	require.NoError(t, err)
	require.True(t, r.OK, "it can be used although it is not the published set")
	require.Equal(t, "CUB-200-2011", r.Published)
	require.Len(t, r.Differences, 4)
	require.Contains(t, r.String(), "4 differences from CUB-200-2011 as published:\n    train has ")
	_, err = Verify(t.Context(), set, VerifyOptions{As: "coco"})
	require.ErrorContains(t, err, `"coco" is no published set`)
}
