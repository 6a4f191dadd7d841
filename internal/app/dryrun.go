package app

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/metrix"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
	"github.com/metrixml/metrix/worker"
)

// dryRun is what a run will do: the object that train --dry-run --json prints.
type dryRun struct {
	Recipe       string        `json:"recipe"`
	Hash         string        `json:"recipe_hash"`
	Seed         uint64        `json:"seed"`
	Runs         []string      `json:"runs"` // titles; two if the recipe compares with its twin without mixing
	Data         dryData       `json:"data"`
	Network      dryNetwork    `json:"network"`
	Batch        dryBatch      `json:"batch"`
	Steps        drySteps      `json:"steps"`
	LearningRate []dryRate     `json:"learning_rate"`
	Workers      []dryWorker   `json:"workers"`
	Memory       []dryBytes    `json:"memory_of_largest_worker"`
	MemoryBytes  int64         `json:"memory_bytes"` // together
	FileBytes    int64         `json:"file_bytes"`   // of a step, in files of the largest worker
	Traffic      []dryTraffic  `json:"bytes_sent_per_step"`
	Evaluations  int64         `json:"evaluations"`
	Checkpoints  dryCheckpoint `json:"checkpoints"`
}

type dryData struct {
	Folder  string        `json:"folder,omitempty"`
	Assumed string        `json:"assumed,omitempty"` // why counts are not those of a folder
	Train   dataset.Count `json:"train"`
	Test    dataset.Count `json:"test"`
	side    int           // of generated images, 0 for others
}

// dryNetwork counts the numbers that make a network.
type dryNetwork struct {
	Name       string `json:"name"`
	Side       int    `json:"side"`
	Dim        int    `json:"dim"`
	Trunk      int    `json:"trunk_parameters"`
	Head       int    `json:"head_parameters"`
	Proxies    int    `json:"proxy_parameters"`
	Statistics int    `json:"batch_norm_statistics"`
}

type dryBatch struct {
	Classes       int  `json:"classes"`
	Images        int  `json:"images_of_a_class"`
	Rows          int  `json:"rows"`
	Shards        int  `json:"shards"`
	ShardRows     int  `json:"rows_of_a_shard"`
	GradientCache bool `json:"gradient_cache"`
}

type drySteps struct {
	PerEpoch int   `json:"per_epoch"`
	Total    int64 `json:"total"`
	HeadOnly int64 `json:"head_only"` // first steps, in which the trunk rests
}

// dryWorker is a worker's part: shards [First, First+Shards), Rows rows of the batch.
type dryWorker struct {
	First  int `json:"first_shard"`
	Shards int `json:"shards"`
	Rows   int `json:"rows"`
	// BytesSent is a step's, without mixing before the embedding, as that need not happen in each.
	BytesSent int64 `json:"bytes_sent_per_step"`
}

// dryPlan is what the figures are computed from.
type dryPlan struct {
	recipe  *recipe.Recipe
	form    metrix.Form
	network *model.Network
	train   *dataset.Split
	data    dryData
	sampler worker.Plan
	shards  []run.Shards
	total   int64 // steps
}

