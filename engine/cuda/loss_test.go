//go:build gpu

package cuda

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/enginetest"
)

// The loss is in single precision whatever layers are computed in.
func TestLossOnTheCardEqualsPackageMetrix(t *testing.T) {
	for _, precision := range []Precision{F32, TF32} {
		t.Run(precision.String(), func(t *testing.T) {
			if precision == TF32 && emulated() {
				t.Skip("the emulator rounds no factors")
			}
			net, _ := opened(t, available(t, Options{Precision: precision}), small(t, "batch"))
			enginetest.Losses(t, net.(engine.Comparer), 5e-5)
		})
	}
}

func TestLossRefusals(t *testing.T) {
	net, _ := opened(t, available(t, Options{Precision: TF32}), small(t, "batch"))
	comparer := net.(engine.Comparer)
	_, err := comparer.Comparison(engine.Loss{Form: "triplet", Reduction: "nonzero"})
	assert.EqualError(t, err, "cuda: loss form triplet is not computed on the card")
	_, err = comparer.Comparison(engine.Loss{Form: "nca", Reduction: "median"})
	assert.EqualError(t, err, `cuda: loss form nca reduced by "median" is not computed on the card`)

	c, err := comparer.Comparison(engine.Loss{Form: "nca", Params: map[string]float64{"temperature": 1}, Reduction: "paper"})
	require.NoError(t, err)
	_, _, err = c.Share(engine.Gradients{}, 0, 1)
	assert.ErrorContains(t, err, "no batch has begun")
	rows, labels := []float32{1, 0, 0, 1, 0.6, 0.8}, []int32{0, 1, 0}
	assert.ErrorContains(t, c.Begin(engine.Batch{Rows: rows, Labels: labels, Dim: 3}), "3 labels of dimension 3 do not fit 6 floats")
	mixed := &engine.MixedRows{Rows: []float32{1, 0}, First: []int32{0}, Second: []int32{3}, Lambda: []float32{0.5}}
	assert.ErrorContains(t, c.Begin(engine.Batch{Rows: rows, Labels: labels, Dim: 2, Mix: engine.Mix{Weight: 1, Rows: mixed}}), "mixed row 0 is of rows 0 and 3")
	require.NoError(t, c.Begin(engine.Batch{Rows: rows, Labels: labels, Dim: 2}))
	_, _, err = c.Share(engine.Gradients{Rows: make([]float32, 5)}, 0, 3)
	assert.ErrorContains(t, err, "gradients of 5, 0 and 0 floats do not fit")
	_, _, err = c.Share(engine.Gradients{}, 1, 4)
	assert.ErrorContains(t, err, "anchors [1, 4) of 3")
	_, _, err = c.Share(engine.Gradients{}, 0, 3)
	assert.NoError(t, err)

	require.NoError(t, net.Close())
	_, _, err = c.Share(engine.Gradients{}, 0, 3)
	assert.ErrorContains(t, err, "the network is closed")
	assert.ErrorContains(t, c.Begin(engine.Batch{}), "the network is closed")
}
