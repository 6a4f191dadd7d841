package dataset

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/metrixml/metrix/dataset/internal/matfile"
	"github.com/metrixml/metrix/dataset/internal/product"
)

// synthLayout lays out a synthetic set as a published one is.
type synthLayout struct {
	halves  bool                                                                  // the first half of the classes trains
	place   func(im synthImage, i int) string                                     // path of image i of the set, relative to its root
	indexes func(cfg SynthConfig, images []synthImage) (map[string][]byte, error) // files by their path
}

func synthLayoutOf(name string) (*synthLayout, error) {
	switch name {
	case LayoutSOP, "":
		return &synthLayout{place: placeSOP, indexes: indexSOP}, nil
	case LayoutCUB:
		return &synthLayout{halves: true, place: placeCUB, indexes: indexCUB}, nil
	case LayoutCars:
		return &synthLayout{halves: true, place: placeCars, indexes: indexCars}, nil
	case LayoutInShop:
		return &synthLayout{place: placeInShop, indexes: indexInShop}, nil
	}
	return nil, fmt.Errorf("synth: layout is %q; it must be %s, %s, %s or %s", name, LayoutSOP, LayoutCUB, LayoutCars, LayoutInShop)
}

// placeSOP follows SOP, whose folders are named "chair_final".
func placeSOP(im synthImage, _ int) string {
	return fmt.Sprintf("%s_final/%06d_%d.JPG", product.Kinds()[kindOf(im.class)], im.class, im.view)
}

func indexSOP(cfg SynthConfig, images []synthImage) (map[string][]byte, error) {
	train, test := bytes.NewBufferString(sopHeader+"\n"), bytes.NewBufferString(sopHeader+"\n")
	for i, im := range images {
		b := train
		if im.class > cfg.Classes {
			b = test
		}
		fmt.Fprintf(b, "%d %d %d %s\n", i+1, im.class, 1+kindOf(im.class), im.path)
	}
	return map[string][]byte{sopTrain: train.Bytes(), sopTest: test.Bytes()}, nil
}

// titleOf names a class after its kind, "Vase_13".
func titleOf(class int) string {
	kind := product.Kinds()[kindOf(class)]
	return fmt.Sprintf("%s%s_%d", strings.ToUpper(kind[:1]), kind[1:], class)
}

func cubClass(class int) string { return fmt.Sprintf("%03d.%s", class, titleOf(class)) }

func placeCUB(im synthImage, i int) string {
	return fmt.Sprintf("images/%s/%s_%04d_%d.jpg", cubClass(im.class), titleOf(im.class), im.view+1, i+1)
}

func indexCUB(cfg SynthConfig, images []synthImage) (map[string][]byte, error) {
	var paths, labels, parts, boxes, classes bytes.Buffer
	for i, im := range images {
		fmt.Fprintf(&paths, "%d %s\n", i+1, strings.TrimPrefix(im.path, "images/"))
		fmt.Fprintf(&labels, "%d %d\n", i+1, im.class)
		fmt.Fprintf(&parts, "%d %d\n", i+1, 1-im.view%2)
		fmt.Fprintf(&boxes, "%d 0.0 0.0 %d.0 %d.0\n", i+1, cfg.Side, cfg.Side)
	}
	for class := 1; class <= cfg.Classes+cfg.TestClasses; class++ {
		fmt.Fprintf(&classes, "%d %s\n", class, cubClass(class))
	}
	return map[string][]byte{
		cubImages: paths.Bytes(), cubLabels: labels.Bytes(), cubClasses: classes.Bytes(),
		"train_test_split.txt": parts.Bytes(), "bounding_boxes.txt": boxes.Bytes(),
	}, nil
}

func placeCars(_ synthImage, i int) string { return fmt.Sprintf("%s/%06d.jpg", carsFolder, i+1) }

func indexCars(cfg SynthConfig, images []synthImage) (map[string][]byte, error) {
	number := func(v int) *matfile.Array { return matfile.NewNumber(float64(v)) }
	var cells, names []*matfile.Array
	for _, im := range images {
		cells = append(cells, matfile.NewText(im.path), number(1), number(1), number(cfg.Side), number(cfg.Side),
			number(im.class), number(im.view%2))
	}
	for class := 1; class <= cfg.Classes+cfg.TestClasses; class++ {
		names = append(names, matfile.NewText(strings.ReplaceAll(titleOf(class), "_", " ")))
	}
	fields := []string{"relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"}
	var b bytes.Buffer
	err := matfile.Write(&b, matfile.NewStruct(fields, cells...).Named("annotations"), matfile.NewRow(names...).Named("class_names"))
	return map[string][]byte{carsIndex: b.Bytes()}, err
}

func inShopItem(class int) string { return fmt.Sprintf("id_%08d", class) }

func placeInShop(im synthImage, _ int) string {
	kind, _, _ := strings.Cut(titleOf(im.class), "_")
	return path.Join("Img", inShopImages, "WOMEN", kind, inShopItem(im.class), fmt.Sprintf("%02d_%d_front.jpg", im.view/4+1, im.view%4+1))
}

// indexInShop makes the first view of a test class, and every other one after it, a query.
func indexInShop(cfg SynthConfig, images []synthImage) (map[string][]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n%s\n", len(images), inShopHeader)
	for _, im := range images {
		status := "train"
		if im.class > cfg.Classes {
			status = inShopParts()[1+im.view%2]
		}
		fmt.Fprintf(&b, "%-70s %s %s\n", strings.TrimPrefix(im.path, "Img/"), inShopItem(im.class), status)
	}
	return map[string][]byte{"Eval/" + inShopIndex: b.Bytes()}, nil
}
