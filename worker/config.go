package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
)

// Config is what a worker needs. Everything outside the process comes in through it.
type Config struct {
	// Run names the run, Name this worker process: unique, a restarted process takes a new one.
	Run  run.ID
	Name string
	// Host is shown to people; Weight is this worker's speed relative to the others (0 means 1).
	Host   string
	Weight float64
	// Recipe is the run's recipe; Data the images it trains and is evaluated on.
	Recipe *recipe.Recipe
	Data   *dataset.Set
	// Engine computes, with Threads cores (>= 1).
	Engine  engine.Engine
	Threads int
	// Coordinator is asked for plans. Connect makes the transport of one generation's ring.
	Coordinator *api.Client
	Connect     func(allreduce.Config) (allreduce.Transport, error)
	// Out is the folder of checkpoints, step log and result; rank 0 writes there. It must be the
	// same folder for all workers (a shared volume) if a resumed run is to find its checkpoint.
	Out string
	// Scratch is a folder on a disk of this machine, or empty for Out. With the gradient cache a step
	// that mixes feature maps, or images that are fetched, keeps them there in files without a name.
	Scratch string
	// Stop, once closed, asks the worker to leave after the step in flight. When all workers of the
	// run are asked, rank 0 writes a checkpoint first.
	Stop <-chan struct{}
	// Logger may be nil.
	Logger *slog.Logger
	// OnStep, if not nil, is called after every step from the training goroutine. Tests use it.
	OnStep func(step run.Step, loss Loss)
}

// Validate reports the first missing part.
func (c *Config) Validate() error {
	switch {
	case !run.ValidID(c.Run):
		return fmt.Errorf("worker: run name %q must be 1 to 64 letters, digits, '-' or '_'", c.Run)
	case c.Name == "":
		return errors.New("worker: a name for this worker is missing")
	case c.Recipe == nil, c.Data == nil, c.Engine == nil, c.Coordinator == nil, c.Connect == nil:
		return errors.New("worker: recipe, data, engine, coordinator and transport are all required")
	case c.Threads < 1:
		return fmt.Errorf("worker: %d threads; at least 1 is needed", c.Threads)
	case c.Out == "":
		return errors.New("worker: an output folder is missing")
	}
	return nil
}

// scratch is the folder of files that live as long as the process.
func (c *Config) scratch() string {
	if c.Scratch != "" {
		return c.Scratch
	}
	return c.Out
}

// Loss is the value of one step over the global batch.
type Loss struct {
	Clean float64 `json:"clean"`
	Mixed float64 `json:"mixed"`           // already multiplied by the mixing weight
	Mined float64 `json:"mined,omitempty"` // of triplets with unlabelled images, times its weight
	Total float64 `json:"total"`
}

// Result is what a finished worker reports. Figures that only rank 0 knows (log, checkpoint) are
// the same on all ranks because all of them use the same output folder.
type Result struct {
	Run             run.ID             `json:"run"`
	Steps           run.Step           `json:"steps"`
	Epochs          int                `json:"epochs"`
	World           int                `json:"workers"`
	Finished        bool               `json:"finished"`
	Untrained       *Evaluation        `json:"untrained,omitempty"`
	Final           *Evaluation        `json:"final,omitempty"`
	Best            *Evaluation        `json:"best,omitempty"`
	FinalLoss       Loss               `json:"final_loss"`
	ImagesPerSecond float64            `json:"images_per_second"`
	TrainSeconds    float64            `json:"train_seconds"`
	PhaseSeconds    map[string]float64 `json:"phase_seconds"`
	WaitSeconds     map[string]float64 `json:"late_seconds_by_rank,omitempty"`
	LossFile        string             `json:"loss_file"`
	Checkpoint      string             `json:"checkpoint,omitempty"`
	BestCheckpoint  string             `json:"best_checkpoint,omitempty"`
	ParameterHash   string             `json:"parameter_hash"`
	Engine          string             `json:"engine"`
	Generations     int                `json:"generations"`
}

// ErrStopped is returned when the worker left because it was asked to.
var ErrStopped = errors.New("worker: stopped as asked")

// clock is time.Now, replaced in tests of phases.
type clock func() time.Time

// connectRing opens the ring of one plan and returns what closes its transport.
func (c *Config) connectRing(p api.Plan, rank run.Rank) (*allreduce.Ring, func() error, error) {
	rc := allreduce.DefaultConfig()
	rc.Run, rc.Generation, rc.Rank, rc.World = p.Run, p.Generation, rank, p.World()
	t, err := c.Connect(rc)
	if err != nil {
		return nil, nil, err
	}
	r, err := allreduce.New(rc, t)
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	return r, t.Close, nil
}
