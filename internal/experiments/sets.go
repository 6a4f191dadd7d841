package experiments

import "github.com/metrixml/metrix/dataset"

// Set is a data set of the experiments.
type Set struct {
	Folder string // below recipes/
	Name   string
	Layout string // of the published files
	Data   string // folder that the command names
	Files  string // what lies in it
	Recall string // K of Recall@K, as the field reports them for this set
}

// Sets returns the sets in the order of the paper's interest.
func Sets() []Set {
	return []Set{
		{Folder: "sop", Name: "Stanford Online Products (SOP)", Layout: dataset.LayoutSOP, Data: "Stanford_Online_Products",
			Files: "Ebay_train.txt, Ebay_test.txt and the images", Recall: "[1, 10, 100, 1000]"},
		{Folder: "inshop", Name: "In-Shop Clothes Retrieval (In-Shop)", Layout: dataset.LayoutInShop, Data: "In-shop",
			Files: "Eval/list_eval_partition.txt and Img/img", Recall: "[1, 10, 20, 30, 40]"},
		{Folder: "cub", Name: "CUB-200-2011 (CUB)", Layout: dataset.LayoutCUB, Data: "CUB_200_2011",
			Files: "images.txt, image_class_labels.txt and images", Recall: "[1, 2, 4, 8]"},
		{Folder: "cars", Name: "Cars196 (Cars)", Layout: dataset.LayoutCars, Data: "Cars196",
			Files: "cars_annos.mat and car_ims", Recall: "[1, 2, 4, 8]"},
	}
}

// SetOf returns the set of a folder below recipes/.
func SetOf(folder string) (Set, bool) {
	for _, s := range Sets() {
		if s.Folder == folder {
			return s, true
		}
	}
	return Set{}, false
}

// counts are those of the set as published.
func (s Set) counts() dataset.Published {
	p, err := dataset.PublishedCounts(s.Layout)
	if err != nil { // the table above names published layouts only
		panic("experiments: " + err.Error())
	}
	return p
}

// stepsPerEpoch is what the sampler makes of a batch of classes x images rows in shards: every class
// once a pass, and as many passes as it takes to see about every image once.
func (s Set) stepsPerEpoch(classes, images, shards int) int {
	train := s.counts().Train
	passes := max(1, (2*train.Images+train.Classes*images)/(2*train.Classes*images))
	return passes * ceil(ceil(train.Classes, shards), classes/shards)
}

func ceil(a, b int) int { return (a + b - 1) / b }
