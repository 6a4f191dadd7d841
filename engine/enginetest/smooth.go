package enginetest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// RunSmooth holds an engine of a coarse precision to the reference on the trunk of a network in which
// nothing decides, no ReLU and no maximum, so that its errors are those of rounding alone. Outputs and
// gradients may differ by most, relative to their length.
func RunSmooth(t *testing.T, e engine.Engine, most float64) {
	m := smooth(t)
	for _, name := range []string{"train", "frozen"} {
		const n = 6
		x, dOut := inputs(m, model.Trunk, n)
		got := openBench(t, e, m, 2).run(t, model.Trunk, modes[name], x, dOut, n)
		want := openBench(t, Reference{}, m, 1).run(t, model.Trunk, modes[name], x, dOut, n)
		check := func(part string, got, want []float32) {
			d := distance(got, want)
			t.Logf("%s: %s differs by %.2g", name, part, d)
			assert.LessOrEqual(t, d, most, "%s: %s", name, part)
		}
		check("output", got.out, want.out)
		check("input gradient", got.dIn, want.dIn)
		for _, p := range m.Params {
			if p.Stage == model.Trunk {
				check("gradient by "+p.Name, p.Slice(got.grads), p.Slice(want.grads))
			}
		}
	}
}

func smooth(t testing.TB) *model.Network {
	conv := func(name string, in, out, kernel, stride int) model.Layer {
		return &model.Conv{Name: name, In: in, Out: out, Kernel: kernel, Stride: stride, Pad: kernel / 2}
	}
	trunk := []model.Layer{
		conv("stem", 3, 16, 3, 1),
		&model.BatchNorm{Name: "bn", Channels: 16},
		&model.Residual{Name: "block", Main: []model.Layer{
			conv("down", 16, 32, 3, 2), &model.GroupNorm{Name: "gn", Channels: 32, Groups: 4},
			conv("same", 32, 32, 3, 1), &model.BatchNorm{Name: "bn2", Channels: 32},
		}, Shortcut: []model.Layer{conv("short", 16, 32, 1, 2), &model.BatchNorm{Name: "bn3", Channels: 32}}},
		conv("last", 32, 24, 1, 1),
	}
	head := []model.Layer{&model.Linear{Name: "embedding", In: 24 * 6 * 6, Out: 10, Bias: true}, &model.L2Norm{}}
	m, err := model.Assemble("smooth", model.Shape{C: 3, H: 12, W: 12}, trunk, head)
	require.NoError(t, err)
	return m
}
