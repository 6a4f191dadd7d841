package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/metrixml/metrix/checkpoint"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/weights"
)

// The files of a checkpoint.
const (
	modelFile     = "model"
	optimizerFile = "optimizer"
	proxiesName   = "proxies"
)

// CheckpointDir is the folder of a run's checkpoints.
func CheckpointDir(out string) string { return filepath.Join(out, "checkpoints") }

// bestPath is the folder of the checkpoint with the best Recall@1.
func bestPath(out string) string { return filepath.Join(out, "best") }

// checkpoint writes the whole state and tells the coordinator. e is the evaluation of this state,
// if there is one.
func (t *trainer) checkpoint(ctx context.Context, e *Evaluation) error {
	if err := t.fetch(); err != nil {
		return err
	}
	m, err := t.manifest(e)
	if err != nil {
		return err
	}
	files := map[string][]checkpoint.Tensor{modelFile: t.modelTensors(), optimizerFile: t.optimizerTensors()}
	path, err := checkpoint.Save(CheckpointDir(t.cfg.Out), m, files, t.cfg.Recipe.Train.Keep)
	if err != nil {
		return err
	}
	t.lastCheckpoint = path
	t.note(ctx, "checkpoint", func(ctx context.Context) error {
		return t.cfg.Coordinator.Commit(ctx, t.cfg.Run, api.Checkpoint{Step: t.step, Path: path, Hash: t.parameterHash()})
	})
	return nil
}

// saveBest keeps the network of the best evaluation so far, without the optimizer's state.
func (t *trainer) saveBest(e *Evaluation) error {
	if err := t.fetch(); err != nil {
		return err
	}
	m, err := t.manifest(e)
	if err != nil {
		return err
	}
	_, err = checkpoint.Save(bestPath(t.cfg.Out), m, map[string][]checkpoint.Tensor{modelFile: t.modelTensors()}, 1)
	return err
}

func (t *trainer) manifest(e *Evaluation) (checkpoint.Manifest, error) {
	r := t.cfg.Recipe
	m := checkpoint.Manifest{
		Run: string(t.cfg.Run), RecipeHash: r.Hash(), Recipe: string(r.Canonical()), Step: int64(t.step), Seed: r.Seed,
		Extra: map[string]string{"best_recall_at_1": strconv.FormatFloat(t.best, 'g', -1, 64), "evaluated": strconv.FormatBool(t.evaluated == t.step)},
	}
	if e == nil {
		return m, nil
	}
	metrics, err := json.Marshal(e.Metrics)
	m.Metrics = metrics
	return m, err
}

// modelTensors are the parameters, statistics and proxies by name: views, not copies.
func (t *trainer) modelTensors() []checkpoint.Tensor {
	tensors := weights.Tensors(t.network, t.layout.params.of(t.weights), t.buffers)
	if p := t.layout.proxies.of(t.weights); len(p) > 0 {
		tensors = append(tensors, checkpoint.Tensor{Name: proxiesName, Shape: []int{len(p) / t.dim, t.dim}, Data: p})
	}
	return tensors
}

func (t *trainer) optimizerTensors() []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, s := range t.optimizer.State() {
		out = append(out, checkpoint.Tensor{Name: s.Name, Shape: []int{len(s.Data)}, Data: s.Data})
	}
	if m := t.memory; m.size > 0 {
		out = append(out,
			checkpoint.Tensor{Name: "memory", Shape: []int{m.size, m.dim}, Data: m.rows},
			checkpoint.Tensor{Name: "memory_marks", Shape: []int{m.size, 2}, Data: m.marks})
	}
	return out
}