// plan prints what a run would do.
func (o *trainOptions) plan(cmd *cobra.Command, r *recipe.Recipe) error {
	data, train, err := o.planData(r)
	if err != nil {
		return cli.Usage(err)
	}
	p, err := newDryPlan(r, train, data)
	if err != nil {
		return cli.Usage(err)
	}
	d := p.describe()
	if o.json {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

func newDryPlan(r *recipe.Recipe, train *dataset.Split, data dryData) (p *dryPlan, err error) {
	p = &dryPlan{recipe: r, train: train, data: data}
	if p.form, err = r.Loss.NewForm(); err != nil {
		return nil, err
	}
	if p.network, err = worker.NetworkOf(r); err != nil {
		return nil, err
	}
	if p.sampler, err = worker.SamplerOf(r, train); err != nil {
		return nil, err
	}
	even := make([]float64, r.Workers) // workers of one machine are alike
	for i := range even {
		even[i] = 1
	}
	if p.shards, err = sampler.Assign(r.Batch.Shards, even); err != nil {
		return nil, err
	}
	p.total = worker.ScheduleOf(r).Total(p.sampler.StepsPerEpoch())
	return p, nil
}

func (p *dryPlan) describe() *dryRun {
	r, n := p.recipe, p.network
	lo, hi := n.StageRange(model.Head)
	d := &dryRun{
		Recipe: r.Name, Hash: r.Hash(), Seed: r.Seed, Data: p.data,
		Network: dryNetwork{
			Name: n.Name, Side: r.Data.Size, Dim: n.Dim, Trunk: n.NumParams() - (hi - lo), Head: hi - lo,
			Proxies: p.proxies(), Statistics: n.NumBuffers(),
		},
		Batch: dryBatch{
			Classes: r.Batch.Classes, Images: r.Batch.Images, Rows: p.sampler.Rows(), Shards: r.Batch.Shards,
			ShardRows: p.shardRows(), GradientCache: r.Batch.GradientCache == "on",
		},
		Steps:        drySteps{PerEpoch: p.sampler.StepsPerEpoch(), Total: p.total, HeadOnly: p.headOnly()},
		LearningRate: p.rates(),
		Memory:       p.memory(),
		FileBytes:    p.filedBytes(),
		Traffic:      p.traffic(),
		Evaluations:  p.evaluations(),
		Checkpoints:  p.checkpoints(),
	}
	if r.Compare != "none" && r.Mix.Level != "none" {
		d.Runs = append(d.Runs, r.Loss.Form+", without mixing")
	}
	d.Runs = append(d.Runs, titleOf(r))
	for _, m := range d.Memory {
		d.MemoryBytes += m.Bytes
	}
	for rank, s := range p.shards {
		d.Workers = append(d.Workers, dryWorker{
			First: int(s.First), Shards: s.Count, Rows: s.Count * p.shardRows(), BytesSent: p.sentEveryStep(rank),
		})
	}
	return d
}

// shardRows is the number of rows of a shard.
func (p *dryPlan) shardRows() int { return p.sampler.Rows() / p.recipe.Batch.Shards }

// ownRows is the number of rows of the worker that has most.
func (p *dryPlan) ownRows() int {
	most := 0
	for _, s := range p.shards {
		most = max(most, s.Count)
	}
	return most * p.shardRows()
}

// proxies is the number of parameters of the proxies.
func (p *dryPlan) proxies() int {
	if !p.form.UsesProxies() {
		return 0
	}
	return len(p.train.Classes) * p.network.Dim
}

// planData finds out how many images there are, without making or fetching any.
func (o *trainOptions) planData(r *recipe.Recipe) (dryData, *dataset.Split, error) {
	path := o.data
	if path == "" {
		path = r.Data.Path
	}
	if path != "" {
		return countData(path, r)
	}
	if r.Data.Synth.Classes > 0 {
		return countSynth(r)
	}
	known, err := dataset.PublishedCounts(r.Data.Layout)
	if err != nil {
		return dryData{}, nil, fmt.Errorf("recipe %s names no data, and its layout does not tell how many images there are; give its folder with --data", r.Name)
	}
	return assume("no --data is given; the published counts of "+known.Name+", whose layout the recipe names, are assumed", known.Train, known.Test)
}

// countSynth counts generated images, by expectation if they are not there yet.
func countSynth(r *recipe.Recipe) (d dryData, train *dataset.Split, err error) {
	dir, cfg, err := synthFolder(r.Data.Synth)
	if err != nil {
		return dryData{}, nil, err
	}
	if _, err := os.Stat(dir); err == nil {
		d, train, err = countData(dir, r)
		d.side = cfg.Side
		return d, train, err
	}
	// A class has Images-2 to Images of them, each as likely.
	mean := float64(cfg.Images) - float64(min(3, cfg.Images-1)-1)/2
	half := dataset.Count{Classes: cfg.Classes, Images: int(mean * float64(cfg.Classes))}
	d, train, err = assume("the images are not generated yet; their expected number is assumed", half, half)
	d.side = cfg.Side
	return d, train, err
}

func countData(path string, r *recipe.Recipe) (dryData, *dataset.Split, error) {
	set, err := dataset.Open(path, r.Data.Layout)
	if err != nil {
		return dryData{}, nil, err
	}
	if set.Train == nil || set.Test == nil {
		return dryData{}, nil, errors.New("the data set has no images to train on or to test on")
	}
	count := func(s *dataset.Split) dataset.Count {
		return dataset.Count{Images: len(s.Images), Classes: len(s.Classes)}
	}
	return dryData{Folder: path, Train: count(set.Train), Test: count(set.Test)}, set.Train, nil
}

// assume makes a training split of the given size, its images spread evenly over the classes.
func assume(why string, train, test dataset.Count) (dryData, *dataset.Split, error) {
	s := &dataset.Split{Classes: make([]string, train.Classes), Images: make([]dataset.Image, train.Images)}
	for i := range s.Images {
		s.Images[i].Class = i % train.Classes
	}
	return dryData{Assumed: why, Train: train, Test: test}, s, nil
}
