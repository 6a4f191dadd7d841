package worker

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/optim"
	"github.com/metrixml/metrix/run"
)

// deviceUpdates is the part of deviceNet that updates weights.
type deviceUpdates struct {
	optimizer optim.Optimizer // nil until Optimize
	groups    []optim.Group
	reduced   []float32
	settled   *atomic.Int64 // gradients that have never been on the host
}

var _ engine.Settler = (*deviceNet)(nil)

func (d *deviceNet) Settle(lo, hi int, clip float64) error {
	d.settled.Add(int64(hi - lo))
	exact.Float32(d.reduced[lo:hi], d.summed[lo:hi])
	optim.ClipValue(d.reduced[lo:hi], clip)
	clear(d.summed[lo:hi])
	return d.overrun
}

// noNumbers are n gradients that spoil what is moved by them.
func noNumbers(n int) []float32 { return slices.Repeat([]float32{float32(math.NaN())}, n) }

func (d *deviceNet) Optimize(r engine.Rule) (err error) {
	for _, g := range r.Groups {
		d.groups = append(d.groups, optim.Group(g))
	}
	d.reduced = noNumbers(len(d.weights))
	copy(d.weights, d.reduced) // what is not sent spoils everything
	cfg := optim.Config{Name: r.Name, Momentum: r.Momentum, Betas: r.Betas, Eps: r.Eps, Threads: 1}
	d.optimizer, err = optim.New(cfg, len(d.weights), d.groups)
	return err
}

func (d *deviceNet) Reduced(lo int, x []float32) error {
	copy(d.reduced[lo:], x)
	return nil
}

func (d *deviceNet) Update(lr float64, first, last int) error {
	active := optim.Range{Lo: d.groups[first].Lo, Hi: d.groups[last-1].Hi}
	err := d.optimizer.Step(d.weights, d.reduced, lr, active)
	copy(d.reduced, noNumbers(len(d.reduced)))
	return err
}

func (d *deviceNet) Fetch(lo, hi int, s *engine.State) error {
	copy(d.memory.Params[lo:hi], d.weights[lo:hi])
	d.eachPart(s, func(host, device []float32) { copy(host, device) })
	return nil
}

func (d *deviceNet) Send(lo, hi int, s *engine.State) error {
	copy(d.weights[lo:hi], d.memory.Params[lo:hi])
	d.eachPart(s, func(host, device []float32) { copy(device, host) })
	return nil
}

func (d *deviceNet) eachPart(s *engine.State, do func(host, device []float32)) {
	if s == nil {
		return
	}
	own := d.optimizer.State()
	for i, host := range append(slices.Clone(s.Moments), s.Steps) {
		do(host, own[i].Data)
	}
}

// A net that moves its weights moves them like the optimizer on the host, whatever is done to gradients
// before and to weights behind.
func TestSameUpdatesOnADevice(t *testing.T) {
	for name, set := range map[string][]string{
		"sgd, clipped by norm": {"optimizer.name=sgd", "optimizer.lr=0.05", "optimizer.clip_norm=0.5"},
		"clipped by value":     {"model.norm=batch", "optimizer.name=adam", "optimizer.clip_value=1e-4"},
		"orthonormal head":     {"semi.labelled=0.5", "semi.unlabelled=8", "semi.orthogonal=yes", "batch.classes=4", "batch.images=2"},
		"proxies":              {"loss.form=proxy_anchor", "mix.level=none", "schedule.head_only_epochs=1", "train.checkpoint_every_steps=2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, append(set, "train.steps=6")...)
			want, wantResult := trainOn(t, gorgonia.New(), 1, r, 1)
			for _, workers := range []int{1, 2} {
				device := onDevice()
				got, gotResult := trainOn(t, device, 1, r, workers)
				requireSameRun(t, want, got, wantResult, gotResult)
				alone := workers == 1 && r.Optimizer.ClipNorm == 0
				require.Equal(t, alone, device.settled.Load() > 0, "gradients that were not on the host")
			}
		})
	}
}

