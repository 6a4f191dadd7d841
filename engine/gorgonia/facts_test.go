package gorgonia

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gg "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// These tests hold docs/gorgonia.md to the truth: each shows a fault of Gorgonia that this package
// goes around. One that fails after an update says that the way around may go.

func TestGorgoniaSumsSeveralAxesWrongly(t *testing.T) {
	x := make([]float32, 2*3*4*5)
	for i := range x {
		x[i] = float32(i)
	}
	s, err := tensor.Sum(tensor.New(tensor.WithShape(2, 3, 4, 5), tensor.WithBacking(x)), 2, 3)
	require.NoError(t, err)
	assert.NotEqual(t, []float32{190, 590, 990, 1390, 1790, 2190}, s.Data())
}

func TestGorgoniaMaxGivesGradientToEveryTie(t *testing.T) {
	g := gg.NewGraph()
	value := tensor.New(tensor.WithShape(1, 4), tensor.WithBacking([]float32{1, 7, 7, 2}))
	x := gg.NewMatrix(g, gg.Float32, gg.WithShape(1, 4), gg.WithValue(value))
	cost := gg.Must(gg.Sum(gg.Must(gg.Max(x, 1))))
	assert.Equal(t, []float32{0, 1, 1, 0}, gradientOf(t, g, cost, x))
}

func TestGorgoniaGlobalAveragePoolHasNoGradient(t *testing.T) {
	g := gg.NewGraph()
	x := gg.NewTensor(g, gg.Float32, 4, gg.WithShape(1, 2, 2, 3), gg.WithInit(gg.Ones()))
	pool := gg.Must(gg.GlobalAveragePool2D(x))
	cost := gg.Must(gg.Sum(gg.Must(gg.Reshape(pool, tensor.Shape{2}))))
	assert.Panics(t, func() { _, _ = gg.Grad(cost, x) })
}

// With running statistics a batch norm is y = (x - 0)/sqrt(1) at first, so the gradient should be
// near the weights 1 of the sum.
func TestGorgoniaBatchNormHasNoEvaluationGradient(t *testing.T) {
	g := gg.NewGraph()
	x := gg.NewTensor(g, gg.Float32, 4, gg.WithShape(2, 2, 2, 3), gg.WithInit(gg.RangedFrom(1)))
	scale := gg.NewTensor(g, gg.Float32, 4, gg.WithShape(1, 2, 1, 1), gg.WithInit(gg.Ones()))
	bias := gg.NewTensor(g, gg.Float32, 4, gg.WithShape(1, 2, 1, 1), gg.WithInit(gg.Zeroes()))
	y, _, _, op, err := gg.BatchNorm(x, scale, bias, 0.9, 1e-5)
	require.NoError(t, err)
	require.NoError(t, op.SetTraining(false))
	cost := gg.Must(gg.Sum(gg.Must(gg.Reshape(y, tensor.Shape{24}))))
	grad := gradientOf(t, g, cost, x, gg.EvalMode())
	assert.Greater(t, grad[0], float32(100))
}

func gradientOf(t *testing.T, g *gg.ExprGraph, cost, x *gg.Node, opts ...gg.VMOpt) []float32 {
	_, err := gg.Grad(cost, x)
	require.NoError(t, err)
	vm := gg.NewTapeMachine(g, append(opts, gg.BindDualValues(x))...)
	require.NoError(t, vm.RunAll())
	grad, err := x.Grad()
	require.NoError(t, err)
	return grad.Data().([]float32)
}
