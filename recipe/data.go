package recipe

// Bounds on what a recipe may ask for. They are far above every published experiment; their
// purpose is that a slip of the finger is a sentence and not an allocation.
const (
	maxSide   = 1024      // pixels
	maxStore  = 4096      // pixels
	maxShards = 1 << 16   // also the largest global batch
	maxCount  = 1 << 40   // steps
	maxEpochs = 1_000_000 // epochs
)

// Data says which images a run trains on and how they are cut for the network.
type Data struct {
	Layout  string // "auto", "sop", "cub", "cars", "inshop", "folder" or "pack"
	Path    string // folder of the data; usually given on the command line. Not part of the hash
	Decoder string // of JPEG files: "go" or "turbo" (libjpeg-turbo)
	Store   int    // side to which images are resized once, before anything else, pixels; 0 for not
	Synth   Synth  // images that are generated when Path holds none
	Size    int    // side of the network's input, pixels
	Resize  int    // shorter side before the centre crop of an evaluation, pixels; >= Size
	Augment Augment
	Mean    []float64 // 3 values, subtracted from channels in [0, 1]
	Std     []float64 // 3 values, divide the channels afterwards
}

// Synth describes generated product-like images. Classes = 0 means that none are generated.
type Synth struct {
	Classes int    // training classes, and as many test classes; 0 for none
	Images  int    // most images of a class
	Side    int    // pixels
	Seed    uint64 // of the images, independent of the run's seed
}

// Augment is the random resized crop, flip and colour change of training images.
type Augment struct {
	Scale []float64 // 2 values: smallest and largest area of the crop, as a part of the image
	Ratio []float64 // 2 values: smallest and largest width / height of the crop
	Flip  float64   // probability of a horizontal flip
	Color float64   // strength of brightness, contrast and saturation changes; 0 for none
}

func defaultData() Data {
	return Data{
		Layout:  "auto",
		Decoder: "go",
		Synth:   Synth{Images: 8, Side: 64, Seed: 1},
		Size:    224,
		Augment: Augment{
			Scale: []float64{0.08, 1}, Ratio: []float64{0.75, 1.333}, Flip: 0.5,
		},
		Mean: []float64{0.485, 0.456, 0.406}, // of ImageNet, what pretrained weights expect
		Std:  []float64{0.229, 0.224, 0.225},
	}
}

func (d *Data) fields() []field {
	return []field{
		choice("layout", &d.Layout, "auto", "sop", "cub", "cars", "inshop", "folder", "pack").outsideRun(),
		textField("path", &d.Path).outsideRun(),
		choice("decoder", &d.Decoder, "go", "turbo"),
		intField("store", &d.Store, 0, maxStore),
		{key: "synth", value: &d.Synth},
		intField("size", &d.Size, 16, maxSide),
		intField("resize", &d.Resize, 16, 2*maxSide),
		{key: "augment", value: &d.Augment},
		listField("mean", &d.Mean, 3, 0, 1),
		listField("std", &d.Std, 3, 1e-6, 100),
	}
}

func (s *Synth) fields() []field {
	return []field{
		intField("classes", &s.Classes, 0, 100_000),
		intField("images", &s.Images, 2, 1000),
		intField("side", &s.Side, 16, maxSide),
		{key: "seed", value: &s.Seed, valid: "a whole number from 0 to 18446744073709551615"},
	}
}

func (a *Augment) fields() []field {
	return []field{
		rangeField("scale", &a.Scale, 1e-3, 1),
		rangeField("ratio", &a.Ratio, 0.1, 10),
		numberField("flip", &a.Flip, 0, 1),
		numberField("color", &a.Color, 0, 1),
	}
}
