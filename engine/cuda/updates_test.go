//go:build gpu

package cuda

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/optim"
)

// hostOptimizer is what a net's updates are held to: the optimizer of package optim, with the rule that
// says the same. There are a group for each stage's first parameter and one for the rest.
func hostOptimizer(t *testing.T, name string, m *model.Network) (optim.Optimizer, engine.Rule) {
	cfg := optim.DefaultConfig()
	cfg.Name = name
	rule := engine.Rule{Name: name, Momentum: cfg.Momentum, Betas: cfg.Betas, Eps: cfg.Eps}
	var groups []optim.Group
	for s, decay := range map[model.Stage]float64{model.Trunk: 0.1, model.Head: 0.01} {
		lo, hi := m.StageRange(s)
		if s == model.Head {
			require.NotZero(t, lo)
		}
		g := optim.Group{Lo: lo, Hi: lo + 8, LRScale: 1}
		rest := optim.Group{Lo: lo + 8, Hi: hi, LRScale: 3, WeightDecay: decay}
		if s == model.Head {
			groups = append(groups, g, rest)
		} else {
			groups = append([]optim.Group{g, rest}, groups...)
		}
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

// A net that updates its parameters goes the way of one whose parameters the host updates, and its next
// forward knows. What the host's optimizer holds is what Fetch brings.
func TestUpdates(t *testing.T) {
	for _, name := range []string{"adamw", "adam", "sgd"} {
		for _, precision := range []Precision{F32, BF16} {
			t.Run(name+"/"+precision.String(), func(t *testing.T) {
				t.Setenv("METRIX_EMULATOR_ORDER", "late") // what is not waited for is not there
				e, m := available(t, Options{Precision: precision, Graphs: true}), small(t, "batch")
				plain, want := opened(t, e, m)
				net, got := opened(t, e, m)
				u, n := net.(engine.Updater), m.NumParams()
				o, rule := hostOptimizer(t, name, m)
				other, _ := hostOptimizer(t, name, m)
				require.NoError(t, u.Optimize(rule))
				require.NoError(t, u.Send(0, n, stateOf(other)))
				clear(got.Params) // the net has its own
				x, dOut, lr := noise(3*m.Input.Size()), noise(3*m.Dim), 1e-2
				for step := range 4 {
					u.Changed()
					out, _ := separately(t, plain, m, x, dOut, 3, engine.Backward{})
					grads := want.Grads
					outOnCard, _ := separately(t, net, m, x, dOut, 3, reducing(t, u, m, grads))
					assert.Equal(t, out, outOnCard, "step %d", step)
					first := 0
					if step == 1 {
						first = 2 // the head alone
					}
					require.NoError(t, o.Step(want.Params, grads, lr, optim.Range{Lo: rule.Groups[first].Lo, Hi: n}))
					require.NoError(t, u.Update(lr, first, len(rule.Groups)))
				}
				assert.Zero(t, distanceFromZero(got.Params))
				require.NoError(t, u.Fetch(0, n, stateOf(other)))
				assert.Equal(t, want.Params, got.Params)
				assert.Equal(t, o.Block(), other.Block())
			})
		}
	}
}

// reducing is what a trunk's backward is asked for so that, while it goes on, reduced gradients come from
// another goroutine. It waits for none of it: all have come when the backward is over.
func reducing(t *testing.T, u engine.Updater, m *model.Network, grads []float32) engine.Backward {
	var once sync.Once
	var arrivals sync.WaitGroup
	lo, hi := m.StageRange(model.Trunk)
	return engine.Backward{Ready: func(from, _ int) {
		once.Do(func() {
			arrivals.Go(func() {
				assert.NoError(t, u.Reduced(lo, grads[lo:hi]))
				assert.NoError(t, u.Reduced(hi, grads[hi:]))
			})
		})
		if from == lo {
			arrivals.Wait()
		}
	}}
}

// A part of the parameters can be fetched, changed and sent; the forward knows.
func TestUpdatesOfAPart(t *testing.T) {
	e, m := available(t, Options{}), small(t, "group")
	net, mem := opened(t, e, m)
	u := net.(engine.Updater)
	_, rule := hostOptimizer(t, "sgd", m)
	require.NoError(t, u.Optimize(rule))
	require.NoError(t, u.Send(0, m.NumParams(), nil))
	x := noise(m.Features.Size())
	forward := func() []float32 {
		tape, err := net.Forward(model.Head, engine.Eval, x, 1)
		require.NoError(t, err)
		defer tape.Release()
		return append([]float32(nil), tape.Out()...)
	}
	before := forward()
	lo, hi := m.StageRange(model.Head)
	saved := append([]float32(nil), mem.Params...)
	clear(mem.Params)
	require.NoError(t, u.Fetch(lo, hi, nil))
	assert.Equal(t, saved[lo:hi], mem.Params[lo:hi])
	assert.Zero(t, distanceFromZero(mem.Params[:lo]))
	for i := lo; i < hi; i++ {
		mem.Params[i] = saved[hi-1-(i-lo)]
	}
	assert.Equal(t, before, forward(), "nothing was sent")
	require.NoError(t, u.Send(lo, hi, nil))
	assert.NotEqual(t, before, forward())
	require.NoError(t, u.Fetch(0, m.NumParams(), nil))
	assert.Equal(t, saved[:lo], mem.Params[:lo], "the rest stays")
}

func TestUpdatesRefuse(t *testing.T) {
	e, m := available(t, Options{}), small(t, "group")
	net, _ := opened(t, e, m)
	u, n := net.(engine.Updater), m.NumParams()
	o, rule := hostOptimizer(t, "adam", m)
	assert.ErrorContains(t, u.Update(1, 0, 1), "there is no rule")
	assert.ErrorContains(t, u.Reduced(0, nil), "there is no rule")
	assert.ErrorContains(t, u.Fetch(0, n, nil), "there is no rule")
	require.NoError(t, u.Optimize(rule))
	assert.ErrorContains(t, u.Optimize(rule), "has a rule already")
	assert.ErrorContains(t, u.Update(1, 0, 5), "no groups [0, 5)")
	assert.ErrorContains(t, u.Reduced(n-1, make([]float32, 2)), "no parameters")
	assert.ErrorContains(t, u.Send(0, n+1, nil), "no parameters")
	s := stateOf(o)
	s.Moments = s.Moments[:1]
	assert.ErrorContains(t, u.Fetch(0, n, s), "the state must have 2 moments")
	require.NoError(t, u.Update(1, 2, 2), "nothing to move")
}
