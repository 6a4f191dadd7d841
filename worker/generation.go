package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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

// headerFloats is the length of what each rank tells the others about itself when it meets them.
const headerFloats = 6

// headerEvaluated is the place in it of whether the step is evaluated.
const headerEvaluated = 2

// handover is what a state has beside its blocks. It is not part of what is compared: figures of its
// own rank are in the record.
type handover struct {
	Last   StepRecord // of the last step
	Best   float64    // best Recall@1 so far, and the step that had it
	BestAt run.Step
}

// handoverFloats is the length of a handover as JSON, a byte a float, filled up with spaces.
const handoverFloats = 2048

// handOver gives root's handover to the others.
func (t *trainer) handOver(ctx context.Context, g *generation, step run.Step, root run.Rank) error {
	x := make([]float32, handoverFloats)
	if g.rank == root {
		text, err := json.Marshal(handover{Last: t.last, Best: t.best, BestAt: t.bestAt})
		if err != nil || len(text) > len(x) {
			return fmt.Errorf("the record of step %d (%d bytes) cannot be handed over: %w", step, len(text), err)
		}
		for i := range x {
			x[i] = ' '
			if i < len(text) {
				x[i] = float32(text[i])
			}
		}
	}
	if err := g.ring.Broadcast(ctx, step, "state: record", root, x); err != nil {
		return err
	}
	text := make([]byte, len(x))
	for i, c := range x {
		text[i] = byte(c)
	}
	var h handover
	if err := json.Unmarshal(text, &h); err != nil {
		return fmt.Errorf("the record that rank %d handed over: %w", root, err)
	}
	t.last, t.best, t.bestAt = h.Last, h.Best, h.BestAt
	if h.Last.Loss != nil {
		t.lastLoss = *h.Last.Loss
	}
	return nil
}

// meet brings all ranks to the same state: the rank that has done most steps (the lowest of several)
// gives its parameters, statistics and optimizer state to the others. Where all states are the same
// bits already, nothing is sent.
func (t *trainer) meet(ctx context.Context, g *generation) error {
	if g.world == 1 {
		return nil
	}
	parts := make([]int, g.world)
	for r := range parts {
		parts[r] = headerFloats
	}
	state, err := t.state()
	if err != nil {
		return err
	}
	headers := make([]float32, g.world*headerFloats)
	t.header(headers[int(g.rank)*headerFloats:], checksum(state))
	if err := g.ring.AllGather(ctx, 0, "meeting", headers, parts); err != nil { // the steps differ, that is why
		return err
	}
	root, same := 0, true
	for r := range g.world {
		h := headers[r*headerFloats:]
		if step, _ := readHeader(h); step > first(readHeader(headers[root*headerFloats:])) {
			root = r
		}
		for i := range headerFloats {
			same = same && (i == headerEvaluated || h[i] == headers[i])
		}
	}
	if err := t.compareEngines(ctx, g, headers, root); err != nil {
		return err
	}
	step := first(readHeader(headers[root*headerFloats:]))
	if !same {
		t.log.Info("taking over state", "from rank", root, "step", step, "own step", t.step)
		t.written()
		for _, b := range state {
			if err := g.ring.Broadcast(ctx, step, "state: "+b.name, run.Rank(root), b.data); err != nil {
				t.step = -1 // half a state is none
				return err
			}
		}
		if err := t.handOver(ctx, g, step, run.Rank(root)); err != nil {
			t.step = -1
			return err
		}
	}
	t.step = step
	t.evaluated = -1
	if at, evaluated := readHeader(headers); evaluated && at == step { // rank 0 writes it down
		t.evaluated = step
	}
	return nil
}

// compareEngines makes a worker leave whose engine is not that of root, which has the run's state. The
// others wait for the generation without it.
func (t *trainer) compareEngines(ctx context.Context, g *generation, headers []float32, root int) error {
	engine := func(rank int) float32 { return headers[rank*headerFloats+5] }
	if engine(int(g.rank)) != engine(root) {
		return fmt.Errorf("this worker computes with the engine %s, rank %d of the run with another, which rounds differently: set engine.name in the recipe, and see 'metrix doctor' for what keeps this machine from it", t.cfg.Engine.Name(), root)
	}
	for r := range g.world {
		if engine(r) != engine(root) {
			t.log.Warn("a worker computes with another engine, waiting until it has left", "rank", r)
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return nil
}

// header packs step, whether it is evaluated, the checksum of the state and that of the engine's name
// into exact floats.
func (t *trainer) header(dst []float32, sum uint32) {
	dst[0], dst[1] = float32((t.step+1)>>20), float32((t.step+1)&(1<<20-1))
	dst[headerEvaluated] = 0
	if t.evaluated == t.step {
		dst[headerEvaluated] = 1
	}
	dst[3], dst[4] = float32(sum>>16), float32(sum&0xffff)
	dst[5] = float32(crc32.ChecksumIEEE([]byte(t.cfg.Engine.Name())) >> 8)
}

func readHeader(h []float32) (step run.Step, evaluated bool) {
	return run.Step(h[0])<<20 + run.Step(h[1]) - 1, h[headerEvaluated] == 1
}

func first(step run.Step, _ bool) run.Step { return step }

// checksum is a CRC-32C of everything that meet would send.
func checksum(state []block) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for _, b := range state {
		sum = crc32.Update(sum, table, floatBytes(b.data))
	}
	return sum
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
