package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/optim"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
	"github.com/metrixml/metrix/semi"
)

// trainer is the state of a run that all workers hold alike, with what advances it. It outlives
// generations.
type trainer struct {
	cfg     *Config
	log     *slog.Logger
	now     clock
	network *model.Network
	net     engine.Net
	dim     int         // floats of an embedding
	mode    engine.Mode // of training forwards
	shards  int         // of the global batch
	sampler Plan
	source  *source
	limits  dataset.Limits

	form       metrix.Form
	loss       *metrix.Loss
	comparison engine.Comparison // the loss where the network computes, or nil: see placeLoss
	mixing     metrix.MixConfig
	mix        metrix.Mix // as drawn for the last step

	schedule  optim.Schedule
	optimizer optim.Optimizer
	device    weightsOnDevice
	layout    layout
	weights   []float32 // parameters of the network, then proxies
	sums      []float32 // one shard's contributions; after reduce, the sums over all shards
	acc       []int64   // exact sums of contributions, all but those to the trunk
	trunkAcc  []int64   // those to the trunk; empty where one shard is all
	buffers   []float32 // running statistics of batch norm
	rows      []float32 // embeddings of the global batch
	rowGrads  []float32 // gradient by them, of one shard's anchors
	rowAcc    []int64   // and of all
	memory    *memory
	semi      *semiState     // nil unless batches have images without label
	recompute bool           // the gradient cache: tapes are made again for the backward
	wire      allreduce.Wire // of feature maps
	stores    *stores        // images and feature maps that a step mixes, and gradients by them

	step, total    run.Step // updates done, updates of the whole run
	evaluated      run.Step // step whose evaluation is done; -1 for none, or if it may not be written down
	finished       bool
	leaving        bool // asked to stop; takes effect after the step in flight
	lastLoss       Loss
	last           StepRecord // of the last step, so that any rank can write it down
	best           float64    // best Recall@1 so far, -1 for none
	bestAt         run.Step   // and the step that had it
	lastCheckpoint string     // path of the checkpoint this process wrote last

	// what the result tells
	phases      *phases
	instruments *instruments
	trained     run.Step // steps done by this process
	trainTime   time.Duration
	waits       map[string]float64
	generations int
	world       int
	rate        rate
	onProgress  func(api.Progress)
}

// block is a named part of the state that workers hold alike.
type block struct {
	name string
	data []float32
}

// state lists what meet broadcasts and a checkpoint stores. After a change, written must be called.
func (t *trainer) state() ([]block, error) {
	return []block{
		{"weights", t.weights}, {"buffers", t.buffers}, {"optimizer", t.optimizer.Block()},
		{"memory", t.memory.rows}, {"memory marks", t.memory.marks},
	}, t.fetch()
}

// part is a range [lo, hi) of the flat blocks.
type part struct{ lo, hi int }

func (p part) of(block []float32) []float32 { return block[p.lo:p.hi:p.hi] }

// layout is the order of the flat blocks: t.weights holds params, which are those of the trunk and of
// the head, and proxies; t.sums holds their gradients, then the sums of batch statistics, then the tail.
type layout struct{ trunk, head, params, proxies, buffers, tail part }

func layOut(trunk, params, proxies, buffers int) layout {
	l := layout{trunk: part{0, trunk}, head: part{trunk, params}, params: part{0, params}}
	l.proxies = part{params, params + proxies}
	l.buffers = part{l.proxies.hi, l.proxies.hi + buffers}
	l.tail = part{l.buffers.hi, l.buffers.hi + tailFloats}
	return l
}

func newTrainer(cfg *Config) (*trainer, error) {
	t := &trainer{cfg: cfg, log: cfg.Logger, now: time.Now, evaluated: -1, best: -1, waits: map[string]float64{}, onProgress: func(api.Progress) {}}
	var err error
	if t.instruments, err = newInstruments(); err != nil {
		return nil, err
	}
	t.phases = newPhases(t.instruments.phase, t.now)
	for _, part := range []func(*recipe.Recipe) error{t.prepareData, t.prepareNetwork, t.prepareLoss, t.prepareOptimizer, t.placeLoss, t.placeImages} {
		if err := part(cfg.Recipe); err != nil {
			return nil, err
		}
	}
	return t, t.restore()
}

func (t *trainer) close() error { return errors.Join(t.net.Close(), t.stores.close()) }

// cacheBytes is the budget of decoded training images kept in memory: all of a small set. Large sets
// are packed, and then kept by the system as far as it has room.
const cacheBytes = 256 << 20

