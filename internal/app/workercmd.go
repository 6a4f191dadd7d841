package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/telemetry"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/worker"
)

// gcPercent is how much garbage, in percent of what is in use, is collected at once. What is in use is
// large blocks of numbers, which cost the collector nothing, and garbage is frames of a MiB.
const gcPercent = 25

// workerOptions are the flags of a worker.
type workerOptions struct {
	nats, group  string
	recipe, run  string
	set          []string
	data, out    string
	scratch      string
	minWorkers   int
	threads      int
	engine       string
	device       int
	name         string
	weight       float64
	http         string
	waitForGroup time.Duration
}

// NewWorker is the command that trains.
func NewWorker() *cobra.Command {
	var o workerOptions
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Train as one worker of a run",
		Long: `worker joins a run and trains the shards that the coordinator gives it, until the run is over.

With --recipe it creates the run (named by the recipe, or by --run) if nobody has yet; with --run
alone it takes the recipe from the coordinator. SIGTERM makes it leave after the step in flight; if
all workers are asked, the last state is written as a checkpoint. Every flag can be given as an
environment variable: --min-workers is METRIX_MIN_WORKERS.

Exit codes: 0 the run is finished, also if it was before this worker came; 64 wrong usage, recipe or
data (do not retry); 130 stopped as asked; 1 anything else.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.work(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.nats, "nats", nats.DefaultURL, "URL of the NATS server")
	f.StringVar(&o.group, "group", cli.DefaultGroup, "name of the coordinators' group")
	f.StringVar(&o.recipe, "recipe", "", "recipe file; creates the run if needed")
	f.StringArrayVar(&o.set, "set", nil, "override a key of the recipe, `key=value`; may be repeated")
	f.StringVar(&o.run, "run", "", "name of the run (default: the recipe's name)")
	f.StringVar(&o.data, "data", "", "folder of the data set (default: the recipe's data.path)")
	f.StringVar(&o.out, "out", "", "folder of checkpoints and logs, the same for all workers (default runs/NAME)")
	f.StringVar(&o.scratch, "scratch", "", "folder on a disk of this machine for what a large batch keeps of a step (default: --out)")
	f.IntVar(&o.minWorkers, "min-workers", 0, "training starts once so many workers joined (default: the recipe's workers)")
	f.IntVar(&o.threads, "threads", 0, "cores to use (default: the recipe's engine.threads, or all)")
	f.StringVar(&o.engine, "engine", "", engineUsage+" (default: the recipe's engine.name)")
	f.IntVar(&o.device, "device", rankDevice, deviceUsage)
	f.StringVar(&o.name, "name", "", "unique name of this worker process (default: host, process id and time)")
	f.Float64Var(&o.weight, "weight", 1, "speed relative to other workers; a faster one owns more shards")
	f.StringVar(&o.http, "http", "", "address for /healthz, /readyz and /metrics, such as :9090 (default: none)")
	f.DurationVar(&o.waitForGroup, "wait-for-coordinator", 2*time.Minute, "how long to wait for a coordinator at the start")
	return cmd
}

func (o *workerOptions) work(cmd *cobra.Command) (err error) {
	if err := cli.FromEnvironment(cmd); err != nil {
		return err
	}
	if o.recipe == "" && o.run == "" {
		return cli.Usage(errors.New("give --recipe FILE to create a run or --run NAME to join one"))
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if o.name == "" {
		o.name = fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	ctx, stop, release := cli.Interrupts(cmd.Context())
	defer release()
	ctx, cancel := untilLeashBreaks(ctx)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	tel, err := telemetry.Install(ctx, "worker", o.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tel.Shutdown()) }()
	if o.http != "" {
		server, err := telemetry.Serve(o.http, probes(tel.Metrics))
		if err != nil {
			return cli.Usage(err)
		}
		defer server.Close()
	}

	control, err := cli.ConnectNATS(o.nats, o.name+" control") // beats must not queue behind gradients
	if err != nil {
		return err
	}
	defer control.Close()
	data, err := cli.ConnectNATS(o.nats, o.name+" ring", allreduce.ConnectOptions()...)
	if err != nil {
		return err
	}
	defer data.Close()
	client := api.Dial(control, o.group)
	err = o.train(ctx, client, host, stop, log, data)
	if errors.Is(err, api.ErrRunOver) && o.finished(ctx, client) {
		log.Info("the run is finished already; give another --run to train again", "run", o.run)
		return nil
	}
	return err
}

// train takes part in the run until it is over.
func (o *workerOptions) train(ctx context.Context, client *api.Client, host string, stop <-chan struct{}, log *slog.Logger, data *nats.Conn) error {
	cfg, err := o.config(ctx, client)
	if err != nil {
		return err
	}
	cfg.Host, cfg.Stop, cfg.Logger = host, stop, log
	cfg.Connect = func(rc allreduce.Config) (allreduce.Transport, error) {
		t, err := allreduce.NATS(data, rc)
		if err != nil {
			return nil, err
		}
		return allreduce.Local(t, rc), nil
	}
	log.Info("worker ready", "run", cfg.Run, "name", cfg.Name, "engine", engineDescription(cfg.Engine), "threads", cfg.Threads)
	_, err = worker.Run(ctx, *cfg)
	switch {
	case errors.Is(err, worker.ErrStopped):
		return cli.ErrInterrupted
	case errors.Is(err, worker.ErrPretrained):
		return cli.Usage(err)
	}
	return err
}

// finished reports whether the run has reached its end, so that a worker that comes too late, such as a
// Pod that was restarted, has nothing to complain of.
func (o *workerOptions) finished(ctx context.Context, client *api.Client) bool {
	s, err := client.Status(ctx)
	return err == nil && slices.ContainsFunc(s.Runs, func(r api.RunStatus) bool {
		return r.Run == run.ID(o.run) && r.Phase == api.Finished
	})
}

// probes are the HTTP handlers of a worker. It is ready as soon as it lives: its readiness for a
// step is the coordinator's business.
func probes(metrics http.Handler) map[string]http.Handler {
	ok := telemetry.OK(func() error { return nil })
	return map[string]http.Handler{"/healthz": ok, "/readyz": ok, "/metrics": metrics}
}

// config finds recipe, data and engine.
func (o *workerOptions) config(ctx context.Context, client *api.Client) (*worker.Config, error) {
	r, id, err := o.findRecipe(ctx, client)
	if err != nil {
		return nil, err
	}
	if o.data == "" {
		o.data = r.Data.Path
	}
	if o.data == "" {
		return nil, cli.Usage(fmt.Errorf("run %s names no data; give its folder with --data", id))
	}
	set, err := dataset.Open(o.data, r.Data.Layout)
	if err != nil {
		return nil, cli.Usage(err)
	}
	if _, err := set.With(worker.DeliveryOf(r)); err != nil {
		return nil, cli.Usage(err)
	}
	choice := r.Engine
	if o.engine != "" {
		choice.Name = o.engine
	}
	eng, err := openEngine(choice, o.device, slog.Default())
	if err != nil {
		return nil, err
	}
	if o.threads == 0 {
		o.threads = r.Engine.Threads
	}
	if o.threads <= 0 {
		o.threads = runtime.GOMAXPROCS(0)
	}
	if o.out == "" {
		o.out = filepath.Join("runs", string(id))
	}
	return &worker.Config{
		Run: id, Name: o.name, Weight: o.weight, Recipe: r, Data: set, Engine: eng, Threads: o.threads,
		Coordinator: client, Out: o.out, Scratch: o.scratch,
	}, nil
}

// findRecipe creates the run from --recipe, or asks the coordinator for the one of --run.
func (o *workerOptions) findRecipe(ctx context.Context, client *api.Client) (*recipe.Recipe, run.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, o.waitForGroup)
	defer cancel()
	if o.recipe == "" {
		spec, err := client.Describe(ctx, run.ID(o.run))
		if err != nil {
			return nil, "", fmt.Errorf("asking for run %s: %w", o.run, err)
		}
		r, err := recipe.Parse("recipe of run "+o.run, spec.Recipe, nil)
		return r, spec.Run, cli.Usage(err)
	}
	r, err := recipe.Load(o.recipe, o.set...)
	if err != nil {
		return nil, "", cli.Usage(err)
	}
	id := run.ID(r.Name)
	if o.run != "" {
		id = run.ID(o.run)
	}
	o.run = string(id)
	if o.minWorkers == 0 {
		o.minWorkers = r.Workers
	}
	err = client.Create(ctx, api.Spec{Run: id, Recipe: r.Canonical(), Hash: r.Hash(), Shards: r.Batch.Shards, MinWorkers: o.minWorkers})
	if errors.Is(err, api.ErrConflict) || errors.Is(err, api.ErrInvalid) {
		err = cli.Usage(err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("creating run %s: %w", id, err)
	}
	return r, id, nil
}

// untilLeashBreaks cancels the context when the process that started this one is gone.
func untilLeashBreaks(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	gone := leashed()
	go func() {
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
