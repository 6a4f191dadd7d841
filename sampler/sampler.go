package sampler

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/metrixml/metrix/run"
)

// maxEpochRows bounds the memory of a plan: 12 bytes per row.
const maxEpochRows = 1 << 27

// Config is the shape of the global batch.
type Config struct {
	Seed uint64
	// Shards is S, the number of parts of the global batch, >= 1. It must divide Classes.
	Shards int
	// Classes is P, the number of classes in a global batch, >= 1.
	Classes int
	// Images is K, the number of images per class in a global batch, >= 1.
	Images int
	// Passes is the number of passes over all classes in an epoch, >= 0. 0 means
	// max(1, round(images / (classes * K))), so that an epoch sees about every image once.
	Passes int
}

// Validate reports the first impossible value as a sentence.
func (c Config) Validate() error {
	switch {
	case c.Shards < 1:
		return fmt.Errorf("sampler: %d shards asked for: there must be at least 1", c.Shards)
	case c.Classes < 1:
		return fmt.Errorf("sampler: %d classes per batch asked for: there must be at least 1", c.Classes)
	case c.Images < 1:
		return fmt.Errorf("sampler: %d images per class asked for: there must be at least 1", c.Images)
	case c.Passes < 0:
		return fmt.Errorf("sampler: %d passes asked for: use 0 (automatic) or more", c.Passes)
	case c.Classes%c.Shards != 0:
		return fmt.Errorf("sampler: %d classes per batch cannot be dealt evenly to %d shards: "+
			"choose a number of shards that divides the classes", c.Classes, c.Shards)
	}
	return nil
}

// Item is one row of a global batch.
type Item struct {
	// Image is an index into the training set, as given to New.
	Image int
	// Class is the index of the image's class, as given to New.
	Class int
	// Epoch is the epoch of the step.
	Epoch int
	// Use says how often the image had been used before in this epoch; it keys the augmentation.
	Use int
}

// Sampler computes global batches. It is safe for concurrent use.
type Sampler struct {
	cfg     Config
	classes [][]int // images of each class
	steps   int     // steps per pass

	mu    sync.Mutex
	plans [2]*plan // the plans used last, most recent first
}

// New prepares the batches of a training set; classes[c] holds the image indices of class c.
// It refuses an empty class, an image listed twice, and fewer classes than a batch needs.
func New(cfg Config, classes [][]int) (*Sampler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(classes) < cfg.Classes {
		return nil, fmt.Errorf("sampler: a batch of %d classes needs at least as many in the training set, "+
			"which has %d: lower the classes per batch", cfg.Classes, len(classes))
	}
	images, err := countImages(classes)
	if err != nil {
		return nil, err
	}
	if cfg.Passes == 0 {
		perPass := float64(len(classes)) * float64(cfg.Images)
		cfg.Passes = max(1, int(math.Round(float64(images)/perPass)))
	}
	s := &Sampler{cfg: cfg, classes: make([][]int, len(classes))}
	for c, list := range classes {
		s.classes[c] = slices.Clone(list)
	}
	s.steps = ceilDiv(ceilDiv(len(classes), cfg.Shards), cfg.Classes/cfg.Shards)
	rows := float64(s.steps) * float64(cfg.Passes) * float64(cfg.Classes) * float64(cfg.Images)
	if rows > maxEpochRows {
		return nil, fmt.Errorf("sampler: an epoch of %.0f rows is above the limit of %d: "+
			"lower the passes or the images per class", rows, maxEpochRows)
	}
	return s, nil
}

// countImages returns the number of images, or a sentence about the first class that is wrong.
func countImages(classes [][]int) (int, error) {
	owner := map[int]int{}
	for c, list := range classes {
		if len(list) == 0 {
			return 0, fmt.Errorf("sampler: class %d has no images: leave it out", c)
		}
		for _, image := range list {
			if image < 0 || image > math.MaxInt32 {
				return 0, fmt.Errorf("sampler: class %d lists image %d, which is not an index in [0, 2^31)", c, image)
			}
			if first, ok := owner[image]; ok {
				return 0, fmt.Errorf("sampler: image %d is listed in class %d and again in class %d: "+
					"list every image once", image, first, c)
			}
			owner[image] = c
		}
	}
	return len(owner), nil
}

// Passes returns the number of passes in an epoch, also where the configuration left it open.
func (s *Sampler) Passes() int { return s.cfg.Passes }

// StepsPerEpoch returns the number of steps in every epoch, >= 1.
func (s *Sampler) StepsPerEpoch() int { return s.steps * s.cfg.Passes }

// Epoch returns the epoch of a step, counted from 0.
func (s *Sampler) Epoch(step run.Step) int { return int(step / run.Step(s.StepsPerEpoch())) }

// Rows returns the number of rows of a global batch, P*K.
func (s *Sampler) Rows() int { return s.cfg.Classes * s.cfg.Images }

// Owned returns the rows [lo, hi) of the global batch that belong to a range of shards.
func (s *Sampler) Owned(shards run.Shards) (lo, hi int) {
	per := s.Rows() / s.cfg.Shards
	lo = int(shards.First) * per
	return lo, lo + shards.Count*per
}

// Batch returns the global batch of a step: Rows items ordered by shard, then by class, then by
// draw. Shard i owns the items [i*Rows/S, (i+1)*Rows/S). The slice belongs to the caller. Any step
// may be asked for, in any order; one of another epoch costs a plan. A negative step has no batch.
func (s *Sampler) Batch(step run.Step) []Item {
	if step < 0 {
		return nil
	}
	epoch := s.Epoch(step)
	first := int(step%run.Step(s.StepsPerEpoch())) * s.Rows()
	picks := s.plan(epoch).picks[first : first+s.Rows()]
	items := make([]Item, len(picks))
	for i, p := range picks {
		items[i] = Item{
			Image: s.classes[p.class][p.index],
			Class: int(p.class),
			Epoch: epoch,
			Use:   int(p.use),
		}
	}
	return items
}

// plan returns the plan of an epoch, from the two kept ones if it is there. Two, because a
// prefetching loader works on both sides of the end of an epoch.
func (s *Sampler) plan(epoch int) *plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.plans[0] != nil && s.plans[0].epoch == epoch:
	case s.plans[1] != nil && s.plans[1].epoch == epoch:
		s.plans[0], s.plans[1] = s.plans[1], s.plans[0]
	default:
		s.plans[0], s.plans[1] = s.newPlan(epoch), s.plans[0]
	}
	return s.plans[0]
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
