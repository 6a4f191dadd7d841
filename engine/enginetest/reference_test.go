package enginetest

import (
	"fmt"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/require"
)

// The reference is held to finite differences of its own forward in double precision, value by value
// for a sample of parameters and inputs.
func TestReferenceGradients(t *testing.T) {
	for _, m := range Networks(t)[:4] {
		for _, s := range stages {
			for name, mode := range map[string]engine.Mode{"train": engine.Train, "frozen": engine.Frozen} {
				t.Run(fmt.Sprintf("%s/%v/%s", m.Name, s, name), func(t *testing.T) { checkGradients(t, m, s, mode) })
			}
		}
	}
}

func checkGradients(t *testing.T, m *model.Network, s model.Stage, mode engine.Mode) {
	const n, h, samples = 2, 1e-6, 8
	mem := memory(m)
	params, buffers := widen(mem.Params), widen(mem.Buffers)
	in, dOut32 := inputs(m, s, n)
	x, dOut := widen(in), widen(dOut32)
	e, err := evaluate(m, s, mode, params, buffers, x, n)
	require.NoError(t, err)
	dx, grads := e.backward(dOut)
	loss := func() (sum float64) {
		e, err := evaluate(m, s, mode, params, buffers, x, n)
		require.NoError(t, err)
		for i, v := range e.y.v {
			sum += v * dOut[i]
		}
		return sum
	}
	lo, hi := m.StageRange(s)
	check := func(name string, block, grad []float64, lo, hi int) {
		for k := range samples {
			i := lo + (hi-lo-1)*k/(samples-1)
			was := block[i]
			block[i] = was + h
			up := loss()
			block[i] = was - h
			down := loss()
			block[i] = was
			require.InDelta(t, (up-down)/(2*h), grad[i], 1e-5*max(1, abs(grad[i])), "%s %d", name, i)
		}
	}
	check("input", x, dx, 0, len(x))
	check("parameter", params, grads, lo, hi)
}

func abs(x float64) float64 { return max(x, -x) }

// The reference also keeps the engine contract.
func TestReferenceConforms(t *testing.T) {
	runContract(t, func() engine.Engine { return Reference{} }, Single())
}
