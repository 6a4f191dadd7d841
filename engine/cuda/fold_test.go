//go:build gpu

package cuda

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// evaluated is what a network gives in Eval mode, n rows at a time.
func evaluated(t *testing.T, net engine.Net, m *model.Network, mode engine.Mode, x []float32, n int) (out []float32) {
	size := m.Input.Size()
	for lo := 0; lo < len(x); lo += n * size {
		rows := x[lo:min(lo+n*size, len(x))]
		tape, err := net.Forward(model.Trunk, mode, rows, len(rows)/size)
		require.NoError(t, err)
		out = append(out, tape.Out()...)
		tape.Release()
	}
	return out
}

// bottleneck is a network with residuals, with and without a convolution in the shortcut, whose statistics are
// not those of a fresh one.
func bottleneck(t *testing.T, e engine.Engine) (*model.Network, engine.Net, engine.Memory) {
	m, err := model.Build(model.Spec{Arch: "resnet50", Side: 32, Dim: 8, Width: 8, Norm: "batch"})
	require.NoError(t, err)
	m, err = model.Assemble("bottlenecks", m.Input, m.Trunk[:9], model.EmbeddingHead(32, 8))
	require.NoError(t, err)
	net, mem := opened(t, e, m)
	for i, v := range noise(len(mem.Buffers)) {
		mem.Buffers[i] += 0.1 * v * v
	}
	for i, v := range noise(len(mem.Params)) {
		mem.Params[i] += 0.05 * v
	}
	return m, net, mem
}

// In Eval mode batch norms are part of the convolutions before them. That is Frozen mode to within rounding,
// for any number of rows at a time to the bit, and follows parameters and statistics.
func TestNormsAreFolded(t *testing.T) {
	for precision, tolerance := range map[Precision]float64{F32: 1e-5, BF16: 2e-2} {
		for _, fails := range []string{"", "finish"} { // cuDNN finishes convolutions, or kernels do
			t.Run(precision.String()+fails, func(t *testing.T) {
				t.Setenv("METRIX_EMULATOR_FAIL", fails)
				e := available(t, Options{Precision: precision, Graphs: true})
				m, net, mem := bottleneck(t, e)
				x := noise(5 * m.Input.Size())
				compare := func(what string) []float32 {
					want, got := evaluated(t, net, m, engine.Frozen, x, 5), evaluated(t, net, m, engine.Eval, x, 5)
					off := slices.Clone(want)
					for i, v := range got {
						off[i] -= v
					}
					assert.LessOrEqual(t, distanceFromZero(off), tolerance*distanceFromZero(want), what)
					assert.NotEqual(t, want, got, "nothing is folded")
					for _, n := range []int{1, 2, 4} {
						assert.Equal(t, got, evaluated(t, net, m, engine.Eval, x, n), "%s, %d rows at a time", what, n)
					}
					return got
				}
				first := compare("at first")
				mem.Params[3] += 0.5
				second := compare("other weights")
				mem.Buffers[1] += 0.5
				third := compare("other statistics")
				assert.NotEqual(t, first, second)
				assert.NotEqual(t, second, third)
				for _, c := range []struct {
					n    int
					mode engine.Mode
					want bool
				}{{5, engine.Eval, true}, {5, engine.Frozen, false}} {
					p, err := net.(*network).program(key{stage: model.Trunk, mode: c.mode, n: c.n})
					require.NoError(t, err)
					norms := slices.ContainsFunc(p.forward.commands, func(c command) bool {
						return c.launch != nil && c.launch.kernel == typed("norm_apply", p.graph.in)
					})
					assert.Equal(t, c.want, !norms, "mode %d", c.mode)
				}
			})
		}
	}
}
