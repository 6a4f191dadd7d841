package worker

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/run"
)

// Evaluation is the retrieval quality of the test split after Step updates.
type Evaluation struct {
	Step    run.Step          `json:"step"`
	Metrics retrieval.Metrics `json:"metrics"`
	Seconds float64           `json:"seconds"`
}

// RecallAt1 is the figure by which evaluations are compared, in [0, 1].
func (e *Evaluation) RecallAt1() float64 {
	r, _ := e.Metrics.RecallAt(1)
	return r
}

// evalRows is the number of images embedded at once in evaluation.
const evalRows = 64

// evalPart is the images [lo, hi) of n that a rank embeds: whole blocks of evalRows, so that an image
// is embedded in the same company, and to the same bits, by any number of workers.
func evalPart(n int, rank run.Rank, world int) (lo, hi int) {
	lo, hi = retrieval.Range((n+evalRows-1)/evalRows, rank, world)
	return min(lo*evalRows, n), min(hi*evalRows, n)
}

// EmbedOptions says how Embed reads images.
type EmbedOptions struct {
	Transform *dataset.Transform
	Limits    dataset.Limits
	Threads   int
	// Progress, if not nil, is called with the number of rows done.
	Progress func(done int)
}

// Embed writes the embeddings of images [lo, hi) of a split to dst, (hi-lo) x network.Dim unit rows.
func Embed(ctx context.Context, dst []float32, net engine.Net, network *model.Network, split *dataset.Split, lo, hi int, opt EmbedOptions) error {
	size := network.Input.Size()
	pixels := make([]float32, min(evalRows, max(hi-lo, 0))*size)
	for at := lo; at < hi; at += evalRows {
		n := min(evalRows, hi-at)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(opt.Threads)
		for i := range n {
			g.Go(func() error {
				if err := gctx.Err(); err != nil {
					return err
				}
				return split.Eval(pixels[i*size:(i+1)*size], at+i, opt.Transform, opt.Limits)
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := embedRows(dst[(at-lo)*network.Dim:], net, pixels[:n*size], n); err != nil {
			return fmt.Errorf("embedding images %d to %d: %w", at, at+n, err)
		}
		if opt.Progress != nil {
			opt.Progress(at + n - lo)
		}
	}
	return nil
}

// embedRows runs both stages in evaluation mode over n images.
func embedRows(dst []float32, net engine.Net, pixels []float32, n int) error {
	features, err := net.Forward(model.Trunk, engine.Eval, pixels, n)
	if err != nil {
		return err
	}
	defer features.Release()
	rows, err := net.Forward(model.Head, engine.Eval, features.Out(), n)
	if err != nil {
		return err
	}
	defer rows.Release()
	copy(dst, rows.Out())
	return nil
}

// evaluate embeds the test split and scores it, each worker a contiguous part: no image is padded
// or counted twice, and what is averaged at the end is the same list of per-query results on every
// rank, whatever the number of workers.
func (t *trainer) evaluate(ctx context.Context, g *generation) (*Evaluation, error) {
	begin := t.now()
	split, dim := t.cfg.Data.Test, t.network.Dim
	n := len(split.Images)
	all := make([]float32, n*dim)
	lo, hi := evalPart(n, g.rank, g.world)
	parts := make([]int, g.world)
	for r := range parts {
		from, to := evalPart(n, run.Rank(r), g.world)
		parts[r] = (to - from) * dim
	}
	opt := EmbedOptions{Transform: t.source.transform, Limits: t.limits, Threads: t.cfg.Threads}
	if err := Embed(ctx, all[lo*dim:hi*dim], t.net, t.network, split, lo, hi, opt); err != nil {
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	if err := g.ring.AllGather(ctx, t.step, "evaluation embeddings", all, parts); err != nil {
		return nil, err
	}
	results, err := t.score(ctx, g, all)
	if err != nil {
		return nil, err
	}
	m := retrieval.Summarize(results, t.cfg.Recipe.Eval.Recall)
	return &Evaluation{Step: t.step, Metrics: m, Seconds: t.now().Sub(begin).Round(time.Millisecond).Seconds()}, nil
}

// score ranks this worker's part of the queries against all rows and gathers everybody's results.
func (t *trainer) score(ctx context.Context, g *generation, all []float32) ([]retrieval.Result, error) {
	split := t.cfg.Data.Test
	n := len(split.Images)
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i)
	}
	rows := retrieval.Rows{X: all, Dim: t.network.Dim, Labels: split.Labels(), IDs: ids}
	lo, hi := retrieval.Range(n, g.rank, g.world)
	mine, err := retrieval.Evaluate(ctx, rows, rows, lo, hi, retrieval.Options{Recall: t.cfg.Recipe.Eval.Recall, Threads: t.cfg.Threads})
	if err != nil {
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	wire := make([]float32, n*retrieval.EncodedWidth)
	copy(wire[lo*retrieval.EncodedWidth:], retrieval.Encode(mine))
	if err := g.ring.AllGather(ctx, t.step, "evaluation results", wire, g.evenParts(n, retrieval.EncodedWidth)); err != nil {
		return nil, err
	}
	return retrieval.Decode(wire)
}
