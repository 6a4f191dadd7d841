package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
)

// chaosRuns is the variable that says how many runs TestAnyFateIsTheSameRun makes, and chaosSeed that of
// the first of them.
const chaosRuns, chaosSeed = "METRIX_CHAOS_RUNS", "METRIX_CHAOS_SEED"

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

// crew is the workers of one run, who come, leave and are lost.
type crew struct {
	*cluster
	recipe  *recipe.Recipe
	out     string
	shared  bool // they share the machine's memory
	led     bool // by three coordinators
	random  *draw.Rand
	workers []*hand
	reached chan run.Step // a worker has done a step, and waits
	goOn    chan struct{}
}

// hand is one of the crew.
type hand struct {
	name        string
	leave       context.CancelFunc
	connections []*nats.Conn
	done        <-chan outcome
	gone        bool // it was told to leave, was lost, or has finished
	finished    bool
}

// hire starts one more worker.
func (c *crew) hire() {
	ctx, leave := context.WithCancel(context.Background())
	nc, control := c.connect(), c.connect()
	cfg := c.config("run", fmt.Sprintf("w%d", len(c.workers)), c.recipe, c.out)
	cfg.Coordinator = api.Dial(control, "test")
	cfg.Connect = func(rc allreduce.Config) (allreduce.Transport, error) {
		t, err := allreduce.NATS(nc, rc)
		if err == nil && c.shared {
			t = allreduce.Local(t, rc)
		}
		return t, err
	}
	cfg.OnStep = func(s run.Step, _ Loss) {
		select {
		case c.reached <- s:
			<-c.goOn
		case <-ctx.Done():
		}
	}
	c.workers = append(c.workers, &hand{name: cfg.Name, leave: leave, connections: []*nats.Conn{nc, control}, done: start(ctx, cfg)})
}

// present lists the workers that train, or wait to.
func (c *crew) present() (there []*hand) {
	for _, w := range c.workers {
		if !w.gone {
			there = append(there, w)
		}
	}
	return there
}

// fate does something to the crew.
func (c *crew) fate() {
	there := c.present()
	some := there[c.random.IntN(len(there))]
	what := c.random.IntN(5)
	if c.led && c.random.IntN(3) == 0 {
		c.t.Log("the leader of the coordinators is lost")
		c.led = false // the two that are left must stay
		c.loseLeader()
	}
	switch what {
	case 0:
		c.t.Log("one joins")
		c.hire()
	case 1:
		c.t.Log(some.name, "leaves")
		some.gone = true
		some.leave()
	case 2:
		for _, w := range there {
			c.lose(w)
		}
	default:
		c.lose(some)
	}
}

// lose cuts a worker off from everybody. Some die of it at once, some go on as long as they can.
func (c *crew) lose(w *hand) {
	w.gone = true
	for _, nc := range w.connections {
		nc.Close()
	}
	dies := c.random.IntN(2) == 0
	if dies {
		w.leave()
	}
	c.t.Log(w.name, "is cut off and dies at once:", dies)
}

// sail runs until the crew has finished, with a fate at each of the steps.
func (c *crew) sail(steps map[run.Step]bool) {
	for finished := false; !finished || len(c.present()) > 0; {
		if len(c.present()) == 0 {
			c.t.Log("nobody is left, one begins again")
			c.hire()
		}
		select {
		case s := <-c.reached:
			if steps[s] && len(c.present()) > 0 {
				delete(steps, s)
				c.t.Log("at step", s)
				c.fate()
			}
			c.goOn <- struct{}{}
		case <-time.After(10 * time.Millisecond): // to look who is done
		}
		for _, w := range c.present() {
			select {
			case o := <-w.done:
				if !errors.Is(o.err, api.ErrRunOver) { // who joins at the very end may find it over
					require.NoError(c.t, o.err, w.name)
				}
				w.gone, w.finished, finished = true, true, true
			default:
			}
		}
	}
	for _, w := range c.workers {
		w.leave()
	}
	for _, w := range c.workers {
		if !w.finished {
			<-w.done
		}
	}
}

// bare is a record without what differs between two runs that are the same.
func bare(records []StepRecord) []StepRecord {
	var out []StepRecord
	for _, r := range records {
		r.ImagesPerSecond, r.Generation, r.Workers, r.SentBytes, r.SentFrames = 0, 0, 0, 0, 0
		if r.Evaluation != nil {
			e := *r.Evaluation
			e.Seconds = 0
			r.Evaluation = &e
		}
		out = append(out, r)
	}
	return out
}

// stored is the network in the newest checkpoint of a folder, and its step.
func stored(t *testing.T, folder string) (int64, []checkpoint.Tensor) {
	t.Helper()
	path, err := checkpoint.Latest(folder)
	require.NoError(t, err)
	m, files, err := checkpoint.Load(path)
	require.NoError(t, err)
	return m.Step, files[modelFile]
}

// Workers join, leave and are lost at random, all of them at times, and the leader of three coordinators,
// too; the run is the same to the last line and the last bit: its log, its result, its last and its best
// network.
func TestAnyFateIsTheSameRun(t *testing.T) {
	kinds := [][]string{
		{"mix.level=random"},
		{"loss.form=proxy_anchor", "mix.level=feature"},
		{"memory.size=61", "mix.memory=yes"},
		{"model.norm=batch", "loss.form=contrastive", "mix.hardest=2"},
	}
	quiet := map[int]string{} // folders of undisturbed runs, by kind
	first := number(t, chaosSeed, 1)
	for seed := first; seed < first+number(t, chaosRuns, 4); seed++ {
		kind := seed % len(kinds)
		r := parse(t, append(kinds[kind], "train.steps=16", "train.eval_every_steps=5", "train.checkpoint_every_steps=4")...)
		if quiet[kind] == "" {
			quiet[kind] = trainInto(t, gorgonia.New(), 1, r, 1)
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			nodes := []int{3, 1, 1}[seed%3]
			c := &crew{
				cluster: newCluster(t, nodes, time.Second), recipe: r, out: t.TempDir(), shared: seed/len(kinds)%2 == 0, led: nodes == 3,
				random: draw.Of(uint64(seed), draw.Test), reached: make(chan run.Step), goOn: make(chan struct{}),
			}
			c.create("run", r, 1)
			for range 1 + c.random.IntN(3) {
				c.hire()
			}
			steps := map[run.Step]bool{}
			for range 1 + c.random.IntN(4) {
				steps[run.Step(1+c.random.IntN(15))] = true
			}
			c.sail(steps)
			want, wantResult := written(t, quiet[kind])
			got, gotResult := written(t, c.out)
			require.Equal(t, bare(want), bare(got))
			requireSameRun(t, want, got, wantResult, gotResult)
			require.Equal(t, wantResult.Best.Step, gotResult.Best.Step)
			for _, folder := range []func(string) string{CheckpointDir, bestPath} {
				wantStep, wantNetwork := stored(t, folder(quiet[kind]))
				step, network := stored(t, folder(c.out))
				require.Equal(t, wantStep, step)
				require.Equal(t, wantNetwork, network)
			}
		})
	}
}
