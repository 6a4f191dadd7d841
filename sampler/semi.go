package sampler

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// NoClass is the Item.Class of an image whose label is not known.
const NoClass = -1

// Semi computes global batches of labelled and unlabelled images. Shard i contributes the rows that
// Sampler would give it, then U/S unlabelled images:
//
//	shard 0               shard 1               ...
//	P/S classes x K | U/S   P/S classes x K | U/S
//
// Epochs and steps are those of the labelled part. The unlabelled images have rounds of their own,
// which know no epoch: a round is ceil(M/U) steps and shows each of the M images once, in an order
// drawn for the round, before its last step is completed with the first images of that order. So no
// step holds an image twice. Item.Epoch of an unlabelled image is its round, Item.Use 0, or 1 for
// those that complete the round: together with the image they key the augmentation as for labelled
// ones.
//
// Semi is safe for concurrent use. The orders of the two rounds used last are kept, 8 bytes per
// unlabelled image each.
type Semi struct {
	*Sampler
	numbers    []int // of the classes that have labels, as given to NewSemi
	unlabelled []int
	perStep    int // U

	mu     sync.Mutex
	rounds [2]*round // most recent first
}

type round struct {
	number int
	order  []int
}

// NewSemi prepares batches of P*K labelled images (cfg, classes: see New; classes list the labelled
// images only, and one without any is left out, without changing the numbers of the others) and
// perStep of the unlabelled ones. The shards must divide perStep, and there must be
// at least perStep unlabelled images, none of which may be in a class. perStep may be 0: then the
// batches are those of Sampler.
func NewSemi(cfg Config, classes [][]int, unlabelled []int, perStep int) (*Semi, error) {
	var numbers []int
	var known [][]int
	for c, images := range classes {
		if len(images) > 0 {
			numbers, known = append(numbers, c), append(known, images)
		}
	}
	labelled, err := New(cfg, known)
	if err != nil {
		return nil, err
	}
	switch {
	case perStep < 0:
		return nil, fmt.Errorf("sampler: %d unlabelled images per batch asked for: use 0 (none) or more", perStep)
	case perStep%cfg.Shards != 0:
		return nil, fmt.Errorf("sampler: %d unlabelled images per batch cannot be dealt evenly to %d shards: "+
			"choose a multiple of the shards", perStep, cfg.Shards)
	case perStep > len(unlabelled):
		return nil, fmt.Errorf("sampler: a batch of %d unlabelled images needs at least as many in the training set, "+
			"which has %d: lower them or keep fewer labels", perStep, len(unlabelled))
	}
	if err := checkUnlabelled(classes, unlabelled); err != nil {
		return nil, err
	}
	return &Semi{Sampler: labelled, numbers: numbers, unlabelled: slices.Clone(unlabelled), perStep: perStep}, nil
}

// checkUnlabelled refuses an image that is listed twice.
func checkUnlabelled(classes [][]int, unlabelled []int) error {
	seen := make(map[int]bool, len(unlabelled))
	for _, image := range unlabelled {
		if image < 0 || image > math.MaxInt32 {
			return fmt.Errorf("sampler: image %d among the unlabelled ones is not an index in [0, 2^31)", image)
		}
		if seen[image] {
			return fmt.Errorf("sampler: image %d is listed twice among the unlabelled ones: list every image once", image)
		}
		seen[image] = true
	}
	for c, list := range classes {
		for _, image := range list {
			if seen[image] {
				return fmt.Errorf("sampler: image %d is listed in class %d and as unlabelled: it is one or the other", image, c)
			}
		}
	}
	return nil
}

// Rows returns the number of rows of a global batch, P*K + U.
func (s *Semi) Rows() int { return s.Sampler.Rows() + s.perStep }

// Owned returns the rows [lo, hi) of the global batch that belong to a range of shards.
func (s *Semi) Owned(shards run.Shards) (lo, hi int) {
	per := s.Rows() / s.cfg.Shards
	lo = int(shards.First) * per
	return lo, lo + shards.Count*per
}

// StepsPerRound returns the number of steps in which every unlabelled image is used, 0 if a batch
// has none.
func (s *Semi) StepsPerRound() int {
	if s.perStep == 0 {
		return 0
	}
	return ceilDiv(len(s.unlabelled), s.perStep)
}

// Batch returns the global batch of a step: Rows items ordered by shard, in a shard the labelled
// ones in the order of Sampler.Batch, then the unlabelled ones with class NoClass. The slice belongs
// to the caller. A negative step has no batch.
func (s *Semi) Batch(step run.Step) []Item {
	labelled := s.Sampler.Batch(step)
	for i := range labelled {
		labelled[i].Class = s.numbers[labelled[i].Class]
	}
	if step < 0 || s.perStep == 0 {
		return labelled
	}
	others := s.draw(step)
	items := make([]Item, 0, s.Rows())
	a, b := len(labelled)/s.cfg.Shards, len(others)/s.cfg.Shards
	for i := range s.cfg.Shards {
		items = append(items, labelled[i*a:(i+1)*a]...)
		items = append(items, others[i*b:(i+1)*b]...)
	}
	return items
}

// draw returns the unlabelled items of a step.
func (s *Semi) draw(step run.Step) []Item {
	steps := run.Step(s.StepsPerRound())
	r := s.round(int(step / steps))
	first := int(step%steps) * s.perStep
	items := make([]Item, s.perStep)
	for i := range items {
		at := first + i
		items[i] = Item{
			Image: s.unlabelled[r.order[at%len(r.order)]],
			Class: NoClass,
			Epoch: r.number,
			Use:   at / len(r.order),
		}
	}
	return items
}

// round returns the order of a round, from the two kept ones if it is there.
func (s *Semi) round(number int) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.rounds[0] != nil && s.rounds[0].number == number:
	case s.rounds[1] != nil && s.rounds[1].number == number:
		s.rounds[0], s.rounds[1] = s.rounds[1], s.rounds[0]
	default:
		order := draw.Of(s.cfg.Seed, draw.Unlabelled, uint64(number)).Perm(len(s.unlabelled))
		s.rounds[0], s.rounds[1] = &round{number, order}, s.rounds[0]
	}
	return s.rounds[0]
}
