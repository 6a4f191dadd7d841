package enginetest

import (
	_ "embed"
	"encoding/json"
	"math"
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed testdata/resnet50.json
var recordedSteps []byte

// recorded is what bench/peers/resnet50_golden.py wrote: PyTorch in double precision.
type recorded struct {
	Torch      string
	Losses     []float64
	Embeddings []float32
	Gradients  [][2]float64 // by parameter: length, product with a fixed unit vector
	Changes    [][2]float64 // of parameters over all steps
}

// uniform is the script's function of that name.
func uniform(offset, count int) []float64 {
	u := make([]float64, count)
	for i := range u {
		h := uint64(offset+i) * 2654435761 & math.MaxUint32
		h ^= h >> 15
		h = h * 2246822519 & math.MaxUint32
		h ^= h >> 13
		u[i] = float64(h)/(1<<31) - 1
	}
	return u
}

func startByFormula(m *model.Network, params, buffers []float32) {
	m.Init(params, buffers, 1)
	for _, p := range m.Params {
		fan := p.Size
		if len(p.Shape) > 1 {
			fan /= p.Shape[1]
		}
		view := p.Slice(params)
		for i, u := range uniform(p.Offset, p.Size) {
			switch p.Start {
			case model.Kaiming:
				view[i] = float32(u * math.Sqrt(6/float64(fan)))
			case model.One:
				view[i] = float32(1 + 0.2*u)
			case model.Zero:
				view[i] = float32(0.1 * u)
			}
		}
	}
}

// digest is the script's function of that name, of one tensor.
func digest(x []float32, i, salt int) (length, along float64) {
	var square, unit float64
	for j, u := range uniform(salt+1000003*i, len(x)) {
		v := float64(x[j])
		square += v * v
		along += v * u
		unit += u * u
	}
	return math.Sqrt(square), along / math.Sqrt(unit)
}

// compare returns the largest difference of a digest, relative to the tensor's length, and the
// difference over all tensors, relative to the length of all.
func compare(m *model.Network, block []float32, want [][2]float64, salt int) (worst float64, at string, whole float64) {
	var diff, size float64
	for i, p := range m.Params {
		length, along := digest(p.Slice(block), i, salt)
		d := math.Hypot(length-want[i][0], along-want[i][1])
		diff += d * d
		size += want[i][0] * want[i][0]
		if d /= want[i][0]; d > worst {
			worst, at = d, p.Name
		}
	}
	return worst, at, math.Sqrt(diff / size)
}

// StepTolerance says how far an engine's steps may be from those of PyTorch in double precision, in
// relative distances: of the loss, of all embeddings, of a parameter's gradient, of all gradients, and of
// the changes of all parameters over three steps.
type StepTolerance struct{ Loss, Embedding, Gradient, Gradients, Changes float64 }

// SingleSteps is the tolerance of single precision. Adam divides by the size of a gradient, so where a
// gradient is all but zero its rounding decides; hence the wider tolerance of the changes.
func SingleSteps() StepTolerance {
	return StepTolerance{Loss: 1e-4, Embedding: 1e-4, Gradient: 1e-2, Gradients: 1e-3, Changes: 5e-2}
}

// HalfSteps is the tolerance of bfloat16. Fifty layers of live batch norm over sixteen values a channel
// turn rounding into a third of the embedding, in PyTorch's autocast as well (it records 0.35), so here
// only gross mistakes show.
func HalfSteps() StepTolerance {
	return StepTolerance{Loss: 0.5, Embedding: 0.5, Gradient: 1, Gradients: 0.5, Changes: 0.1}
}

// Steps holds three steps of a ResNet-50 on an engine to PyTorch's: embeddings, losses, gradients of
// every layer, parameters.
func Steps(t *testing.T, e engine.Engine, tol StepTolerance) {
	var want recorded
	require.NoError(t, json.Unmarshal(recordedSteps, &want))
	m, err := model.Build(model.Spec{Arch: "resnet50", Side: 64, Dim: 512})
	require.NoError(t, err)
	const rows = 4
	tr := NewTrainer(t, e, m, rows, 2, metrix.Mix{})
	copy(tr.Labels, []int32{0, 0, 1, 1})
	startByFormula(m, tr.Memory.Params, tr.Memory.Buffers)
	first := clone(tr.Memory.Params)
	x := make([]float32, rows*m.Input.Size())
	for i, u := range uniform(1<<31, len(x)) {
		x[i] = float32(1.7 * u)
	}
	for step, loss := range want.Losses {
		got := tr.Step(t, x, 1e-3)
		t.Logf("step %d: loss %.7f, PyTorch %.7f", step, got, loss)
		if step == 0 {
			assert.InEpsilon(t, loss, got, tol.Loss)
			firstStep(t, tr, &want, tol)
		}
	}
	for i := range first {
		first[i] = tr.Memory.Params[i] - first[i]
	}
	worst, at, whole := compare(m, first, want.Changes, 1<<33)
	t.Logf("changes of parameters differ by %.2g at most (%s) and %.2g in all", worst, at, whole)
	assert.LessOrEqual(t, whole, tol.Changes, "changes of parameters")
}

// firstStep compares embeddings and gradients.
func firstStep(t *testing.T, tr *Trainer, want *recorded, tol StepTolerance) {
	embeddings := distance(tr.Rows, want.Embeddings)
	assert.LessOrEqual(t, embeddings, tol.Embedding, "embeddings")
	worst, at, whole := compare(tr.model, tr.Memory.Grads, want.Gradients, 1<<32)
	t.Logf("embeddings differ by %.2g, gradients by %.2g at most (%s) and %.2g in all", embeddings, worst, at, whole)
	assert.LessOrEqual(t, worst, tol.Gradient, "gradient by %s", at)
	assert.LessOrEqual(t, whole, tol.Gradients, "gradients")
}
