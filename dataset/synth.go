package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/metrixml/metrix/dataset/internal/product"
	random "github.com/metrixml/metrix/internal/draw"
)

// SynthConfig says what Synth makes. The same config gives the same set.
type SynthConfig struct {
	Classes     int    `json:"classes"`      // training classes, at least 2
	TestClasses int    `json:"test_classes"` // test classes; 0 means as many as Classes
	Images      int    `json:"images"`       // most images a class has: it has Images-2 to Images, at least 2
	Side        int    `json:"side"`         // width and height, pixels
	Seed        uint64 `json:"seed"`         // everything is drawn from it
	// Layout is LayoutSOP (also ""), LayoutCUB, LayoutCars or LayoutInShop: the same pictures in
	// another published layout.
	Layout string `json:"layout,omitempty"`
}

// DefaultSynthConfig returns the set that the demo trains on: about 1 700 images.
func DefaultSynthConfig() SynthConfig {
	return SynthConfig{Classes: 120, TestClasses: 120, Images: 8, Side: 64, Seed: 1}
}

// Validate says what is impossible about c.
func (c SynthConfig) Validate() error {
	switch {
	case c.Classes < 2 || c.Classes > 1_000_000:
		return fmt.Errorf("synth: classes is %d; it must be 2 to 1000000", c.Classes)
	case c.TestClasses < 0 || c.TestClasses == 1 || c.TestClasses > 1_000_000:
		return fmt.Errorf("synth: test_classes is %d; it must be 2 to 1000000, or 0 for as many as "+
			"classes", c.TestClasses)
	case c.Images < 2 || c.Images > 1000:
		return fmt.Errorf("synth: images is %d; a class must have 2 to 1000", c.Images)
	case c.Side < 16 || c.Side > 1024:
		return fmt.Errorf("synth: side is %d; it must be 16 to 1024 pixels", c.Side)
	}
	l, err := synthLayoutOf(c.Layout)
	if err == nil && l.halves && c.TestClasses != 0 && c.TestClasses != c.Classes {
		err = fmt.Errorf("synth: test_classes is %d; it must be as many as classes, %d, in layout %s, whose first half "+
			"of the classes trains", c.TestClasses, c.Classes, c.Layout)
	}
	return err
}

// synthVersion is raised whenever the same config would give other images.
const synthVersion = 1

const synthManifest = "synth.json"

// manifest lies in a finished synthetic set and tells what it is.
type manifest struct {
	Generator string      `json:"generator"`
	Version   int         `json:"version"`
	Config    SynthConfig `json:"config"`
	Hash      string      `json:"hash"` // of version and config
}

func newManifest(cfg SynthConfig) manifest {
	m := manifest{Generator: "metrix data synth", Version: synthVersion, Config: cfg}
	b, err := json.Marshal(m)
	if err != nil { // a struct of numbers and strings always encodes
		panic("dataset: encode synth manifest: " + err.Error())
	}
	sum := sha256.Sum256(b)
	m.Hash = hex.EncodeToString(sum[:])
	return m
}

// Synth makes, in dir, a set of photographs of products that do not exist, in the SOP layout or
// another published one: class ids 1..Classes for training and the next TestClasses for test, spread
// evenly over twelve super classes (vases, chairs, shoes, ...). Products of a super class look alike; the images of one
// product differ in viewpoint, size, hue, light and background, so that neither raw pixels nor
// colours tell the class: with 100 test classes of 6 to 8 images, the nearest neighbour by 16x16
// pixels has Recall@1 0.05 and by colour histogram 0.04 (TestSynthIsHard measures both).
//
// The set is written whole or not at all: into a hidden folder beside dir, renamed at the end. If
// dir already holds the set of this config it is kept as it is; if it holds anything else, that is
// an error. progress, which may be nil, is told the images written; one goroutine calls at a time.
func Synth(dir string, cfg SynthConfig, progress func(done, total int)) error {
	return SynthContext(context.Background(), dir, cfg, progress)
}

