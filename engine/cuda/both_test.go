//go:build gpu

package cuda

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
)

// separately goes forward and backward through both stages by themselves.
func separately(t *testing.T, net engine.Net, m *model.Network, x, dOut []float32, n int, opt engine.Backward) (out, dIn []float32) {
	trunk, err := net.Forward(model.Trunk, engine.Train, x, n)
	require.NoError(t, err)
	head, err := net.Forward(model.Head, engine.Train, trunk.Out(), n)
	require.NoError(t, err)
	out = append(out, head.Out()...)
	skip := opt
	skip.Input = true
	d, err := net.Backward(head, dOut, skip)
	require.NoError(t, err)
	dIn, err = net.Backward(trunk, d, opt)
	require.NoError(t, err)
	return out, append([]float32(nil), dIn...)
}

// Both stages as one give the bits of one after the other, without feature maps on the host.
func TestBothStagesAtOnce(t *testing.T) {
	for _, precision := range []Precision{F32, BF16} {
		for _, norm := range []string{"batch", "group"} {
			t.Run(precision.String()+"/"+norm, func(t *testing.T) {
				e, m := available(t, Options{Precision: precision, Graphs: true}), small(t, norm)
				const n = 5
				x, dOut := noise(n*m.Input.Size()), noise(n*m.Dim)
				alone, want := opened(t, e, m)
				joined, got := opened(t, e, m)
				net := joined.(engine.Joiner)
				for step := range 3 {
					out, dIn := separately(t, alone, m, x, dOut, n, engine.Backward{Input: true})
					trunk, head, err := net.ForwardBoth(engine.Train, x, n)
					require.NoError(t, err)
					assert.Nil(t, trunk.Out())
					assert.Equal(t, out, head.Out())
					at := m.NumParams()
					d, err := net.BackwardBoth(trunk, head, dOut, engine.Backward{Input: true, Ready: func(lo, hi int) {
						assert.Equal(t, at, hi, "ranges must be adjacent and fall")
						at = lo
					}})
					require.NoError(t, err)
					assert.Equal(t, dIn, d)
					assert.Zero(t, at)
					assert.Equal(t, want.Grads, got.Grads, "step %d", step)
					assert.Equal(t, want.BufferSums, got.BufferSums, "step %d", step)
				}
			})
		}
	}
}

func TestMisuseOfBothStages(t *testing.T) {
	e, m := available(t, Options{}), small(t, "batch")
	plain, _ := opened(t, e, m)
	net := plain.(engine.Joiner)
	x, dOut := noise(2*m.Input.Size()), noise(2*m.Dim)
	_, _, err := net.ForwardBoth(engine.Train, x, 3)
	assert.ErrorContains(t, err, "do not make")
	trunk, head, err := net.ForwardBoth(engine.Frozen, x, 2)
	require.NoError(t, err)
	_, err = net.BackwardBoth(head, trunk, dOut, engine.Backward{})
	assert.ErrorContains(t, err, "do not belong together")
	_, err = net.BackwardBoth(trunk, head, dOut[1:], engine.Backward{})
	assert.ErrorContains(t, err, "the output")
	_, err = net.BackwardBoth(trunk, head, dOut, engine.Backward{SkipParams: true})
	require.NoError(t, err)
	_, err = net.BackwardBoth(trunk, head, dOut, engine.Backward{})
	assert.ErrorContains(t, err, "already consumed")
	trunk, head, err = net.ForwardBoth(engine.Eval, x, 2)
	require.NoError(t, err)
	_, err = net.BackwardBoth(trunk, head, dOut, engine.Backward{})
	assert.ErrorContains(t, err, "a tape of an Eval forward cannot go backward")
	trunk.Release()
	head.Release()
}

// A network that is told of changes looks for none by itself.
func TestKeeper(t *testing.T) {
	e, m := available(t, Options{}), small(t, "batch")
	net, mem := opened(t, e, m)
	x := noise(m.Input.Size())
	forward := func() []float32 {
		tape, err := net.Forward(model.Trunk, engine.Frozen, x, 1)
		require.NoError(t, err)
		defer tape.Release()
		return append([]float32(nil), tape.Out()...)
	}
	net.(engine.Keeper).Changed()
	before := forward()
	param, buffer := mem.Params[0], mem.Buffers[1]
	mem.Params[0]++
	mem.Buffers[1]++
	assert.Equal(t, before, forward(), "nobody said that something changed")
	net.(engine.Keeper).Changed()
	after := forward()
	assert.NotEqual(t, before, after)
	mem.Params[0], mem.Buffers[1] = param, buffer
	net.(engine.Keeper).Changed()
	assert.Equal(t, before, forward())
}

