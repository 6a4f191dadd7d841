package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/worker"
)

// trainOptions are the flags of metrix train.
type trainOptions struct {
	set      []string
	workers  int
	out      string
	data     string
	nats     string
	resume   bool
	json     bool
	dryRun   bool
	restarts int
}

func newTrain() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train RECIPE",
		Short: "Train a recipe on this machine: coordinator, NATS server and worker processes included",
		Long: `train runs a whole recipe on this machine: it starts a NATS server, a raft-backed coordinator and the
worker processes, shows progress, evaluates, and writes checkpoints, a step log and a report.

The run is a function of recipe and seed: --workers changes its speed only. A worker that dies is
replaced and the run goes on. Ctrl-C stops after the step in flight and writes a checkpoint, from
which --resume goes on as if it had not stopped; a second Ctrl-C stops at once.`,
		Example: `  metrix train recipes/demo.yaml
  metrix train recipes/icons.yaml --data DIR --workers 2 --out runs/icons
  metrix train recipes/icons.yaml --set optimizer.lr=1e-4 --set mix.level=none
  metrix train recipes/icons.yaml --out runs/icons --resume
  metrix train recipes/icons.yaml --data DIR --workers 4 --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.train(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.set, "set", nil, "override a key of the recipe, `key=value`; may be repeated")
	f.IntVar(&o.workers, "workers", 0, "worker processes (default: the recipe's workers)")
	f.StringVar(&o.out, "out", "", "output folder (default runs/NAME, or runs/NAME-2 and so on)")
	f.StringVar(&o.data, "data", "", "folder of the data set (default: the recipe's data.path, or generated images)")
	f.StringVar(&o.nats, "nats", "", "use the NATS server at this URL instead of an embedded one")
	f.BoolVar(&o.resume, "resume", false, "go on with the run in the output folder")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what the run would do, and do nothing")
	f.BoolVar(&o.json, "json", false, "print one JSON object at the end, and progress on standard error only")
	f.IntVar(&o.restarts, "max-restarts", 3, "how many workers that died are replaced")
	return cmd
}

// trial is one run that train makes: the recipe's own, or its twin without mixing.
type trial struct {
	title  string
	id     run.ID
	recipe *recipe.Recipe
	out    string
	steps  int64 // of the whole run
	result *worker.Result
}

func (o *trainOptions) train(cmd *cobra.Command, path string) error {
	r, err := o.load(path)
	if err != nil {
		return cli.Usage(err)
	}
	if o.dryRun {
		return o.plan(cmd, r)
	}
	if o.out == "" {
		o.out = defaultOut(r.Name, o.resume)
	}
	if err := findPretrained(r, o.resume); err != nil {
		return cli.Usage(err)
	}
	if err := prepareOut(o.out, o.resume); err != nil {
		return cli.Usage(err)
	}
	say := newPrinter(cmd, o.json)
	j, err := o.prepare(cmd.Context(), r, say)
	if err != nil {
		return err
	}
	ctx, stop, release := cli.Interrupts(cmd.Context())
	defer release()
	return o.do(ctx, stop, cmd, j, say)
}

// findPretrained makes sure that the weights that a new run starts from are there.
func findPretrained(r *recipe.Recipe, resume bool) error {
	if r.Model.Pretrained == "" || resume {
		return nil
	}
	if _, err := os.Stat(r.Model.Pretrained); err != nil {
		return fmt.Errorf("model.pretrained: %s cannot be read (%w); docs/weights.md says where weights come from, and "+
			"--set model.pretrained= starts from random ones", r.Model.Pretrained, errors.Unwrap(err))
	}
	return nil
}

// load reads a recipe with the overrides of the command line.
func (o *trainOptions) load(path string, set ...string) (*recipe.Recipe, error) {
	r, err := recipe.Load(path, append(slices.Clone(o.set), set...)...)
	if err != nil || o.workers <= 0 {
		return r, err
	}
	r.Workers = o.workers
	return r, r.Validate()
}

// job is a recipe whose data is there and fits.
type job struct {
	recipe *recipe.Recipe
	data   string // folder
	steps  int64
}

// prepare makes sure that recipe and data go together before anything is started.
func (o *trainOptions) prepare(ctx context.Context, r *recipe.Recipe, say *printer) (job, error) {
	data, err := o.prepareData(ctx, r, say)
	if err != nil {
		return job{}, err
	}
	steps, err := countSteps(r, data)
	return job{r, data, steps}, cli.Usage(err)
}

// do runs a job in the output folder to its end and shows the outcome.
func (o *trainOptions) do(ctx context.Context, stop <-chan struct{}, cmd *cobra.Command, j job, say *printer) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent)) // the embedded server passes frames on
	cluster, err := startCluster(ctx, o.nats, filepath.Join(o.out, "coordinator"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.close()) }()
	unpublish, err := cluster.publish(o.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unpublish()) }()
	trials, err := trialsOf(j.recipe, o.out)
	if err != nil {
		return err
	}
	for i := range trials {
		t := &trials[i]
		t.steps = j.steps
		say.heading(t, j.recipe.Workers, j.data)
		t.result, err = o.runTrial(ctx, stop, cluster, t, j.data, say)
		if err != nil {
			return err
		}
	}
	return o.conclude(cmd, trials, j.data, say)
}

// trialsOf returns the runs that a recipe asks for: with compare, first its twin without mixing.
func trialsOf(r *recipe.Recipe, out string) ([]trial, error) {
	own := trial{title: titleOf(r), id: run.ID(r.Name), recipe: r, out: out}
	if r.Compare == "none" || r.Mix.Level == "none" {
		return []trial{own}, nil
	}
	plain, err := recipe.Parse(r.Name, r.Canonical(), []string{"mix.level=none", "compare=none"})
	if err != nil {
		return nil, fmt.Errorf("the recipe without mixing: %w", err)
	}
	return []trial{
		{title: titleOf(plain), id: run.ID(r.Name + "-plain"), recipe: plain, out: filepath.Join(out, "plain")},
		own,
	}, nil
}

func titleOf(r *recipe.Recipe) string {
	if r.Mix.Level == "none" {
		return r.Loss.Form + ", without mixing"
	}
	return r.Loss.Form + ", with Metrix (" + r.Mix.Level + ")"
}

// countSteps returns the length of the run; on the way it finds out whether data and recipe fit
// together, before anything is started.
func countSteps(r *recipe.Recipe, data string) (int64, error) {
	set, err := dataset.Open(data, r.Data.Layout)
	if err != nil {
		return 0, err
	}
	if set, err = set.With(worker.DeliveryOf(r)); err != nil {
		return 0, err
	}
	s, err := worker.SamplerOf(r, set.Train)
	if err != nil {
		return 0, err
	}
	return worker.ScheduleOf(r).Total(s.StepsPerEpoch()), nil
}

// defaultOut is runs/NAME, or runs/NAME-2 and so on: the first that is free, or the last that is not
// if a run is to be resumed.
func defaultOut(name string, resume bool) string {
	out := filepath.Join("runs", name)
	for n := 2; ; n++ {
		next := fmt.Sprintf("%s-%d", filepath.Join("runs", name), n)
		free, nextFree := vacant(out), vacant(next)
		if !resume && free || resume && (free || nextFree) {
			return out
		}
		out = next
	}
}

// vacant reports whether a folder is missing or empty.
func vacant(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err != nil || len(entries) == 0
}

// prepareOut refuses an output folder that holds another run, and a resume of nothing.
func prepareOut(out string, resume bool) error {
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, os.ErrNotExist) && resume:
		return fmt.Errorf("there is no run to resume in %s; leave --resume out to start one", out)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("output folder: %w", err)
	case len(entries) > 0 && !resume:
		return fmt.Errorf("the output folder %s already holds a run; go on with it by --resume, choose another by --out, or delete it", out)
	}
	return nil
}

// prepareData returns the folder of the recipe's images, generating them if the recipe says so.
func (o *trainOptions) prepareData(ctx context.Context, r *recipe.Recipe, say *printer) (string, error) {
	path := o.data
	if path == "" {
		path = r.Data.Path
	}
	if path != "" {
		return filepath.Abs(path)
	}
	if r.Data.Synth.Classes == 0 {
		return "", cli.Usage(fmt.Errorf("recipe %s names no data; give its folder with --data", r.Name))
	}
	return synthesize(ctx, r.Data.Synth, say)
}