// fill copies stored tensors into the views of the same name. Every view must be there with its
// shape; stored tensors that nobody asks for are left out if extra allows it.
func fill(views, stored []checkpoint.Tensor, extra bool) error {
	byName := map[string]checkpoint.Tensor{}
	for _, s := range stored {
		byName[s.Name] = s
	}
	for _, v := range views {
		s, ok := byName[v.Name]
		if !ok {
			return fmt.Errorf("tensor %q is missing", v.Name)
		}
		if len(s.Data) != len(v.Data) {
			return fmt.Errorf("tensor %q has shape %v, the recipe's network needs %v", v.Name, s.Shape, v.Shape)
		}
		copy(v.Data, s.Data)
		delete(byName, v.Name)
	}
	if len(byName) > 0 && !extra {
		for name := range byName {
			return fmt.Errorf("tensor %q is not part of the recipe's network", name)
		}
	}
	return nil
}

// LoadNetwork fills the parameters and statistics of a network from a checkpoint folder.
func LoadNetwork(path string, n *model.Network, params, buffers []float32) error {
	_, files, err := checkpoint.Load(path)
	if err != nil {
		return err
	}
	if err := fill(weights.Tensors(n, params, buffers), files[modelFile], true); err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return nil
}

// restore sets the state to the newest checkpoint of this run, or to the beginning of the run.
func (t *trainer) restore() error {
	if err := t.initialize(); err != nil {
		return err
	}
	path, err := checkpoint.Latest(CheckpointDir(t.cfg.Out))
	if errors.Is(err, checkpoint.ErrNone) {
		return t.loadPretrained()
	}
	if err != nil {
		return err
	}
	return t.load(path)
}

// catchUp takes a checkpoint of a later step than the state's, if the output folder has one: others have
// gone on, and are gone, since this worker began to wait or lost the coordinators' sight.
func (t *trainer) catchUp() error {
	path, err := checkpoint.After(CheckpointDir(t.cfg.Out), int64(t.step))
	if err != nil || path == "" {
		return err
	}
	if err := t.initialize(); err != nil {
		return err
	}
	return t.load(path)
}

// load sets the state, which has just been initialized, to a checkpoint of this run.
func (t *trainer) load(path string) error {
	m, files, err := checkpoint.Load(path)
	if err != nil {
		return err
	}
	if m.RecipeHash != t.cfg.Recipe.Hash() {
		return fmt.Errorf("checkpoint %s belongs to another recipe or seed; choose another output folder", path)
	}
	if err := fill(t.modelTensors(), files[modelFile], false); err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	if err := fill(t.optimizerTensors(), files[optimizerFile], false); err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	t.step = run.Step(m.Step)
	if m.Extra["evaluated"] == "true" {
		t.evaluated = t.step
	}
	if best, err := strconv.ParseFloat(m.Extra["best_recall_at_1"], 64); err == nil {
		t.best = best
	}
	t.lastCheckpoint = path
	t.log.Info("restored", "checkpoint", path, "step", t.step)
	return nil
}

// ErrPretrained says that the weights that a recipe names cannot be taken, by no worker.
var ErrPretrained = errors.New("model.pretrained cannot be used")

// loadPretrained starts the network from the weights that a recipe names. The embedding layer is left
// at its random start where they have none of its shape.
func (t *trainer) loadPretrained() error {
	path := t.cfg.Recipe.Model.Pretrained
	if path == "" {
		return nil
	}
	stored, err := readPretrained(path)
	if err != nil {
		return fmt.Errorf("%w: %w; name a safetensors file, one of PyTorch's, or a folder with a checkpoint", ErrPretrained, err)
	}
	report, err := weights.Apply(t.network, t.layout.params.of(t.weights), t.buffers, stored)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPretrained, path, err)
	}
	t.log.Info("pretrained", "weights", path, "applied", report.String())
	return nil
}

// readPretrained reads a safetensors file or one of PyTorch's, or the network in a folder that is a
// checkpoint of another run or holds some, of which the newest is taken.
func readPretrained(path string) ([]checkpoint.Tensor, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return weights.Load(path)
	}
	if newest, err := checkpoint.Latest(path); err == nil {
		path = newest
	}
	_, files, err := checkpoint.Load(path)
	return files[modelFile], err
}
