package worker

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/run"
)

// Evaluation is the retrieval quality of the test split after Step updates.
type Evaluation struct {
	Step     run.Step            `json:"step"`
	Metrics  retrieval.Metrics   `json:"metrics"`
	Geometry *retrieval.Geometry `json:"geometry,omitempty"`
	Seconds  float64             `json:"seconds"`
}

// RecallAt1 is the figure by which evaluations are compared, in [0, 1].
func (e *Evaluation) RecallAt1() float64 {
	r, _ := e.Metrics.RecallAt(1)
	return r
}

// evalRows is the number of images embedded at once in evaluation.
const evalRows = 32

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
	if j, ok := net.(engine.Joiner); ok {
		features, rows, err := j.ForwardBoth(engine.Eval, pixels, n)
		if err != nil {
			return err
		}
		copy(dst, rows.Out())
		features.Release()
		rows.Release()
		return nil
	}
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
	test, err := t.embedSplit(ctx, g, t.cfg.Data.Test, "test embeddings")
	if err != nil {
		return nil, err
	}
	results, err := t.score(ctx, g, test)
	if err != nil {
		return nil, err
	}
	e := &Evaluation{Step: t.step, Metrics: retrieval.Summarize(results, t.cfg.Recipe.Eval.Recall)}
	if t.cfg.Recipe.Eval.Geometry == "yes" {
		train, err := t.embedSplit(ctx, g, t.cfg.Data.Train, "training embeddings")
		if err != nil {
			return nil, err
		}
		if e.Geometry, err = MeasureGeometry(ctx, test, train, t.cfg.Recipe, t.cfg.Threads); err != nil {
			return nil, fmt.Errorf("evaluation: %w", err)
		}
	}
	e.Seconds = t.now().Sub(begin).Round(time.Millisecond).Seconds()
	return e, nil
}

// embedSplit embeds a split with all workers and gathers the rows.
func (t *trainer) embedSplit(ctx context.Context, g *generation, split *dataset.Split, phase string) (retrieval.Rows, error) {
	n := len(split.Images)
	rows := SplitRows(split, t.dim)
	lo, hi := evalPart(n, g.rank, g.world)
	parts := make([]int, g.world)
	for r := range parts {
		from, to := evalPart(n, run.Rank(r), g.world)
		parts[r] = (to - from) * t.dim
	}
	opt := EmbedOptions{Transform: t.source.transform, Limits: t.limits, Threads: t.cfg.Threads}
	if err := t.changed(); err != nil {
		return rows, err
	}
	if err := Embed(ctx, rows.X[lo*t.dim:hi*t.dim], t.net, t.network, split, lo, hi, opt); err != nil {
		return rows, fmt.Errorf("evaluation: %w", err)
	}
	return rows, g.ring.AllGather(ctx, t.step, phase, rows.X, parts)
}

// SplitRows is room for the embeddings of a split, with labels and an id for each image.
func SplitRows(split *dataset.Split, dim int) retrieval.Rows {
	n := len(split.Images)
	rows := retrieval.Rows{X: make([]float32, n*dim), Dim: dim, Labels: split.Labels(), IDs: make([]int64, n)}
	for i := range rows.IDs {
		rows.IDs[i] = int64(i)
	}
	return rows
}

// QueryRows returns the rows of a split that are queries and those they are compared with. They are
// all rows twice, and no image finds itself, unless the split tells queries from a gallery.
func QueryRows(split *dataset.Split, rows retrieval.Rows) (queries, gallery retrieval.Rows) {
	part := func(lo, hi int) retrieval.Rows {
		return retrieval.Rows{X: rows.X[lo*rows.Dim : hi*rows.Dim], Dim: rows.Dim, Labels: rows.Labels[lo:hi], IDs: rows.IDs[lo:hi]}
	}
	return part(0, split.Queries()), part(split.Gallery(), rows.Len())
}

// MeasureGeometry measures alignment, uniformity and utilisation, with and without mixes of the rows.
func MeasureGeometry(ctx context.Context, test, train retrieval.Rows, r *recipe.Recipe, threads int) (*retrieval.Geometry, error) {
	g, err := retrieval.MeasureGeometry(ctx, test, train, mixEach(test, r, 1), mixEach(train, r, 0), retrieval.Options{Threads: threads})
	return &g, err
}

// mixEach mixes every row with a random row of another class, lambda drawn as the recipe draws it for
// embeddings. stream tells the draws for different rows apart.
func mixEach(rows retrieval.Rows, r *recipe.Recipe, stream uint64) retrieval.Mixed {
	mixed := retrieval.Mixed{Rows: retrieval.Rows{X: make([]float32, len(rows.X)), Dim: rows.Dim}}
	alpha := r.Mix.Config().At(metrix.LevelEmbed).Alpha
	var o metrix.Operator
	for i := range rows.Labels {
		d := draw.Of(r.Seed, draw.Geometry, uint64(i), stream)
		j := d.IntN(len(rows.Labels))
		for try := 0; rows.Labels[j] == rows.Labels[i] && try < 100; try++ { // a set of one class has no other
			j = d.IntN(len(rows.Labels))
		}
		p := metrix.Pair{I: int32(i), J: int32(j), Lambda: float32(d.Beta(alpha, alpha))}
		o, mixed.First, mixed.Lambda = append(o, p), append(mixed.First, p.I), append(mixed.Lambda, p.Lambda)
	}
	o.Apply(mixed.Rows.X, rows.X, rows.Dim)
	metrix.Normalize(mixed.Rows.X, mixed.Rows.X, rows.Dim)
	return mixed
}

// score ranks this worker's part of the queries against the gallery and gathers everybody's results.
func (t *trainer) score(ctx context.Context, g *generation, rows retrieval.Rows) ([]retrieval.Result, error) {
	queries, gallery := QueryRows(t.cfg.Data.Test, rows)
	n := queries.Len()
	lo, hi := retrieval.Range(n, g.rank, g.world)
	mine, err := retrieval.Evaluate(ctx, queries, gallery, lo, hi, retrieval.Options{Threads: t.cfg.Threads})
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
