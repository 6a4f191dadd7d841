package recipe

import (
	"fmt"

	"github.com/metrixml/metrix/semi"
)

// Semi is training with few labels: part of the images keep theirs, others join each batch without.
// Labelled = 1 and Unlabelled = 0 is ordinary training.
type Semi struct {
	Labelled   float64 // share of the training images that keep their label
	Least      int     // labels that a class has if it has any
	Unlabelled int     // images without label in each batch; the shards divide them
	Weight     float64 // of the loss of mined triplets, against 1 of the supervised loss
	Neighbors  int     // of the graph that carries affinities
	Damping    float64 // of the propagation
	Form       string  // "triplet" or "angular"
	Margin     float64 // of triplet
	Angle      float64 // of angular, degrees
	Signed     string  // "no" or "yes": only triplets whose affinities have the right sign
	Orthogonal string  // "no" or "yes": the embedding layer's weights are kept orthonormal
}

func defaultSemi() Semi {
	c := semi.DefaultConfig()
	return Semi{
		Labelled: 1, Least: 2, Weight: 1, Neighbors: c.Neighbors, Damping: c.Damping, Form: c.Form,
		Margin: c.Margin, Angle: c.Angle, Signed: "no", Orthogonal: "no",
	}
}

func (s *Semi) fields() []field {
	return []field{
		numberField("labelled", &s.Labelled, 1e-6, 1),
		intField("least", &s.Least, 1, 4096),
		intField("unlabelled", &s.Unlabelled, 0, maxShards),
		numberField("weight", &s.Weight, 0, 1000),
		intField("neighbors", &s.Neighbors, 2, 4096),
		belowOneField("damping", &s.Damping),
		choice("form", &s.Form, semi.Margin, semi.Angular),
		numberField("margin", &s.Margin, 0, 2),
		numberField("angle", &s.Angle, 1, 89),
		choice("signed", &s.Signed, "no", "yes"),
		choice("orthogonal", &s.Orthogonal, "no", "yes"),
	}
}

// Config is the loss of mined triplets as package semi takes it.
func (s *Semi) Config() semi.Config {
	return semi.Config{
		Neighbors: s.Neighbors, Damping: s.Damping, Form: s.Form, Angle: s.Angle, Margin: s.Margin, Signed: s.Signed == "yes",
	}
}

func semiIsPossible(r *Recipe) *problem {
	s := r.Semi
	if s.Unlabelled == 0 {
		return nil
	}
	switch {
	case s.Labelled == 1:
		return &problem{[]string{"semi.unlabelled", "semi.labelled"}, fmt.Sprintf(
			"semi.unlabelled is %d; it must be 0 unless semi.labelled is below 1, which leaves images without label", s.Unlabelled)}
	case s.Unlabelled%r.Batch.Shards != 0:
		return &problem{[]string{"semi.unlabelled", "batch.shards"}, fmt.Sprintf(
			"semi.unlabelled is %d; batch.shards, which is %d, must divide it", s.Unlabelled, r.Batch.Shards)}
	case r.Mix.Level != "none" && r.Mix.Level != "embed":
		return &problem{[]string{"semi.unlabelled", "mix.level"}, fmt.Sprintf(
			"semi.unlabelled is %d; it goes with mix.level none or embed, not %s, since images without label are no partners", s.Unlabelled, r.Mix.Level)}
	case r.Memory.Size > 0:
		return &problem{[]string{"semi.unlabelled", "memory.size"}, fmt.Sprintf(
			"semi.unlabelled is %d; it does not go with memory.size, which is %d", s.Unlabelled, r.Memory.Size)}
	}
	return nil
}