// SynthContext is Synth, given up when ctx ends; nothing is left behind.
func SynthContext(ctx context.Context, dir string, cfg SynthConfig, progress func(done, total int)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.TestClasses == 0 {
		cfg.TestClasses = cfg.Classes
	}
	if cfg.Layout == LayoutSOP {
		cfg.Layout = ""
	}
	m := newManifest(cfg)
	if there, err := holds(dir, m); there || err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("dataset: synth: make %s: %w", parent, err)
	}
	temp, err := os.MkdirTemp(parent, "."+baseName(dir)+"-*")
	if err != nil {
		return fmt.Errorf("dataset: synth: make a folder in %s: %w", parent, err)
	}
	defer os.RemoveAll(temp)
	if err := writeSynth(ctx, temp, cfg, m, progress); err != nil {
		return fmt.Errorf("dataset: synth %s: %w", dir, err)
	}
	return moveInto(temp, dir, m)
}

// holds reports whether dir is the finished set of m; it is an error if it is anything else but
// absent or empty.
func holds(dir string, m manifest) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dataset: synth: %s is not a folder that can be used: %w", dir, err)
	}
	var old manifest
	b, err := os.ReadFile(filepath.Join(dir, synthManifest))
	if err != nil || json.Unmarshal(b, &old) != nil || old.Generator != m.Generator {
		return false, fmt.Errorf("dataset: synth: %s holds something else than a synthetic set; give an "+
			"empty or new folder", dir)
	}
	if old.Hash != m.Hash {
		return false, fmt.Errorf("dataset: synth: %s holds another synthetic set (%+v, version %d); "+
			"remove it or give another folder", dir, old.Config, old.Version)
	}
	return true, nil
}

// moveInto gives the finished folder its name. If another process was faster, its set is as good.
func moveInto(temp, dir string, m manifest) error {
	_ = os.Remove(dir) // an empty folder may be in the way; anything else stays and is found below
	err := os.Rename(temp, dir)
	if err == nil {
		return nil
	}
	if there, other := holds(dir, m); there || other != nil {
		return other
	}
	return fmt.Errorf("dataset: synth: finish %s: %w", dir, err)
}

// synthImage is one image to be drawn.
type synthImage struct {
	class, view int    // class from 1, view of the class from 0
	path        string // relative to the root of the set
}

func writeSynth(ctx context.Context, root string, cfg SynthConfig, m manifest, progress func(done, total int)) error {
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	layout, err := synthLayoutOf(cfg.Layout)
	if err != nil {
		return err
	}
	products, images := planSynth(cfg, layout)
	for _, im := range images {
		if err := os.MkdirAll(filepath.Join(root, filepath.FromSlash(path.Dir(im.path))), 0o755); err != nil {
			return err
		}
	}
	err = parallel(ctx, runtime.GOMAXPROCS(0), len(images), progress, func(i int) error {
		im := images[i]
		b, err := photograph(products[im.class-1], im, cfg)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(root, filepath.FromSlash(im.path)), b, 0o644)
	})
	if err != nil {
		return err
	}
	indexes, err := layout.indexes(cfg, images)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	indexes[synthManifest] = append(b, '\n')
	for name, data := range indexes {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// planSynth designs the products, class 1 first, and lists their images in the order of the index.
func planSynth(cfg SynthConfig, layout *synthLayout) ([]*product.Product, []synthImage) {
	var (
		products []*product.Product
		images   []synthImage
	)
	for class := 1; class <= cfg.Classes+cfg.TestClasses; class++ {
		r := random.Of(cfg.Seed, random.Synth, uint64(class))
		n := cfg.Images - r.IntN(min(3, cfg.Images-1))
		products = append(products, product.New(kindOf(class), r))
		for view := range n {
			im := synthImage{class: class, view: view}
			im.path = layout.place(im, len(images))
			images = append(images, im)
		}
	}
	return products, images
}

func kindOf(class int) int { return (class - 1) % len(product.Kinds()) }

func photograph(p *product.Product, im synthImage, cfg SynthConfig) ([]byte, error) {
	r := random.Of(cfg.Seed, random.Synth, uint64(im.class), uint64(im.view))
	img := p.Photograph(cfg.Side, r)
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80 + r.IntN(15)})
	return b.Bytes(), err
}