func (t *trainer) prepareData(r *recipe.Recipe) (err error) {
	if t.cfg.Data, err = t.cfg.Data.With(DeliveryOf(r)); err != nil {
		return err
	}
	train := t.cfg.Data.Train
	if t.sampler, err = SamplerOf(r, train); err != nil {
		return err
	}
	t.limits = dataset.DefaultLimits()
	transform := TransformOf(r)
	t.source = &source{
		seed: r.Seed, sampler: t.sampler, threads: t.cfg.Threads,
		shardRows: t.sampler.Rows() / r.Batch.Shards, byShard: loadsByShard(r),
		images: train.Cache(cacheBytes, t.limits), transform: &transform,
	}
	return transform.Validate()
}

// Plan is the batches of a run: a function of the step.
type Plan interface {
	Rows() int // of a global batch
	StepsPerEpoch() int
	Epoch(run.Step) int
	Batch(run.Step) []sampler.Item
}

// SamplerOf plans the batches that a recipe asks for.
func SamplerOf(r *recipe.Recipe, train *dataset.Split) (Plan, error) {
	cfg := sampler.Config{Seed: r.Seed, Shards: r.Batch.Shards, Classes: r.Batch.Classes, Images: r.Batch.Images}
	if r.Semi.Labelled == 1 {
		return sampler.New(cfg, train.ByClass())
	}
	split, err := semi.SplitLabels(r.Seed, r.Semi.Labelled, r.Semi.Least, train.ByClass())
	if err != nil {
		return nil, err
	}
	return sampler.NewSemi(cfg, split.Classes, split.Unlabelled, r.Semi.Unlabelled)
}

// ScheduleOf is the course of the learning rate, and the length of the run, that a recipe asks for.
func ScheduleOf(r *recipe.Recipe) optim.Schedule {
	s := r.Schedule
	return optim.Schedule{
		Name: s.Name, Base: r.Optimizer.LR, WarmupEpochs: s.WarmupEpochs, EveryEpochs: s.EveryEpochs, Factor: s.Factor,
		HeadOnlyEpochs: s.HeadOnlyEpochs, MinLR: s.MinLR, Epochs: r.Train.Epochs, Steps: r.Train.Steps,
	}
}

// DeliveryOf says how a recipe wants its images decoded and stored.
func DeliveryOf(r *recipe.Recipe) dataset.Delivery {
	return dataset.Delivery{Store: r.Data.Store, Decoder: r.Data.Decoder}
}

// TransformOf is the image transform that a recipe asks for.
func TransformOf(r *recipe.Recipe) dataset.Transform {
	tr := dataset.Transform{
		Size: r.Data.Size, Resize: r.Data.Resize, Flip: r.Data.Augment.Flip, Color: r.Data.Augment.Color,
		Scale: [2]float64(r.Data.Augment.Scale), Ratio: [2]float64(r.Data.Augment.Ratio),
	}
	for i := range tr.Mean {
		tr.Mean[i], tr.Std[i] = float32(r.Data.Mean[i]), float32(r.Data.Std[i])
	}
	return tr
}

// NetworkOf builds the network that a recipe asks for.
func NetworkOf(r *recipe.Recipe) (*model.Network, error) {
	return model.Build(model.Spec{Arch: r.Model.Arch, Side: r.Data.Size, Dim: r.Model.Dim, Norm: r.Model.Norm, Width: r.Model.Width, Cut: r.Model.Cut})
}

func (t *trainer) prepareNetwork(r *recipe.Recipe) (err error) {
	if t.network, err = NetworkOf(r); err != nil {
		return err
	}
	t.dim = t.network.Dim
	t.shards = r.Batch.Shards
	t.mode = engine.Train
	if r.Model.BatchNorm == "frozen" {
		t.mode = engine.Frozen
	}
	return nil
}

func (t *trainer) prepareLoss(r *recipe.Recipe) (err error) {
	if t.form, err = r.Loss.NewForm(); err != nil {
		return err
	}
	t.mixing = r.Mix.Config()
	t.memory = newMemory(r.Memory.Size, t.dim, t.sampler.Rows(), run.Step(r.Memory.StartStep))
	t.recompute = r.Batch.GradientCache == "on"
	t.stores = newStores("")
	if t.recompute {
		t.stores = newStores(t.cfg.scratch())
	}
	if r.Mix.Wire == "bfloat16" {
		t.wire = allreduce.BFloat16
	}
	if t.loss, err = metrix.New(t.form, t.cfg.Threads); err != nil {
		return err
	}
	return t.prepareSemi(r)
}

