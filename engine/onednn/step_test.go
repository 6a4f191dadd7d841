package onednn

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/optim"
	"github.com/stretchr/testify/require"
)

// trainer takes whole training steps: multi-similarity with embedding-level mixing, AdamW.
type trainer struct {
	model  *model.Network
	mem    engine.Memory
	net    engine.Net
	loss   *metrix.Loss
	opt    optim.Optimizer
	labels []int32
	mix    metrix.Mix
	mode   engine.Mode
	calls  int // the batch is cut into so many calls, as a worker does with its shards

	dRows []float32
	rows  []float32
}

func newTrainer(t testing.TB, e engine.Engine, m *model.Network, batch, threads int, mix metrix.Mix) *trainer {
	tr := &trainer{model: m, mix: mix, calls: 1, mem: engine.Memory{
		Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams()),
		Buffers: make([]float32, m.NumBuffers()), BufferSums: make([]float32, m.NumBuffers()),
	}}
	m.Init(tr.mem.Params, tr.mem.Buffers, 1)
	var err error
	tr.net, err = e.Open(m, tr.mem, engine.Options{Threads: threads})
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
		tr.labels = append(tr.labels, int32(i/4))
	}
	tr.rows, tr.dRows = make([]float32, batch*m.Dim), make([]float32, batch*m.Dim)
	return tr
}

// forward embeds the batch.
func (tr *trainer) forward(t testing.TB, x []float32) (trunks, heads []engine.Tape) {
	n := len(tr.labels) / tr.calls
	size := tr.model.Input.Size()
	for i := range tr.calls {
		trunk, err := tr.net.Forward(model.Trunk, tr.mode, x[i*n*size:(i+1)*n*size], n)
		require.NoError(t, err)
		head, err := tr.net.Forward(model.Head, tr.mode, trunk.Out(), n)
		require.NoError(t, err)
		copy(tr.rows[i*n*tr.model.Dim:], head.Out())
		trunks, heads = append(trunks, trunk), append(heads, head)
	}
	return trunks, heads
}

// step returns the loss of a batch before the update.
func (tr *trainer) step(t testing.TB, x []float32, lr float64) float64 {
	clear(tr.mem.Grads)
	clear(tr.dRows)
	trunks, heads := tr.forward(t, x)
	b := metrix.Batch{Embeddings: tr.rows, Labels: tr.labels, Dim: tr.model.Dim}
	v, err := tr.loss.Evaluate(metrix.Gradient{Embeddings: tr.dRows}, b, tr.mix, 0, len(tr.labels))
	require.NoError(t, err)
	n := len(tr.dRows) / tr.calls
	for i := range tr.calls {
		dFeatures, err := tr.net.Backward(heads[i], tr.dRows[i*n:(i+1)*n], engine.Backward{Input: true})
		require.NoError(t, err)
		_, err = tr.net.Backward(trunks[i], dFeatures, engine.Backward{})
		require.NoError(t, err)
	}
	require.NoError(t, tr.opt.Step(tr.mem.Params, tr.mem.Grads, lr, optim.Range{Hi: len(tr.mem.Params)}))
	return v.Total
}

func noise(n int) []float32 {
	r := draw.Of(5, draw.Test)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Norm())
	}
	return x
}

// memoryMiB reads this process's memory: VmRSS is what it has now, VmHWM the most it ever had.
func memoryMiB(field string) float64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), field+":")
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// cpuSeconds is the processor time of this process so far: where other processes take turns, a steadier
// measure than wall time.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkStep is a whole training step of 40 images. bench/cpu.sh compares it with PyTorch.
func BenchmarkStep(b *testing.B) {
	networks := map[string]model.Spec{
		"resnet50": {Arch: "resnet50", Side: 224, Dim: 512},
		"conv4":    {Arch: "conv4", Side: 64, Dim: 128},
	}
	for name, spec := range networks {
		for _, p := range []Precision{F32, BF16} {
			for _, threads := range []int{1, 2} {
				for _, calls := range []int{1, 10} {
					b.Run(fmt.Sprintf("%s/%v/threads=%d/calls=%d", name, p, threads, calls), func(b *testing.B) {
						benchmarkStep(b, p, spec, threads, calls)
					})
				}
			}
		}
	}
}

func benchmarkStep(b *testing.B, p Precision, spec model.Spec, threads, calls int) {
	const batch = 40
	e, err := available(b).With(p)
	if err != nil {
		b.Skip(err)
	}
	m, err := model.Build(spec)
	require.NoError(b, err)
	tr := newTrainer(b, e, m, batch, threads, metrix.Mix{Weight: 0.4, Lambda: 0.6, Pairs: metrix.PositiveNegative})
	tr.calls = calls
	x := noise(batch * m.Input.Size())
	tr.step(b, x, 1e-4) // makes primitives and memory
	start := cpuSeconds()
	for b.Loop() {
		tr.step(b, x, 1e-4)
	}
	b.ReportMetric(batch*float64(b.N)/(cpuSeconds()-start), "images/cpu-s")
	b.ReportMetric(batch*float64(b.N)/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(memoryMiB("VmHWM"), "peak-MiB")
}
