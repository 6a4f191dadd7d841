package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir := testImages.dir; dir != "" {
		os.RemoveAll(dir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// baseRecipe trains a tiny network for 20 steps of 8 classes x 3 images in 4 shards.
const baseRecipe = `
name: tiny
seed: 3
data: {size: 16, resize: 18, augment: {scale: [0.5, 1], color: 0.2}}
model: {arch: conv4, width: 8, dim: 16, norm: group}
loss: {form: multi_similarity}
mix: {level: embed}
batch: {classes: 8, images: 3, shards: 4}
optimizer: {name: adamw, lr: 1e-3}
train: {steps: 20, eval_every_epochs: 0}
eval: {recall: [1, 2, 4]}
`

var testImages struct {
	once sync.Once
	dir  string // removed at the end
	set  string
	err  error
}

// images generates one small data set for all tests of the package.
func images(t *testing.T) *dataset.Set {
	t.Helper()
	testImages.once.Do(func() {
		if testImages.dir, testImages.err = os.MkdirTemp("", "metrix-worker-test"); testImages.err == nil {
			testImages.set = filepath.Join(testImages.dir, "set")
			testImages.err = dataset.Synth(testImages.set, dataset.SynthConfig{Classes: 12, Images: 5, Side: 24, Seed: 1}, nil)
		}
	})
	require.NoError(t, testImages.err)
	set, err := dataset.Open(testImages.set, "sop")
	require.NoError(t, err)
	return set
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// cluster is a NATS server and coordinators in this process.
type cluster struct {
	t      *testing.T
	nats   *natsd.Server
	nodes  []*coordinator.Node
	client *api.Client
}

// patient is a lease that a busy test machine does not break by chance.
const patient = 30 * time.Second

// newCluster starts a group of nodes that give workers the lease.
func newCluster(t *testing.T, nodes int, lease time.Duration) *cluster {
	t.Helper()
	server, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	c := &cluster{t: t, nats: server}
	peers, listeners := map[string]string{}, map[string]net.Listener{}
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		id := fmt.Sprintf("c%d", i)
		peers[id], listeners[id] = l.Addr().String(), l
	}
	for id, l := range listeners {
		cfg := coordinator.DefaultConfig()
		cfg.ID, cfg.Group, cfg.NATS, cfg.Lease = id, "test", c.connect(), lease
		if nodes > 1 {
			cfg.Peers, cfg.RaftAddr, cfg.Listener, cfg.DataDir = peers, peers[id], l, t.TempDir()
		} else {
			require.NoError(t, l.Close())
		}
		node, err := coordinator.Start(context.Background(), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, node.Close()) })
		c.nodes = append(c.nodes, node)
	}
	c.client = api.Dial(c.connect(), "test")
	return c
}

// loseLeader ends the coordinator that leads.
func (c *cluster) loseLeader() {
	s, err := c.client.Status(context.Background()) // waits for a leader, should there be none just now
	if !assert.NoError(c.t, err) {
		return
	}
	for _, n := range c.nodes {
		if n.ID() == s.Leader {
			assert.NoError(c.t, n.Close())
			return
		}
	}
	c.t.Errorf("%q leads the group, which has no such node", s.Leader)
}

func (c *cluster) connect() *nats.Conn {
	c.t.Helper()
	nc, err := c.nats.Connect(allreduce.ConnectOptions()...)
	require.NoError(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

func parse(t *testing.T, set ...string) *recipe.Recipe {
	t.Helper()
	r, err := recipe.Parse("tiny.yaml", []byte(baseRecipe), set)
	require.NoError(t, err)
	return r
}

// create registers a run that begins once workers have joined.
func (c *cluster) create(id run.ID, r *recipe.Recipe, workers int) {
	c.t.Helper()
	require.NoError(c.t, c.client.Create(context.Background(), api.Spec{
		Run: id, Recipe: r.Canonical(), Hash: r.Hash(), Shards: r.Batch.Shards, MinWorkers: workers,
	}))
}

// config is one worker's, before a test changes it.
func (c *cluster) config(id run.ID, name string, r *recipe.Recipe, out string) Config {
	nc := c.connect()
	return Config{
		Run: id, Name: name, Recipe: r, Data: images(c.t), Engine: gorgonia.New(), Threads: 1, Out: out,
		Coordinator: api.Dial(c.connect(), "test"),
		Connect:     func(rc allreduce.Config) (allreduce.Transport, error) { return allreduce.NATS(nc, rc) },
	}
}

// outcome is what one worker of a test returned.
type outcome struct {
	result *Result
	err    error
}

// start runs a worker in a goroutine.
func start(ctx context.Context, cfg Config) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		r, err := Run(ctx, cfg)
		done <- outcome{r, err}
	}()
	return done
}

// trainWith runs a recipe with w workers and returns its step log and rank 0's result.
func trainWith(t *testing.T, r *recipe.Recipe, w int) ([]StepRecord, *Result) {
	t.Helper()
	return trainOn(t, gorgonia.New(), 1, r, w)
}

// trainOn is trainWith on an engine, with so many threads a worker.
func trainOn(t *testing.T, eng engine.Engine, threads int, r *recipe.Recipe, w int) ([]StepRecord, *Result) {
	t.Helper()
	return written(t, trainInto(t, eng, threads, r, w))
}

// written reads the step log and the result of an output folder.
func written(t *testing.T, out string) ([]StepRecord, *Result) {
	t.Helper()
	records, err := ReadJournal(out)
	require.NoError(t, err)
	result, err := ReadResult(out)
	require.NoError(t, err)
	return records, result
}

// trainInto runs a recipe with w workers and returns the output folder.
func trainInto(t *testing.T, eng engine.Engine, threads int, r *recipe.Recipe, w int) string {
	t.Helper()
	c, out := newCluster(t, 1, patient), t.TempDir()
	id := run.ID(fmt.Sprintf("tiny-%d", w))
	c.create(id, r, w)
	var workers []<-chan outcome
	for i := range w {
		cfg := c.config(id, fmt.Sprintf("w%d", i), r, out)
		cfg.Engine, cfg.Threads = eng, threads
		workers = append(workers, start(context.Background(), cfg))
	}
	for _, done := range workers {
		require.NoError(t, (<-done).err)
	}
	return out
}
