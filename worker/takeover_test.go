package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

// onEvaluated is a log handler that calls f once, when a worker has evaluated step.
type onEvaluated struct {
	slog.Handler
	step run.Step
	once *sync.Once
	f    func()
}

func (h onEvaluated) Enabled(context.Context, slog.Level) bool { return true }

func (h onEvaluated) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "evaluated" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "step" && a.Value.String() == fmt.Sprint(h.step) {
				h.once.Do(h.f)
			}
			return true
		})
	}
	return nil
}

// cutLog takes the last n lines, which are of step, off a step log.
func cutLog(t *testing.T, out string, step run.Step, n int) {
	t.Helper()
	records, err := ReadJournal(out)
	require.NoError(t, err)
	require.Equal(t, step, records[len(records)-1].Step)
	text, err := os.ReadFile(journalPath(out))
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n") // the last is empty
	require.NoError(t, os.WriteFile(journalPath(out), []byte(strings.Join(lines[:len(lines)-1-n], "")), 0o644))
}

// Rank 0 may die when a step or an evaluation is done by all, and not written down: the rank that takes
// its place writes down what is missing, once.
func TestWhatADeadWriterLeftUnwritten(t *testing.T) {
	r := parse(t, "train.eval_every_steps=5", "train.checkpoint_every_steps=0")
	want, wantResult := undisturbed(t, r)
	for _, evaluated := range []bool{false, true} {
		t.Run(fmt.Sprintf("evaluated=%t", evaluated), func(t *testing.T) {
			c, out := newCluster(t, 1, patient), t.TempDir()
			c.create("run", r, 2)
			ctx, die := context.WithCancel(context.Background())
			defer die()
			cut := make(chan struct{})
			writer, heir := c.config("run", "w0", r, out), c.config("run", "w1", r, out)
			if evaluated {
				writer.Logger = slog.New(onEvaluated{Handler: slog.DiscardHandler, step: 10, once: new(sync.Once), f: die})
				heir.Logger = slog.New(onEvaluated{Handler: slog.DiscardHandler, step: 10, once: new(sync.Once), f: func() { <-cut }})
			} else {
				writer.OnStep, heir.OnStep = at(9, die), at(9, func() { <-cut })
			}
			dead := start(ctx, writer)
			waitFor(t, c, func(s api.RunStatus) bool { return len(s.Members) == 1 }) // so that w0 has rank 0
			b := start(context.Background(), heir)
			require.ErrorIs(t, (<-dead).err, context.Canceled)
			if evaluated { // neither the line nor the best network
				cutLog(t, out, 10, 1)
				require.NoError(t, os.RemoveAll(bestPath(out)))
			} else {
				cutLog(t, out, 9, 1)
			}
			close(cut)
			require.NoError(t, (<-b).err)

			got, gotResult := written(t, out)
			require.Equal(t, stepsOf(want), stepsOf(got))
			requireSameRun(t, want, got, wantResult, gotResult)
			require.Equal(t, wantResult.Best.Step, gotResult.Best.Step)
			best, err := checkpoint.Latest(bestPath(out))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("step-%08d", wantResult.Best.Step), filepath.Base(best))
		})
	}
}

// Rank 0 may be a step behind another, which then gives it the state, and with it the record of the
// step, the best score so far and the loss.
func TestARankBehindTakesTheRecordOver(t *testing.T) {
	server, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Close()) }()
	behind, ahead := newTestTrainer(t, t.TempDir()), newTestTrainer(t, t.TempDir())
	behind.step, behind.evaluated = 4, 4
	ahead.step, ahead.best, ahead.bestAt = 5, 0.75, 3
	ahead.weights[0]++
	ahead.last = StepRecord{Step: 5, Generation: 2, Workers: 3, LearningRate: 1e-3, MixPairs: "positive-negative", Loss: &Loss{Clean: 0.1, Mixed: 0.2, Total: 0.3}}
	met := make(chan error, 2)
	for rank, tr := range []*trainer{behind, ahead} {
		nc, err := server.Connect(allreduce.ConnectOptions()...)
		require.NoError(t, err)
		defer nc.Close()
		cfg := allreduce.DefaultConfig()
		cfg.Run, cfg.Generation, cfg.Rank, cfg.World = "tiny", 3, run.Rank(rank), 2
		transport, err := allreduce.NATS(nc, cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, transport.Close()) }()
		ring, err := allreduce.New(cfg, transport)
		require.NoError(t, err)
		go func() {
			met <- tr.meet(context.Background(), &generation{rank: run.Rank(rank), world: 2, ring: ring})
		}()
	}
	require.NoError(t, <-met)
	require.NoError(t, <-met)
	require.EqualValues(t, 5, behind.step)
	require.Equal(t, ahead.weights, behind.weights)
	require.Equal(t, ahead.last, behind.last)
	require.Equal(t, Loss{Clean: 0.1, Mixed: 0.2, Total: 0.3}, behind.lastLoss)
	require.Equal(t, 0.75, behind.best)
	require.EqualValues(t, 3, behind.bestAt)
	require.EqualValues(t, -1, behind.evaluated, "of another step")
	require.EqualValues(t, -1, ahead.evaluated, "only rank 0 knows")
}

func TestTheBestIsTheFirstOfEquals(t *testing.T) {
	tr := &trainer{best: -1}
	for _, c := range []struct {
		step   run.Step
		recall float64
		best   bool
	}{{5, 0.5, true}, {10, 0.4, false}, {15, 0.5, false}, {20, 0.6, true}, {20, 0.6, true}, {25, 0.6, false}} {
		tr.step = c.step
		require.Equal(t, c.best, tr.noteBest(c.recall), "step %d", c.step)
	}
	require.EqualValues(t, 20, tr.bestAt)
}