// Sums on the card are those of package exact over the same shards, whichever way they come home.
func TestAccumulator(t *testing.T) {
	e, m := available(t, Options{}), small(t, "batch")
	const shards, n = 3, 4
	x, dOut := noise(shards*n*m.Input.Size()), noise(shards*n*m.Dim)
	shard := func(i int) (x1, d1 []float32) {
		return x[i*n*m.Input.Size() : (i+1)*n*m.Input.Size()], dOut[i*n*m.Dim : (i+1)*n*m.Dim]
	}
	plain, mem := opened(t, e, m)
	want := make([]int64, m.NumParams())
	for i := range shards {
		clear(mem.Grads)
		x, d := shard(i)
		for range 2 { // two backwards are one summand
			separately(t, plain, m, x, d, n, engine.Backward{})
		}
		require.NoError(t, exact.Add(want, mem.Grads, shards))
	}

	net, mem := opened(t, e, m)
	acc := make([]int64, m.NumParams())
	a := net.(engine.Accumulator)
	for range 2 { // the second time begins from zero
		clear(acc)
		require.NoError(t, a.Accumulate(acc, shards))
		for i := range shards {
			x, d := shard(i)
			separately(t, net, m, x, d, n, engine.Backward{})
			if i < shards-1 {
				separately(t, net, m, x, d, n, engine.Backward{})
				require.NoError(t, a.Summand(0, m.NumParams()))
				continue
			}
			at := m.NumParams()
			separately(t, net, m, x, d, n, engine.Backward{Ready: func(lo, hi int) {
				assert.Equal(t, at, hi)
				assert.Equal(t, want[lo:hi], acc[lo:hi], "a range is reported before it is complete")
				at = lo
			}})
			assert.Zero(t, at)
		}
		assert.Equal(t, want, acc)
		require.NoError(t, a.Collect(0, m.NumParams()))
		assert.Equal(t, want, acc, "what was collected is zero on the card")
		assert.Zero(t, distanceFromZero(mem.Grads), "Memory.Grads stays as it is")
	}
	// A backward without parameters leaves the summand alone.
	clear(acc)
	require.NoError(t, a.Accumulate(acc, shards))
	x1, d1 := shard(0)
	separately(t, net, m, x1, d1, n, engine.Backward{SkipParams: true, Input: true})
	require.NoError(t, a.Summand(0, m.NumParams()))
	require.NoError(t, a.Collect(0, m.NumParams()))
	assert.Equal(t, make([]int64, m.NumParams()), acc)
	require.NoError(t, a.Accumulate(nil, 0))
	separately(t, net, m, x1, d1, n, engine.Backward{})
	assert.NotZero(t, distanceFromZero(mem.Grads))
}

func distanceFromZero(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

func TestAccumulatorRefusesWhatCannotBeSummed(t *testing.T) {
	e, m := available(t, Options{}), small(t, "group")
	net, _ := opened(t, e, m)
	a := net.(engine.Accumulator)
	assert.ErrorContains(t, a.Summand(0, 1), "it has not begun")
	assert.ErrorContains(t, a.Accumulate(make([]int64, 3), 1), "do not fit")
	acc := make([]int64, m.NumParams())
	require.NoError(t, a.Accumulate(acc, 2))
	assert.ErrorContains(t, a.Collect(5, m.NumParams()+1), "there are no parameters")
	x, dOut := noise(m.Input.Size()), noise(m.Dim)
	for i := range dOut {
		dOut[i] *= 1e9
	}
	separately(t, net, m, x, dOut, 1, engine.Backward{})
	require.NoError(t, a.Summand(0, m.NumParams()))
	assert.ErrorIs(t, a.Collect(0, m.NumParams()), exact.ErrRange)
	require.NoError(t, a.Accumulate(acc, 2), "a new sum begins")
	require.NoError(t, a.Collect(0, m.NumParams()))
}
