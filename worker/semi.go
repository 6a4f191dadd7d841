package worker

import (
	"fmt"

	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/semi"
)

// semiState is what a step with unlabelled images needs beside the supervised loss: the loss of the
// triplets that propagated labels give, and the batch of the labelled rows alone.
type semiState struct {
	loss   *semi.Loss
	weight float64
	at     []int // labelled rows of the batch
	labels []int32
	rows   []float32
	grads  []float32
}

func (t *trainer) prepareSemi(r *recipe.Recipe) error {
	if r.Semi.Unlabelled == 0 {
		return nil
	}
	loss, err := semi.New(r.Semi.Config(), t.cfg.Threads)
	t.semi = &semiState{loss: loss, weight: r.Semi.Weight}
	return err
}

// begin mines the triplets of a batch and gathers its labelled rows.
func (s *semiState) begin(rows []float32, labels []int32, dim int) error {
	s.at = semi.Labelled(labels)
	s.labels, s.rows, s.grads = make([]int32, len(s.at)), make([]float32, len(s.at)*dim), make([]float32, len(s.at)*dim)
	semi.Gather(s.labels, labels, s.at, 1)
	semi.Gather(s.rows, rows, s.at, dim)
	return s.loss.Prepare(rows, labels, dim)
}

// evaluateShard computes the supervised loss of one shard's anchors and its gradient by all rows
// of the batch, t.rowGrads; where the batch has unlabelled rows, that loss is given the others alone
// (beginLoss) and the loss of mined triplets is added.
func (t *trainer) evaluateShard(grad metrix.Gradient, batch metrix.Batch, mix metrix.Mix, shard int) (metrix.Value, float64, error) {
	s := t.semi
	if s != nil {
		clear(s.grads)
		grad.Embeddings = s.grads
	}
	anchors := metrix.NumAnchors(t.form, batch)
	v, err := t.compare(grad, batch, mix, anchors*shard/t.shards, anchors*(shard+1)/t.shards)
	if err != nil || s == nil {
		return v, 0, err
	}
	semi.Scatter(t.rowGrads, s.grads, s.at, t.dim)
	n := t.shardRows()
	mined, err := s.loss.Evaluate(t.rowGrads, shard*n, (shard+1)*n, s.weight)
	return v, mined, err
}

// retract keeps the weights of the embedding layer orthonormal, if the recipe says so.
func (t *trainer) retract() error {
	if t.cfg.Recipe.Semi.Orthogonal != "yes" {
		return nil
	}
	for _, p := range t.network.Params {
		if p.Stage == model.Head && len(p.Shape) == 2 {
			err := t.edit(part{p.Offset, p.Offset + p.Size}, func(rows []float32) error {
				return semi.Retract(rows, p.Shape[0], p.Shape[1], t.cfg.Threads)
			})
			if err != nil {
				return fmt.Errorf("keeping %s orthonormal: %w", p.Name, err)
			}
		}
	}
	return nil
}
