package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
)

// undisturbed is the run that all disturbed ones must equal.
func undisturbed(t *testing.T, r *recipe.Recipe) ([]StepRecord, *Result) {
	t.Helper()
	return trainWith(t, r, 1)
}

// at returns an OnStep that calls f once, after the given step.
func at(step run.Step, f func()) func(run.Step, Loss) {
	return func(s run.Step, _ Loss) {
		if s == step {
			f()
		}
	}
}

// requireUndisturbed waits for workers that must finish, and compares.
func requireUndisturbed(t *testing.T, r *recipe.Recipe, out string, workers ...<-chan outcome) {
	t.Helper()
	for _, done := range workers {
		require.NoError(t, (<-done).err)
	}
	got, gotResult := written(t, out)
	want, wantResult := undisturbed(t, r)
	requireSameRun(t, want, got, wantResult, gotResult)
}

func TestAWorkerThatLeavesIsNotMissed(t *testing.T) {
	r := parse(t)
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 3)
	ctx, gone := context.WithCancel(context.Background())
	leaver := c.config("run", "w1", r, out)
	leaver.OnStep = at(5, gone)
	a, b := start(context.Background(), c.config("run", "w0", r, out)), start(context.Background(), c.config("run", "w2", r, out))
	left := start(ctx, leaver)
	require.ErrorIs(t, (<-left).err, context.Canceled)
	requireUndisturbed(t, r, out, a, b)
}

func TestAWorkerThatJoinsTakesShards(t *testing.T) {
	r := parse(t)
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 1)
	reached, joined := make(chan struct{}), make(chan struct{})
	first, second := c.config("run", "w0", r, out), c.config("run", "w1", r, out)
	first.OnStep = at(5, func() { close(reached); <-joined }) // so that there is a run left to join
	a := start(context.Background(), first)
	<-reached
	b := start(context.Background(), second)
	waitFor(t, c, func(s api.RunStatus) bool { return len(s.Members) == 2 })
	close(joined)
	requireUndisturbed(t, r, out, a, b)
	records, err := ReadJournal(out)
	require.NoError(t, err)
	require.Equal(t, 1, records[1].Workers)
	require.Equal(t, 2, records[len(records)-1].Workers)
}

func TestTheLeaderOfTheCoordinatorsIsLost(t *testing.T) {
	r := parse(t)
	c, out := newCluster(t, 3, patient), t.TempDir()
	c.create("run", r, 2)
	killer := c.config("run", "w0", r, out)
	killer.OnStep = at(5, c.loseLeader)
	a, b := start(context.Background(), killer), start(context.Background(), c.config("run", "w1", r, out))
	requireUndisturbed(t, r, out, a, b)
}

// A stopped run goes on from its checkpoint, which has its memory of rows, as if it had not stopped, with
// another number of workers.
func TestResumeAfterAStop(t *testing.T) {
	r := parse(t, "memory.size=61", "mix.memory=yes")
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 2)
	stop := make(chan struct{})
	var workers []<-chan outcome
	for i := range 2 {
		cfg := c.config("run", fmt.Sprintf("w%d", i), r, out)
		cfg.Stop = stop
		if i == 0 {
			cfg.OnStep = at(7, func() { close(stop) })
		}
		workers = append(workers, start(context.Background(), cfg))
	}
	for _, done := range workers {
		o := <-done
		require.ErrorIs(t, o.err, ErrStopped)
		require.False(t, o.result.Finished)
	}
	path, err := checkpoint.Latest(CheckpointDir(out))
	require.NoError(t, err)
	m, err := checkpoint.Verify(path)
	require.NoError(t, err)
	// The step in flight, or one more by a worker that had already voted when the request came.
	require.Contains(t, []int64{8, 9}, m.Step)
	var again []<-chan outcome
	for i := range 3 {
		again = append(again, start(context.Background(), c.config("run", fmt.Sprintf("again%d", i), r, out)))
	}
	requireUndisturbed(t, r, out, again...)
}

func TestADivergedRunFailsWithARemedy(t *testing.T) {
	r := parse(t, "optimizer.name=sgd", "optimizer.lr=1000", "optimizer.weight_decay=1000", "optimizer.clip_value=0")
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 2)
	a, b := start(context.Background(), c.config("run", "w0", r, out)), start(context.Background(), c.config("run", "w1", r, out))
	require.ErrorContains(t, (<-a).err, "lower optimizer.lr")
	require.ErrorContains(t, (<-b).err, "lower optimizer.lr")
	status, err := c.client.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, api.Failed, status.Runs[0].Phase)
}

// waitFor asks for the run's status until it is as wanted.
func waitFor(t *testing.T, c *cluster, wanted func(api.RunStatus) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := c.client.Status(context.Background())
		return err == nil && len(s.Runs) == 1 && wanted(s.Runs[0])
	}, time.Minute, 10*time.Millisecond)
}

// renamed is an engine under another name.
type renamed struct{ engine.Engine }

func (renamed) Name() string { return "another" }

// A worker whose engine is not the run's leaves with a sentence; the run keeps its bits.
func TestAWorkerWithAnotherEngineLeaves(t *testing.T) {
	r := parse(t)
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 1)
	reached, joined := make(chan struct{}), make(chan struct{})
	first, other := c.config("run", "w0", r, out), c.config("run", "w1", r, out)
	first.OnStep = at(5, func() { close(reached); <-joined })
	other.Engine = renamed{other.Engine}
	a := start(context.Background(), first)
	<-reached
	b := start(context.Background(), other)
	waitFor(t, c, func(s api.RunStatus) bool { return len(s.Members) == 2 })
	close(joined)
	require.ErrorContains(t, (<-b).err, "this worker computes with the engine another")
	requireUndisturbed(t, r, out, a)
}
