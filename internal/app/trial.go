package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/worker"
)

// pollInterval is how often progress is asked for.
const pollInterval = 200 * time.Millisecond

// crew is the worker processes of one trial.
type crew struct {
	trial    *trial
	cluster  *cluster
	args     []string
	env      []string
	started  int
	restarts int // left
	live     []*process
	exits    chan *process
	firstErr error
}

// runTrial runs one recipe to its end and returns what rank 0 reported.
func (o *trainOptions) runTrial(ctx context.Context, stop <-chan struct{}, c *cluster, t *trial, data string, say *printer) (*worker.Result, error) {
	r := t.recipe
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(t.out, "recipe.yaml"), r.Canonical(), 0o644); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	err := c.client.Create(ctx, api.Spec{
		Run: t.id, Recipe: r.Canonical(), Hash: r.Hash(), Shards: r.Batch.Shards, MinWorkers: r.Workers, Resume: o.resume,
	})
	if err != nil {
		return nil, err
	}
	threads := r.Engine.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()/r.Workers)
	}
	w := &crew{
		trial: t, cluster: c, restarts: o.restarts, exits: make(chan *process),
		args: []string{
			"worker", "--nats", c.url, "--group", c.group, "--run", string(t.id), "--data", data, "--out", t.out,
			"--threads", strconv.Itoa(threads), "--engine", r.Engine.Name,
		},
		env: []string{"OMP_NUM_THREADS=" + strconv.Itoa(threads)},
	}
	defer w.killAll()
	for slot := range r.Workers {
		if err := w.start(slot); err != nil {
			return nil, err
		}
	}
	if err := w.wait(ctx, stop, say); err != nil {
		return nil, err
	}
	return worker.ReadResult(t.out)
}

// start starts one more worker. Its slot decides which of the machine's cards it takes.
func (w *crew) start(slot int) error {
	name := fmt.Sprintf("worker-%d", w.started)
	env := append(slices.Clone(w.env), envLocalRank+"="+strconv.Itoa(slot))
	p, err := startProcess(name, filepath.Join(w.trial.out, "logs"), env, append(w.args, "--name", w.instance(name)))
	if err != nil {
		return err
	}
	p.slot = slot
	w.started++
	w.live = append(w.live, p)
	go func() {
		<-p.done
		w.exits <- p
	}()
	return nil
}

// instance is the unique name under which a process joins the run.
func (w *crew) instance(name string) string { return fmt.Sprintf("%s.%s", w.cluster.group, name) }

// wait follows the run until no worker is left.
func (w *crew) wait(ctx context.Context, stop <-chan struct{}, say *printer) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	stopping := false
	bar := say.progress(w.trial)
	defer bar.close()
	for len(w.live) > 0 {
		select {
		case p := <-w.exits:
			w.gone(ctx, p, stopping, bar)
		case <-stop:
			stop, stopping = nil, true
			bar.note("stopping after the step in flight; Ctrl-C again stops at once")
			for _, p := range w.live {
				p.stop()
			}
		case <-ctx.Done():
			return cli.ErrInterrupted
		case <-tick.C:
			bar.update(w.status(ctx), w.trial.steps)
		}
	}
	switch {
	case w.firstErr != nil:
		return w.firstErr
	case stopping && !finishedIn(w.trial.out):
		bar.close()
		say.line("Stopped. To go on from the checkpoint, %s.", say.again)
		return cli.ErrInterrupted
	}
	return nil
}

// finishedIn reports whether the run in an output folder reached its end, even though a stop was
// asked for.
func finishedIn(out string) bool {
	r, err := worker.ReadResult(out)
	return err == nil && r.Finished
}

// gone handles a worker process that ended: it is replaced unless it ended well, the user must mend
// something, or replacements are used up.
func (w *crew) gone(ctx context.Context, p *process, stopping bool, bar *bar) {
	for i, q := range w.live {
		if q == p {
			w.live = append(w.live[:i], w.live[i+1:]...)
			break
		}
	}
	code := p.code()
	if code == cli.ExitOK || stopping && code == cli.ExitInterrupted {
		return
	}
	// Its lease would tell the others in a second; a word from us tells them now.
	leaveCtx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = w.cluster.client.Leave(leaveCtx, w.trial.id, w.instance(p.name))
	how := fmt.Sprintf("%s ended with code %d: %s", p.name, code, p.lastLine())
	if code == -1 {
		how = fmt.Sprintf("%s was killed (%s)", p.name, p.cmd.ProcessState)
	}
	if code != cli.ExitUsage && !stopping && w.restarts > 0 && w.firstErr == nil {
		w.restarts--
		bar.note(how + "; starting another")
		if err := w.start(p.slot); err == nil {
			return
		}
	}
	bar.note(how)
	err := fmt.Errorf("%s; its log is %s", how, p.log)
	if code == cli.ExitUsage {
		err = cli.Usage(err)
	}
	if len(w.live) == 0 || code == cli.ExitUsage {
		w.firstErr = errors.Join(w.firstErr, err)
	}
	if code == cli.ExitUsage { // the others would fail alike
		for _, q := range w.live {
			q.stop()
		}
	}
}

// status asks the coordinator about this trial; nil if it cannot say now.
func (w *crew) status(ctx context.Context) *api.RunStatus {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := w.cluster.client.Status(ctx)
	if err != nil {
		return nil
	}
	for i := range s.Runs {
		if s.Runs[i].Run == w.trial.id {
			return &s.Runs[i]
		}
	}
	return nil
}

// killAll ends what is still alive and waits for it.
func (w *crew) killAll() {
	for _, p := range w.live {
		p.kill()
	}
	for range w.live {
		<-w.exits
	}
}