// prepareOptimizer allocates the flat blocks and opens the network on them.
func (t *trainer) prepareOptimizer(r *recipe.Recipe) (err error) {
	proxies := 0
	if t.form.UsesProxies() {
		proxies = len(t.cfg.Data.Train.Classes) * t.dim
	}
	_, trunk := t.network.StageRange(model.Trunk)
	t.layout = layOut(trunk, t.network.NumParams(), proxies, t.network.NumBuffers())
	n := t.layout.proxies.hi
	t.weights = inHugePages(make([]float32, n))
	t.buffers = make([]float32, t.network.NumBuffers())
	t.sums = inHugePages(make([]float32, t.layout.tail.hi))
	t.rows = make([]float32, t.sampler.Rows()*t.dim)
	t.rowGrads = make([]float32, len(t.rows))
	t.rowAcc = make([]int64, len(t.rows))
	o := r.Optimizer
	t.schedule = ScheduleOf(r)
	if err := t.schedule.Validate(); err != nil {
		return err
	}
	t.total = run.Step(t.schedule.Total(t.sampler.StepsPerEpoch()))
	cfg, groups := optim.Config{
		Name: o.Name, Momentum: o.Momentum, Betas: [2]float64(o.Betas), Eps: o.Eps, Threads: t.cfg.Threads,
	}, t.groups(o)
	if t.optimizer, err = optim.New(cfg, n, groups); err != nil {
		return err
	}
	inHugePages(t.optimizer.Block())
	mem := engine.Memory{
		Params: t.layout.params.of(t.weights), Grads: t.layout.params.of(t.sums),
		Buffers: t.buffers, BufferSums: t.layout.buffers.of(t.sums),
	}
	if t.net, err = t.cfg.Engine.Open(t.network, mem, engine.Options{Threads: t.cfg.Threads}); err != nil {
		return fmt.Errorf("engine %s: %w", t.cfg.Engine.Name(), err)
	}
	return t.prepareDevice(cfg, groups)
}

// groups cuts the weights where stage or decay changes. Proxies are the last group.
func (t *trainer) groups(o recipe.Optimizer) []optim.Group {
	var out []optim.Group
	stage := model.Trunk
	for _, p := range t.network.Params {
		decay := 0.0
		if p.Decay {
			decay = o.WeightDecay
		}
		if n := len(out); n > 0 && out[n-1].WeightDecay == decay && p.Stage == stage {
			out[n-1].Hi = p.Offset + p.Size
		} else {
			out = append(out, optim.Group{Lo: p.Offset, Hi: p.Offset + p.Size, LRScale: 1, WeightDecay: decay})
		}
		stage = p.Stage
	}
	if p := t.layout.proxies; p.lo < p.hi {
		out = append(out, optim.Group{Lo: p.lo, Hi: p.hi, LRScale: o.ProxyLRScale, WeightDecay: o.WeightDecay})
	}
	return out
}

// initialize sets the state of a run that has not begun.
func (t *trainer) initialize() error {
	t.written()
	seed := t.cfg.Recipe.Seed
	t.network.Init(t.layout.params.of(t.weights), t.buffers, seed)
	clear(t.optimizer.Block())
	clear(t.memory.rows)
	clear(t.memory.marks)
	proxies := t.layout.proxies.of(t.weights)
	classes := len(proxies) / t.dim
	std := math.Sqrt(2 / float64(max(classes, 1))) // Kaiming's fan-out, as the authors of proxy anchor start
	for c := range classes {
		r := draw.Of(seed, draw.ProxyInit, uint64(c))
		for i := range t.dim {
			proxies[c*t.dim+i] = float32(std * r.Norm())
		}
	}
	t.step, t.evaluated = 0, -1
	return t.retract()
}

// headOnly reports whether the step in progress trains only the head and the proxies.
func (t *trainer) headOnly() bool {
	return t.schedule.HeadOnly(int64(t.step), t.sampler.StepsPerEpoch())
}

// bufferMomentum is the weight of a step's statistics in the running statistics of batch norm.
const bufferMomentum = 0.1

// update applies the reduced sums: the optimizer's step, then the running statistics.
func (t *trainer) update(b *batch) error {
	tail := t.layout.tail.of(t.sums)
	t.lastLoss = Loss{Clean: float64(tail[tailClean]), Mixed: float64(tail[tailMixed]), Mined: float64(tail[tailMined])}
	t.lastLoss.Total = t.lastLoss.Clean + t.lastLoss.Mixed + t.lastLoss.Mined
	if !finite(t.lastLoss.Total) {
		return errDiverged
	}
	active := part{0, len(t.weights)}
	if t.headOnly() {
		active.lo = t.layout.head.lo
	}
	if err := t.optimize(active); err != nil {
		return err
	}
	if err := t.retract(); err != nil {
		return err
	}
	if forwards := tail[tailForwards]; forwards > 0 {
		for i, sum := range t.layout.buffers.of(t.sums) {
			t.buffers[i] += bufferMomentum * (sum/forwards - t.buffers[i])
		}
	}
	t.memory.enqueue(t.step, t.rows, b.labels)
	t.step++
	return nil
}
