package enginetest

import (
	"slices"
	"sync"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/optim"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Updates holds the nets of an engine that are an engine.Updater to package optim, to the bit: parameters,
// optimizer state and what the next forwards give are those of a net of the same engine whose parameters
// the host updates. Those that are an engine.Settler are held to package exact too.
func Updates(t *testing.T, open func() engine.Engine) {
	for _, name := range []string{"adamw", "adam", "sgd"} {
		t.Run(name, func(t *testing.T) { testUpdates(t, open(), name) })
		t.Run(name+"/settled", func(t *testing.T) { testSettled(t, open(), name) })
	}
	t.Run("part", func(t *testing.T) { testUpdatesOfAPart(t, open()) })
	t.Run("refused", func(t *testing.T) { testUpdatesRefused(t, open()) })
}

// hostOptimizer is the optimizer of package optim with the rule that says the same: a group for the first
// parameters of each stage and one for the rest.
func hostOptimizer(t *testing.T, name string, m *model.Network) (optim.Optimizer, engine.Rule) {
	cfg := optim.DefaultConfig()
	cfg.Name = name
	rule := engine.Rule{Name: name, Momentum: cfg.Momentum, Betas: cfg.Betas, Eps: cfg.Eps}
	var groups []optim.Group
	for i, s := range stages {
		lo, hi := m.StageRange(s)
		require.Greater(t, hi-lo, 8, "the %v has too few parameters to test groups", s)
		groups = append(groups, optim.Group{Lo: lo, Hi: lo + 8, LRScale: 1},
			optim.Group{Lo: lo + 8, Hi: hi, LRScale: 3, WeightDecay: 0.1 - 0.09*float64(i)})
	}
	for _, g := range groups {
		rule.Groups = append(rule.Groups, engine.Group(g))
	}
	o, err := optim.New(cfg, m.NumParams(), groups)
	require.NoError(t, err)
	return o, rule
}

// stateOf is views of all of an optimizer's state.
func stateOf(o optim.Optimizer) *engine.State {
	s := &engine.State{}
	for _, part := range o.State() {
		if part.Name == "steps" {
			s.Steps = part.Data
		} else {
			s.Moments = append(s.Moments, part.Data)
		}
	}
	return s
}

// updating is a net that updates its parameters, beside one whose parameters the host updates.
type updating struct {
	plain, own *bench
	net        engine.Updater
	optimizer  optim.Optimizer
	rule       engine.Rule
	copied     optim.Optimizer // whose state is what the net's is fetched to
}

func openUpdating(t *testing.T, e engine.Engine, name string) *updating {
	m := pieces(t)
	u := &updating{plain: openBench(t, e, m, 2), own: openBench(t, e, m, 2)}
	var ok bool
	u.net, ok = u.own.net.(engine.Updater)
	require.True(t, ok, "a net of %s updates no parameters", e.Name())
	u.optimizer, u.rule = hostOptimizer(t, name, m)
	u.copied, _ = hostOptimizer(t, name, m)
	require.NoError(t, u.net.Optimize(u.rule))
	require.NoError(t, u.net.Send(0, m.NumParams(), stateOf(u.copied)))
	clear(u.own.mem.Params) // the net has its own
	return u
}

// both goes forward and backward through both stages.
func both(t *testing.T, b *bench, n int, opt engine.Backward) (out []float32) {
	x, _ := inputs(b.model, model.Trunk, n)
	_, dOut := inputs(b.model, model.Head, n)
	trunk, err := b.net.Forward(model.Trunk, engine.Train, x, n)
	require.NoError(t, err)
	head, err := b.net.Forward(model.Head, engine.Train, trunk.Out(), n)
	require.NoError(t, err)
	out = slices.Clone(head.Out())
	d, err := b.net.Backward(head, dOut, engine.Backward{Input: true})
	require.NoError(t, err)
	_, err = b.net.Backward(trunk, d, opt)
	require.NoError(t, err)
	return out
}

// move updates both nets. In every other step it is the head alone.
func (u *updating) move(t *testing.T, step int) {
	const lr = 1e-2
	first := step % 2 * 2
	active := optim.Range{Lo: u.rule.Groups[first].Lo, Hi: u.own.model.NumParams()}
	require.NoError(t, u.optimizer.Step(u.plain.mem.Params, u.plain.mem.Grads, lr, active))
	require.NoError(t, u.net.Update(lr, first, len(u.rule.Groups)))
	clear(u.plain.mem.Grads)
}

// compare fetches what the net has.
func (u *updating) compare(t *testing.T) {
	mem := u.own.mem
	assert.Equal(t, make([]float32, len(mem.Params)), mem.Params, "nobody has asked for them yet")
	require.NoError(t, u.net.Fetch(0, len(mem.Params), stateOf(u.copied)))
	assert.Equal(t, u.plain.mem.Params, mem.Params)
	assert.Equal(t, u.optimizer.Block(), u.copied.Block())
}

func testUpdates(t *testing.T, e engine.Engine, name string) {
	u := openUpdating(t, e, name)
	for step := range 4 {
		u.net.Changed()
		want := both(t, u.plain, 3, engine.Backward{})
		assert.Equal(t, want, both(t, u.own, 3, u.reducing(t)), "step %d", step)
		u.move(t, step)
	}
	u.compare(t)
}

// reducing is what a trunk's backward is asked for so that, while it goes on, reduced gradients come from
// another goroutine. It waits for none of it: all have come when the backward is over.
func (u *updating) reducing(t *testing.T) engine.Backward {
	var once sync.Once
	var arrivals sync.WaitGroup
	grads := u.plain.mem.Grads
	lo, hi := u.own.model.StageRange(model.Trunk)
	return engine.Backward{Ready: func(from, _ int) {
		once.Do(func() {
			arrivals.Go(func() {
				assert.NoError(t, u.net.Reduced(lo, grads[lo:hi]))
				assert.NoError(t, u.net.Reduced(hi, grads[hi:]))
			})
		})
		if from == lo {
			arrivals.Wait()
		}
	}}
}

// testSettled makes gradients of sums of two summands where they are, clipped in every other step.
func testSettled(t *testing.T, e engine.Engine, name string) {
	u := openUpdating(t, e, name)
	s, ok := u.net.(engine.Settler)
	if !ok {
		t.Skip("nets of this engine settle no sums")
	}
	n := u.own.model.NumParams()
	const summands = 2
	for step := range 4 {
		u.net.Changed()
		clip := float64(step%2) * 1e-3
		sums, home := make([]int64, n), make([]int64, n)
		require.NoError(t, s.Accumulate(home, summands))
		for range summands {
			clear(u.plain.mem.Grads)
			assert.Equal(t, both(t, u.plain, 3, engine.Backward{}), both(t, u.own, 3, engine.Backward{}), "step %d", step)
			require.NoError(t, exact.Add(sums, u.plain.mem.Grads, summands))
			require.NoError(t, s.Summand(0, n))
		}
		exact.Float32(u.plain.mem.Grads, sums)
		optim.ClipValue(u.plain.mem.Grads, clip)
		for _, part := range [][2]int{{0, n / 3}, {n / 3, n}} {
			require.NoError(t, s.Settle(part[0], part[1], clip))
		}
		require.NoError(t, s.Collect(0, n))
		assert.Equal(t, make([]int64, n), home, "what was settled is zero")
		require.NoError(t, s.Accumulate(nil, 0))
		u.move(t, step)
	}
	u.compare(t)

	require.NoError(t, s.Accumulate(make([]int64, n), 1<<50)) // a limit below every gradient
	both(t, u.own, 3, engine.Backward{})
	require.NoError(t, s.Summand(0, n))
	assert.ErrorIs(t, s.Settle(0, n, 0), exact.ErrRange)
}

// testUpdatesOfAPart fetches, changes and sends a part of the parameters; the forward knows.
func testUpdatesOfAPart(t *testing.T, e engine.Engine) {
	u := openUpdating(t, e, "sgd")
	m, mem := u.own.model, u.own.mem
	x, _ := inputs(m, model.Head, 1)
	forward := func() []float32 {
		tape, err := u.net.Forward(model.Head, engine.Eval, x, 1)
		require.NoError(t, err)
		defer tape.Release()
		return slices.Clone(tape.Out())
	}
	before := forward()
	saved, zeros := u.plain.mem.Params, make([]float32, m.NumParams())
	lo, hi := m.StageRange(model.Head)
	require.NoError(t, u.net.Fetch(lo, hi, nil))
	assert.Equal(t, saved[lo:hi], mem.Params[lo:hi])
	assert.Equal(t, zeros[:lo], mem.Params[:lo])
	slices.Reverse(mem.Params[lo:hi])
	assert.Equal(t, before, forward(), "nothing was sent")
	require.NoError(t, u.net.Send(lo, hi, nil))
	assert.NotEqual(t, before, forward())
	require.NoError(t, u.net.Fetch(0, m.NumParams(), nil))
	assert.Equal(t, saved[:lo], mem.Params[:lo], "the rest stays")
}

func testUpdatesRefused(t *testing.T, e engine.Engine) {
	b := openBench(t, e, pieces(t), 1)
	u, n := b.net.(engine.Updater), b.model.NumParams()
	o, rule := hostOptimizer(t, "adam", b.model)
	assert.Error(t, u.Update(1, 0, 1), "no rule yet")
	assert.Error(t, u.Reduced(0, nil), "no rule yet")
	assert.Error(t, u.Fetch(0, n, nil), "no rule yet")
	gap := rule
	gap.Groups = rule.Groups[1:]
	assert.Error(t, u.Optimize(gap), "groups that do not cover all parameters")
	unknown := rule
	unknown.Name = "lion"
	assert.Error(t, u.Optimize(unknown))
	require.NoError(t, u.Optimize(rule))
	assert.Error(t, u.Optimize(rule), "a second rule")
	assert.Error(t, u.Update(1, 0, len(rule.Groups)+1))
	assert.Error(t, u.Reduced(n-1, make([]float32, 2)))
	assert.Error(t, u.Send(0, n+1, nil))
	s := stateOf(o)
	s.Moments = s.Moments[:1]
	assert.Error(t, u.Fetch(0, n, s), "a state of another rule")
	require.NoError(t, u.Update(1, 2, 2), "nothing to move")
}
