package enginetest

import (
	"testing"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/optim"
	"github.com/stretchr/testify/require"
)

// Trainer takes whole training steps on one engine, without a worker: multi-similarity with
// embedding-level mixing, AdamW with a weight decay of 0.01. It is for tests and benchmarks.
type Trainer struct {
	// Labels are of the rows of a batch; at first there are four rows of each class.
	Labels []int32
	// Mode of the forwards; at first engine.Train.
	Mode engine.Mode
	// Calls is the number of calls that a batch is cut into, as a worker does with its shards.
	Calls int
	// Memory is what the network works on.
	Memory engine.Memory
	// Rows are the embeddings of the last step.
	Rows []float32

	model *model.Network
	net   engine.Net
	loss  *metrix.Loss
	opt   optim.Optimizer
	mix   metrix.Mix
	dRows []float32
}

// NewTrainer opens m, initialised from seed 1, until the end of the test, for batches of that many rows.
func NewTrainer(t testing.TB, e engine.Engine, m *model.Network, batch, threads int, mix metrix.Mix) *Trainer {
	tr := &Trainer{model: m, mix: mix, Calls: 1, Memory: engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}}
	m.Init(tr.Memory.Params, tr.Memory.Buffers, 1)
	var err error
	tr.net, err = e.Open(m, tr.Memory, engine.Options{Threads: threads})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.net.Close()) })
	form, err := metrix.NewForm("multi_similarity", nil)
	require.NoError(t, err)
	tr.loss, err = metrix.New(form, threads)
	require.NoError(t, err)
	c := optim.DefaultConfig()
	c.Threads = threads
	var groups []optim.Group
	for _, p := range m.Params {
		groups = append(groups, optim.Group{Lo: p.Offset, Hi: p.Offset + p.Size, LRScale: 1, WeightDecay: 0.01})
	}
	tr.opt, err = optim.New(c, m.NumParams(), groups)
	require.NoError(t, err)
	for i := range batch {
		tr.Labels = append(tr.Labels, int32(i/4))
	}
	tr.Rows, tr.dRows = make([]float32, batch*m.Dim), make([]float32, batch*m.Dim)
	return tr
}

// forward embeds the batch.
func (tr *Trainer) forward(t testing.TB, x []float32) (trunks, heads []engine.Tape) {
	n := len(tr.Labels) / tr.Calls
	size := tr.model.Input.Size()
	for i := range tr.Calls {
		trunk, err := tr.net.Forward(model.Trunk, tr.Mode, x[i*n*size:(i+1)*n*size], n)
		require.NoError(t, err)
		head, err := tr.net.Forward(model.Head, tr.Mode, trunk.Out(), n)
		require.NoError(t, err)
		copy(tr.Rows[i*n*tr.model.Dim:], head.Out())
		trunks, heads = append(trunks, trunk), append(heads, head)
	}
	return trunks, heads
}

// Step takes a step on a batch x of images and returns the loss before the update.
func (tr *Trainer) Step(t testing.TB, x []float32, lr float64) float64 {
	clear(tr.Memory.Grads)
	clear(tr.dRows)
	if k, ok := tr.net.(engine.Keeper); ok {
		k.Changed()
	}
	trunks, heads := tr.forward(t, x)
	b := metrix.Batch{Embeddings: tr.Rows, Labels: tr.Labels, Dim: tr.model.Dim}
	v, err := tr.loss.Evaluate(metrix.Gradient{Embeddings: tr.dRows}, b, tr.mix, 0, len(tr.Labels))
	require.NoError(t, err)
	n := len(tr.dRows) / tr.Calls
	for i := range tr.Calls {
		dFeatures, err := tr.net.Backward(heads[i], tr.dRows[i*n:(i+1)*n], engine.Backward{Input: true})
		require.NoError(t, err)
		_, err = tr.net.Backward(trunks[i], dFeatures, engine.Backward{})
		require.NoError(t, err)
	}
	require.NoError(t, tr.opt.Step(tr.Memory.Params, tr.Memory.Grads, lr, optim.Range{Hi: len(tr.Memory.Params)}))
	return v.Total
}
