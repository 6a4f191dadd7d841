package optim

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is what bench/peers/optim_golden.py recorded.
type golden struct {
	LR     float64
	Groups [][4]float64 // lo, hi, learning-rate scale, weight decay
	Start  []float32
	Grads  [][]float32
	Cases  []struct {
		Name        string
		FrozenSteps int `json:"frozen_steps"` // steps in which the first group does not move
		Params      [][]float32
	}
}

func readGolden(t *testing.T) (g golden, groups []Group) {
	t.Helper()
	src, err := os.ReadFile("testdata/pytorch.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(src, &g))
	for _, x := range g.Groups {
		groups = append(groups, Group{Lo: int(x[0]), Hi: int(x[1]), LRScale: x[2], WeightDecay: x[3]})
	}
	return g, groups
}

// Five updates equal PyTorch's within float32 rounding, with per-group decay and learning rate and
// with a group that joins late.
func TestUpdatesMatchPyTorch(t *testing.T) {
	g, groups := readGolden(t)
	require.NotEmpty(t, g.Cases)
	for _, c := range g.Cases {
		t.Run(fmt.Sprintf("%s, %d steps frozen", c.Name, c.FrozenSteps), func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Name = c.Name
			params := append([]float32(nil), g.Start...)
			o, err := New(cfg, len(params), groups)
			require.NoError(t, err)
			worst := 0.0
			for step, want := range c.Params {
				active := Range{0, len(params)}
				if step < c.FrozenSteps {
					active.Lo = groups[0].Hi
				}
				require.NoError(t, o.Step(params, g.Grads[step], g.LR, active))
				for i := range want {
					worst = max(worst, math.Abs(float64(params[i]-want[i]))/max(1, math.Abs(float64(want[i]))))
				}
			}
			t.Logf("largest relative difference %.2g", worst)
			require.LessOrEqual(t, worst, 5e-7)
		})
	}
}
