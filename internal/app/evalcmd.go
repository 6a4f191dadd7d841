package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/worker"
)

// evalReport is what metrix eval prints.
type evalReport struct {
	Checkpoint string              `json:"checkpoint"`
	Step       int64               `json:"step"`
	Data       string              `json:"data"`
	Split      string              `json:"split"`
	Images     int                 `json:"images"`
	Classes    int                 `json:"classes"`
	Metrics    retrieval.Metrics   `json:"metrics"`
	NMI        *float64            `json:"nmi,omitempty"`
	Geometry   *retrieval.Geometry `json:"geometry,omitempty"`
}

// evalOptions are the flags of metrix eval.
type evalOptions struct {
	checkpoint, data, split, layout, engine string
	embeddings, gallery                     string
	recall                                  []int
	threads                                 int
	nmi, geometry, json                     bool
}

func newEval() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Evaluate a checkpoint or stored embeddings: Recall@K, MAP@R, R-precision, NMI",
		Long: `eval embeds a split of a data set with the network of a checkpoint and measures retrieval: every image
is a query against all others; where the set tells queries from a gallery (In-Shop), a query is compared
with the gallery. Neighbours are exact; ties go to the lower index. Images whose class
has no other image are no queries.

With --embeddings it measures a safetensors file instead: "embeddings" (N x d, made unit if they are
not) and "labels" (N whole numbers). --gallery names a second one to search in, as for In-Shop; its
images must not be among the queries.`,
		Example: `  metrix eval --checkpoint runs/demo/best/step-00000200 --data DIR --recall 1,10,100,1000
  metrix eval --embeddings query.safetensors --gallery gallery.safetensors --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.evaluate(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.checkpoint, "checkpoint", "", "folder of a checkpoint, or of checkpoints: the newest is taken")
	f.StringVar(&o.data, "data", "", "folder of the data set")
	f.StringVar(&o.embeddings, "embeddings", "", "safetensors file to measure, instead of --checkpoint and --data")
	f.StringVar(&o.gallery, "gallery", "", "safetensors file to search in (default: the one of --embeddings)")
	f.StringVar(&o.split, "split", "test", "test or train")
	f.StringVar(&o.layout, "layout", "auto", layoutUsage("of the data set"))
	f.StringVar(&o.engine, "engine", "auto", engineUsage)
	f.IntSliceVar(&o.recall, "recall", nil, "the K of Recall@K (default: the recipe's, or 1,10,100,1000)")
	f.IntVar(&o.threads, "threads", runtime.NumCPU(), "cores to use")
	f.BoolVar(&o.nmi, "nmi", false, "also cluster and measure the normalised mutual information")
	f.BoolVar(&o.geometry, "geometry", false, "also embed the training split and measure alignment, uniformity and utilisation")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// check refuses combinations of flags that name nothing to evaluate, or two things.
func (o *evalOptions) check(cmd *cobra.Command) error {
	switch {
	case o.embeddings != "":
		return o.checkEmbeddings(cmd)
	case o.gallery != "":
		return errors.New("--gallery is searched for the rows of --embeddings: give that too")
	case o.checkpoint == "" || o.data == "":
		return errors.New("nothing to evaluate: give --checkpoint and --data, or --embeddings")
	}
	return nil
}

func (o *evalOptions) evaluate(cmd *cobra.Command) error {
	ctx, _, release := cli.Interrupts(cmd.Context())
	defer release()
	if err := o.check(cmd); err != nil {
		return cli.Usage(err)
	}
	if o.embeddings != "" {
		return o.measureEmbeddings(ctx, cmd)
	}
	path, m, r, err := openCheckpoint(o.checkpoint)
	if err != nil {
		return cli.Usage(err)
	}
	set, err := dataset.Open(o.data, o.layout)
	if err != nil {
		return cli.Usage(err)
	}
	if set, err = set.With(worker.DeliveryOf(r)); err != nil {
		return cli.Usage(err)
	}
	split, err := pickSplit(set, o.split)
	if err != nil {
		return cli.Usage(err)
	}
	choice := r.Engine
	choice.Name = o.engine
	eng, err := openEngine(choice, rankDevice, slog.Default())
	if err != nil {
		return err
	}
	rows, err := embedSplit(ctx, eng, path, r, split, o.threads)
	if err != nil {
		return err
	}
	if len(o.recall) == 0 {
		o.recall = r.Eval.Recall
	}
	n := len(split.Images)
	queries, gallery := worker.QueryRows(split, rows)
	results, err := retrieval.Evaluate(ctx, queries, gallery, 0, queries.Len(), retrieval.Options{Recall: o.recall, Threads: o.threads})
	if err != nil {
		return err
	}
	report := evalReport{
		Checkpoint: path, Step: m.Step, Data: split.Root, Split: o.split, Images: n, Classes: len(split.Classes),
		Metrics: retrieval.Summarize(results, o.recall),
	}
	if o.nmi {
		v, err := retrieval.NMI(ctx, rows, r.Seed, retrieval.Options{Threads: o.threads})
		if err != nil {
			return err
		}
		report.NMI = &v
	}
	if o.geometry {
		train, err := embedSplit(ctx, eng, path, r, set.Train, o.threads)
		if err != nil {
			return err
		}
		if report.Geometry, err = worker.MeasureGeometry(ctx, rows, train, r, o.threads); err != nil {
			return err
		}
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), report)
	}
	return printEval(cmd, report)
}

func printEval(cmd *cobra.Command, e evalReport) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s (step %d)\n%d images of %d classes, %s split of %s\n", e.Checkpoint, e.Step, e.Images, e.Classes, e.Split, e.Data)
	rows := [][]string{metricHeader(e.Metrics), metricRow("", e.Metrics)}
	if err := printTable(out, rows); err != nil {
		return err
	}
	if e.NMI != nil {
		fmt.Fprintf(out, "NMI %.2f%%\n", 100**e.NMI)
	}
	if g := e.Geometry; g != nil {
		fmt.Fprintf(out, "alignment %.4f, uniformity %.4f, utilisation %.4f\n", g.Alignment, g.Uniformity, g.Utilisation)
		fmt.Fprintf(out, "with mixed rows: alignment %.4f, uniformity %.4f, utilisation %.4f\n", *g.AlignmentMixed, *g.UniformityMixed, *g.UtilisationMixed)
	}
	if e.Metrics.Skipped > 0 {
		fmt.Fprintf(out, "%d images are alone in their class and were no queries\n", e.Metrics.Skipped)
	}
	return nil
}

func pickSplit(set *dataset.Set, name string) (*dataset.Split, error) {
	switch name {
	case "test":
		return set.Test, nil
	case "train":
		return set.Train, nil
	}
	return nil, fmt.Errorf("--split is %q; it must be test or train", name)
}

// openCheckpoint takes the folder of one checkpoint or of several.
func openCheckpoint(path string) (string, checkpoint.Manifest, *recipe.Recipe, error) {
	if latest, err := checkpoint.Latest(path); err == nil {
		path = latest
	}
	m, err := checkpoint.Verify(path)
	if err != nil {
		return "", m, nil, err
	}
	r, err := recipe.Parse("recipe in checkpoint "+path, []byte(m.Recipe), nil)
	return path, m, r, err
}

// embedSplit embeds a whole split with the network of a checkpoint.
func embedSplit(ctx context.Context, eng engine.Engine, path string, r *recipe.Recipe, split *dataset.Split, threads int) (retrieval.Rows, error) {
	network, err := worker.NetworkOf(r)
	if err != nil {
		return retrieval.Rows{}, err
	}
	mem := newMemory(network)
	if err := worker.LoadNetwork(path, network, mem.Params, mem.Buffers); err != nil {
		return retrieval.Rows{}, err
	}
	net, err := eng.Open(network, mem, engine.Options{Threads: threads})
	if err != nil {
		return retrieval.Rows{}, err
	}
	defer net.Close()
	n := len(split.Images)
	rows := worker.SplitRows(split, network.Dim)
	transform := worker.TransformOf(r)
	err = worker.Embed(ctx, rows.X, net, network, split, 0, n, worker.EmbedOptions{Transform: &transform, Limits: dataset.DefaultLimits(), Threads: threads})
	return rows, err
}

func newMemory(n *model.Network) engine.Memory {
	return engine.Memory{
		Params: make([]float32, n.NumParams()), Grads: make([]float32, n.NumParams()),
		Buffers: make([]float32, n.NumBuffers()), BufferSums: make([]float32, n.NumBuffers()),
	}
}
