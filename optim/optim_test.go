package optim

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func rows(n int, counter uint64) []float32 {
	r := draw.Of(11, draw.Test, counter)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

func open(t *testing.T, c Config, n int, groups ...Group) Optimizer {
	t.Helper()
	o, err := New(c, n, groups)
	require.NoError(t, err)
	return o
}

// By hand: one parameter, lr 0.1.
func TestFirstUpdatesByHand(t *testing.T) {
	c := DefaultConfig()
	group := Group{0, 1, 1, 0.5}
	step := func(o Optimizer, p, g float32) float32 {
		params := []float32{p}
		require.NoError(t, o.Step(params, []float32{g}, 0.1, Range{0, 1}))
		return params[0]
	}
	// Adam's first move is lr x sign(g) whatever the size of g.
	c.Name = "adam"
	require.InDelta(t, 2-0.1, step(open(t, c, 1, group), 2, 3), 1e-6)
	// AdamW first shrinks the parameter by lr x decay: 2 x (1 - 0.05) - 0.1.
	c.Name = "adamw"
	require.InDelta(t, 1.9-0.1, step(open(t, c, 1, group), 2, 3), 1e-6)
	// SGD: g = 3 + 0.5 x 2 = 4; p = 2 - 0.4 = 1.6; then b = 0.9 x 4 + 3 + 0.8 = 7.4; p = 0.86.
	c.Name = "sgd"
	o := open(t, c, 1, group)
	p := step(o, 2, 3)
	require.InDelta(t, 1.6, p, 1e-6)
	require.InDelta(t, 0.86, step(o, p, 3), 1e-6)
}

func TestThreadsChangeNothing(t *testing.T) {
	const n = 3*grain + 77
	groups := []Group{{0, 5, 1, 0}, {5, grain + 3, 1, 0.1}, {grain + 3, n - 1, 100, 0.1}, {n - 1, n, 1, 0}}
	for _, name := range []string{"sgd", "adam", "adamw"} {
		var want []float32
		for threads := 1; threads <= 5; threads++ {
			c := DefaultConfig()
			c.Name, c.Threads = name, threads
			o := open(t, c, n, groups...)
			params := rows(n, 0)
			for s := range 3 {
				require.NoError(t, o.Step(params, rows(n, uint64(s+1)), 1e-3, Range{0, n}))
			}
			if want == nil {
				want = params
			}
			require.Equal(t, want, params, "%s with %d threads", name, threads)
		}
	}
}

// Copying the block continues a run with the same bits.
func TestBlockIsTheWholeState(t *testing.T) {
	const n = 40
	groups := []Group{{0, 30, 1, 0.1}, {30, n, 1, 0}}
	for _, name := range []string{"sgd", "adam", "adamw"} {
		c := DefaultConfig()
		c.Name = name
		a, b := open(t, c, n, groups...), open(t, c, n, groups...)
		params := rows(n, 0)
		for s := range 4 {
			require.NoError(t, a.Step(params, rows(n, uint64(s+1)), 1e-2, Range{0, n}))
		}
		copied := append([]float32(nil), params...)
		copy(b.Block(), a.Block())
		require.NoError(t, a.Step(params, rows(n, 9), 1e-2, Range{0, n}))
		require.NoError(t, b.Step(copied, rows(n, 9), 1e-2, Range{0, n}))
		require.Equal(t, params, copied)

		total := 0
		for _, part := range a.State() {
			total += len(part.Data)
		}
		require.Equal(t, len(a.Block()), total)
		steps := a.State()[len(a.State())-1]
		require.Equal(t, Named{"steps", []float32{5, 5}}, steps)
	}
}

func TestInactiveGroupsStayAsTheyAre(t *testing.T) {
	const n = 10
	for _, name := range []string{"sgd", "adam", "adamw"} {
		c := DefaultConfig()
		c.Name = name
		o := open(t, c, n, Group{0, 6, 1, 0.5}, Group{6, n, 1, 0.5})
		params, before := rows(n, 0), rows(n, 0)
		require.NoError(t, o.Step(params, rows(n, 1), 1e-2, Range{6, n}))
		require.Equal(t, before[:6], params[:6])
		require.NotEqual(t, before[6:], params[6:])
		require.Equal(t, make([]float32, 6), o.State()[0].Data[:6])
		require.Equal(t, []float32{0, 1}, o.State()[len(o.State())-1].Data)
	}
}

func TestRefusals(t *testing.T) {
	c := DefaultConfig()
	o := open(t, c, 4, Group{0, 2, 1, 0}, Group{2, 4, 1, 0})
	params := []float32{1, 2, 3, 4}
	require.ErrorContains(t, o.Step(params, params, 1, Range{1, 4}), "cuts group 0")
	require.ErrorContains(t, o.Step(params[:3], params, 1, Range{0, 4}), "both must be 4")
	require.NoError(t, o.Step(params, params, 1, Range{4, 4}), "nothing to move")
	require.Equal(t, []float32{1, 2, 3, 4}, params)
	require.Equal(t, make([]float32, 10), o.Block())

	for sentence, groups := range map[string][]Group{
		"must start at 0": {{1, 4, 1, 0}},
		"must start at 2": {{0, 2, 1, 0}, {3, 4, 1, 0}},
		"cover 2 of 4":    {{0, 2, 1, 0}},
		"not be empty":    {{0, 0, 1, 0}},
		"scale NaN":       {{0, 4, math.NaN(), 0}},
		"weight decay -1": {{0, 4, 1, -1}},
	} {
		_, err := New(c, 4, groups)
		require.ErrorContains(t, err, sentence)
	}
	for sentence, change := range map[string]func(*Config){
		"one of adamw, adam, sgd": func(c *Config) { c.Name = "lion" },
		"momentum is 1":           func(c *Config) { c.Momentum = 1 },
		"betas are [0.9 1]":       func(c *Config) { c.Betas[1] = 1 },
		"eps is 0":                func(c *Config) { c.Eps = 0 },
		"threads is 0":            func(c *Config) { c.Threads = 0 },
	} {
		bad := DefaultConfig()
		change(&bad)
		_, err := New(bad, 4, []Group{{0, 4, 1, 0}})
		require.ErrorContains(t, err, sentence)
	}
}

// 25 million parameters are a ResNet-50 with a 512-d head.
func BenchmarkAdamW25M(b *testing.B) {
	const n = 25_000_000
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			c := DefaultConfig()
			c.Threads = threads
			o, err := New(c, n, []Group{{0, n, 1, 1e-4}})
			require.NoError(b, err)
			params, grads := make([]float32, n), make([]float32, n)
			for i := range grads {
				grads[i] = float32(i%7) - 3
			}
			b.SetBytes(28 * n)
			for b.Loop() {
				if err := o.Step(params, grads, 1e-3, Range{0, n}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
