package worker

import (
	"errors"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/recipe"
)

// placeLoss decides, for the whole run, whether the loss is evaluated where the network computes, if it
// can be there, or on the host. Workers with the same engine and recipe decide alike.
func (t *trainer) placeLoss(r *recipe.Recipe) error {
	device, ok := t.net.(engine.Comparer)
	if !ok {
		return nil
	}
	loss, err := t.namedLoss(r)
	if err == nil {
		t.comparison, err = device.Comparison(loss)
	}
	if err != nil {
		t.comparison = nil
		t.log.Info("the loss is evaluated on the host", "reason", err)
		return nil
	}
	t.log.Info("the loss is evaluated where the network computes", "form", loss.Form, "reduction", loss.Reduction)
	return nil
}

var errMemoryOnHost = errors.New("memory.size is above 0, and the memory is on the host")

// namedLoss is the recipe's loss as engines are told of it.
func (t *trainer) namedLoss(r *recipe.Recipe) (engine.Loss, error) {
	if r.Memory.Size > 0 {
		return engine.Loss{}, errMemoryOnHost
	}
	f := t.form
	params, err := r.Loss.Constants()
	return engine.Loss{
		Form: f.Name, Params: params, Reduction: f.Reduction.String(),
		ProxyAnchors: f.Anchors == metrix.Proxy, ProxyCandidates: f.Candidates == metrix.Proxy, OverPresent: f.MeanOverPresent,
	}, err
}

// beginLoss readies the loss of a step for its shards and returns the batch that it sees: all rows, or
// those with labels where some have none.
func (t *trainer) beginLoss(b *batch, mix metrix.Mix) (metrix.Batch, error) {
	batch := t.lossBatch(b)
	if s := t.semi; s != nil {
		if err := s.begin(t.rows, b.labels, t.dim); err != nil {
			return batch, err
		}
		batch.Embeddings, batch.Labels = s.rows, s.labels
	}
	if t.comparison == nil {
		return batch, nil // Evaluate checks the batch
	}
	if err := t.loss.Check(metrix.Gradient{}, batch, mix); err != nil {
		return batch, err
	}
	to := engine.Batch{Rows: batch.Embeddings, Labels: batch.Labels, Dim: batch.Dim, Proxies: batch.Proxies, Mix: engine.Mix{
		Weight: mix.Weight, AnchorNegative: mix.PairsOf(t.form) == metrix.AnchorNegative,
		Hardest: mix.Hardest, Lambda: mix.Lambda, PerPair: mix.PerPair,
	}}
	if m := mix.Rows; m != nil {
		to.Mix.Rows = &engine.MixedRows{Rows: m.Embeddings, First: m.First, Second: m.Second, Lambda: m.Lambda}
	}
	return batch, t.comparison.Begin(to)
}

// compare is metrix.Loss.Evaluate for the batch that beginLoss has returned.
func (t *trainer) compare(grad metrix.Gradient, b metrix.Batch, mix metrix.Mix, lo, hi int) (metrix.Value, error) {
	if t.comparison == nil {
		return t.loss.Evaluate(grad, b, mix, lo, hi)
	}
	clean, mixed, err := t.comparison.Share(engine.Gradients{Rows: grad.Embeddings, Proxies: grad.Proxies, Mixed: grad.Mixed}, lo, hi)
	return metrix.Value{Clean: clean, Mixed: mixed, Total: clean + mix.Weight*mixed}, err
}

// summer is the loss on a device that sums there what shards give; nil where the host adds to that.
func (t *trainer) summer() engine.Summer {
	if t.semi != nil {
		return nil
	}
	s, _ := t.comparison.(engine.Summer)
	return s
}

// sumShards does for evaluateLoss what it does shard by shard, on a device: one block of sums comes home.
func (t *trainer) sumShards(g *generation, s engine.Summer, b metrix.Batch, mix metrix.Mix, mixed *mixing) error {
	anchors := metrix.NumAnchors(t.form, b)
	for i := range g.own.Count {
		shard := int(g.own.First) + i
		clean, blend, err := s.Sum(anchors*shard/t.shards, anchors*(shard+1)/t.shards, t.shards)
		total := clean + mix.Weight*blend
		if err := errors.Join(err, t.addTail(tailClean, clean), t.addTail(tailMixed, total-clean)); err != nil {
			return err
		}
	}
	first := t.layout.trunk.hi
	sums := engine.Sums{Rows: t.rowAcc, Proxies: t.acc[t.layout.proxies.lo-first : t.layout.proxies.hi-first]}
	if mixed != nil {
		sums.Mixed = mixed.acc
	}
	return diverged(s.Collect(sums))
}