// Weights and the optimizer's state are where they are needed: a run that begins on devices, stops, goes
// on from its checkpoint on the host, and is joined by a device, is the run that nothing disturbed.
func TestADeviceStopsAndJoins(t *testing.T) {
	r := parse(t, "optimizer.clip_norm=1")
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 2)
	stop := make(chan struct{})
	var stopped []<-chan outcome
	for i := range 2 {
		cfg := c.config("run", fmt.Sprintf("w%d", i), r, out)
		cfg.Engine, cfg.Stop = onDevice(), stop
		if i == 0 {
			cfg.OnStep = at(5, func() { close(stop) })
		}
		stopped = append(stopped, start(context.Background(), cfg))
	}
	for _, done := range stopped {
		require.ErrorIs(t, (<-done).err, ErrStopped)
	}

	reached, joined := make(chan struct{}), make(chan struct{})
	host, device := c.config("run", "host", r, out), c.config("run", "device", r, out)
	host.OnStep = at(10, func() { close(reached); <-joined })
	device.Engine = onDevice()
	a, b := start(context.Background(), host), start(context.Background(), c.config("run", "other", r, out))
	<-reached
	d := start(context.Background(), device)
	waitFor(t, c, func(s api.RunStatus) bool { return len(s.Members) == 3 })
	close(joined)
	requireUndisturbed(t, r, out, a, b, d)
}

// A device goes on from the checkpoint of a device, and gives its weights to a host that joins.
func TestADeviceResumesAndIsJoined(t *testing.T) {
	r := parse(t, "loss.form=proxy_anchor")
	c, out := newCluster(t, 1, patient), t.TempDir()
	c.create("run", r, 1)
	first := c.config("run", "first", r, out)
	stop := make(chan struct{})
	first.Engine, first.Stop, first.OnStep = onDevice(), stop, at(5, func() { close(stop) })
	require.ErrorIs(t, (<-start(context.Background(), first)).err, ErrStopped)

	reached, joined := make(chan struct{}), make(chan struct{})
	again := c.config("run", "again", r, out)
	again.Engine = onDevice()
	again.OnStep = at(9, func() { close(reached); <-joined })
	a := start(context.Background(), again)
	<-reached
	b := start(context.Background(), c.config("run", "host", r, out))
	waitFor(t, c, func(s api.RunStatus) bool { return len(s.Members) == 2 })
	close(joined)
	requireUndisturbed(t, r, out, a, b)
}

// A worker whose device has trained, and that has fallen behind, takes over weights and moments, which go
// on to its device.
func TestADeviceTakesOverWhatItMissed(t *testing.T) {
	var ts []*trainer
	for range 2 {
		cfg := &Config{Run: "tiny", Recipe: parse(t), Data: images(t), Engine: onDevice(), Threads: 1, Out: t.TempDir(), Logger: discard()}
		tr, err := newTrainer(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tr.close()) })
		ts = append(ts, tr)
	}
	for i, steps := range []int{3, 1} {
		g, b := alone(t, ts[i])
		for range steps {
			require.NoError(t, ts[i].trainStep(t.Context(), g, b))
		}
	}
	met := make(chan error)
	for rank, transport := range allreduce.Memory(2) {
		rc := allreduce.DefaultConfig()
		rc.Run, rc.Generation, rc.World, rc.Rank = "tiny", 1, 2, run.Rank(rank)
		ring, err := allreduce.New(rc, transport)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, ring.Close()) })
		go func() { met <- ts[rank].meet(t.Context(), &generation{rank: rc.Rank, world: 2, ring: ring}) }()
	}
	for range ts {
		require.NoError(t, <-met)
	}
	var devices []*deviceNet
	for _, tr := range ts {
		require.EqualValues(t, 3, tr.step)
		require.NoError(t, tr.changed())
		devices = append(devices, tr.net.(*deviceNet))
	}
	require.Equal(t, devices[0].weights, devices[1].weights)
	require.Equal(t, devices[0].optimizer.Block(), devices[1].optimizer.Block())
	require.Equal(t, ts[0].weights[:10], devices[0].weights[:10])
}
