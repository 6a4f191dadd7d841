package worker

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
)

// deviceEngine opens nets that have every optional interface of package engine, as a net on a device
// has, and that hide from the host what such a net hides: gradients, and feature maps of joined passes.
type deviceEngine struct {
	engine.Engine
	shares   *atomic.Int64 // of the loss that its nets have evaluated
	embedded *atomic.Int64 // images that its nets have taken as bytes, and embedded
	settled  *atomic.Int64 // gradients that its nets have made of sums
}

func onDevice() deviceEngine {
	return deviceEngine{gorgonia.New(), new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
}

func (e deviceEngine) Open(m *model.Network, mem engine.Memory, opt engine.Options) (engine.Net, error) {
	d := &deviceNet{shares: e.shares, memory: mem, params: m.Params, grads: make([]float32, len(mem.Grads)), weights: make([]float32, len(mem.Params)), stale: true}
	d.embedded, d.settled = e.embedded, e.settled
	inner := mem
	inner.Grads, inner.Params = d.grads, d.weights
	net, err := e.Engine.Open(m, inner, opt)
	d.Net = net
	return d, err
}

type deviceNet struct {
	engine.Net
	shares  *atomic.Int64
	memory  engine.Memory
	params  []model.Param
	grads   []float32 // on the device
	weights []float32 // copies on the device
	stale   bool
	trusts  bool // the caller says when weights have changed

	summed  []int64 // exact sums on the device
	acc     []int64
	n       int
	overrun error

	deviceUpdates
	deviceImages
}

func (d *deviceNet) Changed() { d.stale, d.trusts = true, true }

func (d *deviceNet) Forward(s model.Stage, mode engine.Mode, x []float32, n int) (engine.Tape, error) {
	if d.optimizer == nil && (d.stale || !d.trusts) {
		copy(d.weights, d.memory.Params)
		d.stale = false
	}
	return d.Net.Forward(s, mode, x, n)
}

// mute is a trunk's tape that gives nothing out.
type mute struct{ engine.Tape }

func (mute) Out() []float32 { return nil }

func (d *deviceNet) ForwardBoth(mode engine.Mode, x []float32, n int) (trunk, head engine.Tape, err error) {
	if trunk, err = d.Forward(model.Trunk, mode, x, n); err != nil {
		return nil, nil, err
	}
	head, err = d.Forward(model.Head, mode, trunk.Out(), n)
	return mute{trunk}, head, err
}

func (d *deviceNet) BackwardBoth(trunk, head engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	dIn, err := d.Backward(head, dOut, engine.Backward{Input: true, Ready: opt.Ready})
	if err != nil {
		return nil, err
	}
	return d.Backward(trunk, dIn, opt)
}

func (d *deviceNet) Backward(tape engine.Tape, dOut []float32, opt engine.Backward) ([]float32, error) {
	if m, ok := tape.(mute); ok {
		tape = m.Tape
	}
	if ready := opt.Ready; ready != nil {
		opt.Ready = func(lo, hi int) {
			if err := d.Summand(lo, hi); err == nil {
				_ = d.Collect(lo, hi) // kept in overrun
			}
			ready(lo, hi)
		}
	}
	return d.Net.Backward(tape, dOut, opt)
}

func (d *deviceNet) Accumulate(acc []int64, n int) error {
	d.acc, d.n, d.overrun = acc, n, nil
	d.summed = make([]int64, len(d.grads))
	clear(d.grads)
	return nil
}

func (d *deviceNet) Summand(lo, hi int) error {
	if err := exact.Add(d.summed[lo:hi], d.grads[lo:hi], d.n); err != nil {
		d.overrun = err
	}
	clear(d.grads[lo:hi])
	return d.overrun
}

func (d *deviceNet) Collect(lo, hi int) error {
	for i := lo; i < hi; i++ {
		d.acc[i] += d.summed[i]
	}
	clear(d.summed[lo:hi])
	return d.overrun
}

var (
	_ engine.Keeper      = (*deviceNet)(nil)
	_ engine.Joiner      = (*deviceNet)(nil)
	_ engine.Accumulator = (*deviceNet)(nil)
)

// Nets on a device give the bits of nets on the host, at every level of mixing, with several shards a
// worker and with one.
func TestSameRunOnADevice(t *testing.T) {
	const lossOnHost = "loss on the host"
	for name, set := range map[string][]string{
		"embed":          {"mix.level=embed"},
		"input":          {"mix.level=input"},
		"feature":        {"mix.level=feature", "mix.hardest=2"},
		"proxies, cache": {"mix.level=none", "loss.form=proxy_anchor", "batch.gradient_cache=on"},
		"head first":     {"mix.level=feature", "schedule.head_only_epochs=1"},
		"few labels":     {"semi.labelled=0.5", "semi.unlabelled=8", "batch.classes=4", "batch.images=2"},
		lossOnHost:       {"loss.form=triplet", "mix.level=none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, append(set, "train.steps=4")...)
			want, wantResult := trainOn(t, gorgonia.New(), 1, r, 1)
			device := onDevice()
			got, gotResult := trainOn(t, device, 1, r, 1)
			requireSameRun(t, want, got, wantResult, gotResult)
			settled := device.settled.Load()
			require.NotZero(t, settled, "a worker alone has no gradients on the host")
			got, gotResult = trainOn(t, device, 1, r, r.Batch.Shards)
			requireSameRun(t, want, got, wantResult, gotResult)
			require.Equal(t, settled, device.settled.Load(), "a worker of several has")
			shares := 2 * int64(r.Train.Steps) * int64(r.Batch.Shards)
			if name == lossOnHost {
				shares = 0
			}
			require.Equal(t, shares, device.shares.Load(), "shares of the loss on the device")
		})
	}
}
