package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/run"
)

// generation is one fixed membership: immutable, and dead as a whole once anything in it fails.
type generation struct {
	number  run.Generation
	rank    run.Rank
	world   int
	ring    *allreduce.Ring
	own     run.Shards
	lo, hi  int             // own rows of the global batch
	rowsOf  []int           // rows by rank
	journal *journal        // rank 0 only
	sent    allreduce.Stats // by the ring, up to the last record
}

// newGeneration lays out who owns which rows of a batch of rows in shards equal parts.
func newGeneration(plan api.Plan, rank run.Rank, ring *allreduce.Ring, rows, shards int) *generation {
	g := &generation{number: plan.Generation, rank: rank, world: plan.World(), ring: ring}
	per := rows / shards
	g.own = plan.Members[rank].Shards
	g.lo = int(g.own.First) * per
	g.hi = g.lo + g.own.Count*per
	for r := range g.world {
		g.rowsOf = append(g.rowsOf, plan.Members[r].Shards.Count*per)
	}
	return g
}

// span is the rows [lo, hi) of the batch that a rank owns.
func (g *generation) span(rank int) (lo, hi int) {
	for _, n := range g.rowsOf[:rank] {
		lo += n
	}
	return lo, lo + g.rowsOf[rank]
}

// batchParts is the number of floats of each rank's rows of the batch, width floats a row.
func (g *generation) batchParts(width int) []int {
	parts := make([]int, g.world)
	for r, n := range g.rowsOf {
		parts[r] = n * width
	}
	return parts
}

// evenParts is the number of floats of each rank's part of n rows that are dealt evenly.
func (g *generation) evenParts(n, width int) []int {
	parts := make([]int, g.world)
	for r := range parts {
		lo, hi := retrieval.Range(n, run.Rank(r), g.world)
		parts[r] = (hi - lo) * width
	}
	return parts
}

// generation trains as one member of a fixed ring until the run is over or the ring breaks.
func (t *trainer) generation(ctx context.Context, plan api.Plan, rank run.Rank) (err error) {
	ring, closeRing, err := t.cfg.connectRing(plan, rank)
	if err != nil {
		return fmt.Errorf("generation %d: %w", plan.Generation, err)
	}
	defer func() { err = errors.Join(err, closeRing()) }()
	g := newGeneration(plan, rank, ring, t.sampler.Rows(), t.cfg.Recipe.Batch.Shards)
	defer func() { t.noteWaits(ring.Stats()) }()
	if rank == 0 {
		if g.journal, err = openJournal(t.cfg.Out); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.journal.close()) }()
	} else {
		defer func() { t.evaluated = -1 }() // whether rank 0 came to write it down is not known here
	}
	if t.step < 0 { // an earlier generation broke while this worker took over a state
		err = t.restore()
	} else {
		err = t.catchUp()
	}
	if err != nil {
		return err
	}
	if err := t.meet(ctx, g); err != nil {
		return fmt.Errorf("generation %d: %w", g.number, err)
	}
	t.log.Info("generation begins", "generation", g.number, "rank", rank, "workers", g.world, "shards", g.own.Count, "step", t.step)
	if rank == 0 {
		if err := g.journal.goOn(t.step, t.evaluated == t.step, t.last); err != nil {
			return err
		}
	}
	t.instruments.generations.Add(ctx, 1)
	return t.instruments.span(ctx, "generation", func(ctx context.Context) error { return t.steps(ctx, g) },
		attribute.Int64("generation", int64(g.number)), attribute.Int("rank", int(g.rank)), attribute.Int("workers", g.world))
}

// steps runs the steps that are left, with evaluations and checkpoints between them.
func (t *trainer) steps(ctx context.Context, g *generation) error {
	t.generations++
	t.world = g.world
	l, err := startLoader(ctx, t.source, g.lo, g.hi, t.step, t.total)
	if err != nil {
		return err
	}
	defer l.close()
	for {
		if t.evaluationDue() {
			evaluate := func(ctx context.Context) error { return t.evaluation(ctx, g) }
			if err := t.instruments.span(ctx, "evaluation", evaluate, attribute.Int64("step", int64(t.step))); err != nil {
				return err
			}
		}
		if t.step == t.total {
			return t.finish(ctx, g)
		}
		t.phases.start()
		b, err := l.next(ctx)
		if err != nil {
			return err
		}
		train := func(ctx context.Context) error { return t.trainStep(ctx, g, b) }
		if err := t.instruments.span(ctx, "step", train, attribute.Int64("step", int64(t.step))); err != nil {
			return fmt.Errorf("step %d: %w", t.step, err)
		}
		l.recycle(b)
		if err := t.afterStep(ctx, g); err != nil {
			return err
		}
	}
}

// floatBytes is the memory of x. It is used for sums over bits, never for what leaves the machine.
func floatBytes(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// errDiverged ends a run whose loss is no longer a number.
var errDiverged = errors.New("the loss is no longer finite; lower optimizer.lr, set optimizer.clip_norm, or begin with schedule.warmup_epochs")

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func allFinite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
