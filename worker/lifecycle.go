package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

// commitTimeout bounds how long training waits for the coordinator to note something. What it notes
// is for people and for restarts; the run itself does not need it.
const commitTimeout = 5 * time.Second

// evaluationDue reports whether the state at hand is to be evaluated before the next step: before
// the first, after the last, and as often as the recipe says.
func (t *trainer) evaluationDue() bool {
	if t.evaluated == t.step {
		return false
	}
	tr := t.cfg.Recipe.Train
	perEpoch := run.Step(t.sampler.StepsPerEpoch())
	every := func(n run.Step) bool { return n > 0 && t.step%n == 0 }
	return t.step == 0 || t.step == t.total || every(run.Step(tr.EvalEverySteps)) || every(run.Step(tr.EvalEveryEpochs)*perEpoch)
}

// evaluation evaluates, and rank 0 notes the outcome: step log, coordinator, checkpoints.
func (t *trainer) evaluation(ctx context.Context, g *generation) error {
	e, err := t.evaluate(ctx, g)
	if err != nil {
		return err
	}
	recall := e.RecallAt1()
	t.instruments.recall.Record(ctx, recall)
	t.log.Info("evaluated", "step", t.step, "recall", e.Metrics.Recall, "seconds", e.Seconds)
	best := t.step > 0 && t.noteBest(recall)
	if g.rank != 0 {
		t.evaluated = t.step
		return nil
	}
	if err := g.journal.write(t.record(g, nil, e)); err != nil {
		return err
	}
	t.evaluated = t.step
	metrics, err := json.Marshal(e.Metrics)
	if err != nil {
		return err
	}
	t.note(ctx, "score", func(ctx context.Context) error {
		return t.cfg.Coordinator.Score(ctx, t.cfg.Run, api.Score{Step: t.step, RecallAt1: recall, Metrics: metrics})
	})
	if t.step == 0 {
		return nil
	}
	if best {
		if err := t.saveBest(e); err != nil {
			return err
		}
	}
	return t.checkpoint(ctx, e)
}

// noteBest reports whether the state at hand is the best of those evaluated, by Recall@1: every rank
// knows, as any may have to save the next one. What is evaluated again, because rank 0 died before it
// had written that down, is the best once more.
func (t *trainer) noteBest(recall float64) bool {
	if recall < t.best || recall == t.best && t.step != t.bestAt {
		return false
	}
	t.best, t.bestAt = recall, t.step
	return true
}

// afterStep is the bookkeeping between two steps.
func (t *trainer) afterStep(ctx context.Context, g *generation) error {
	t.trained++
	t.trainTime = t.phases.sum()
	t.rate.add(t.now(), g.hi-g.lo)
	t.instruments.steps.Add(ctx, 1)
	t.instruments.images.Add(ctx, int64(g.hi-g.lo))
	t.instruments.loss.Record(ctx, t.lastLoss.Total)
	t.onProgress(api.Progress{Step: t.step, Loss: t.lastLoss.Total, ImagesPerSecond: t.rate.perSecond(), Phases: t.phases.seconds()})
	if t.cfg.OnStep != nil {
		t.cfg.OnStep(t.step, t.lastLoss)
	}
	loss := t.lastLoss // a copy, for the next step has another
	t.last = t.record(g, &loss, nil)
	votes := int(t.sums[t.layout.tail.lo+tailStop])
	if g.rank == 0 {
		if err := g.journal.write(t.last); err != nil {
			return err
		}
		every := run.Step(t.cfg.Recipe.Train.CheckpointEverySteps)
		if votes == g.world || every > 0 && t.step%every == 0 && t.step < t.total {
			if err := t.checkpoint(ctx, nil); err != nil {
				return err
			}
		}
	}
	if votes == g.world { // nobody leaves before the checkpoint is written
		if err := g.ring.Barrier(ctx, t.step, "stop"); err != nil {
			return err
		}
	}
	if t.leaving && votes > 0 {
		return ErrStopped
	}
	return nil
}

// finish ends a run that has done its last step. Rank 0 writes the result and tells the coordinator;
// the others wait for its word, so that nobody is missed while that is going on. Should rank 0 die
// before, the next generation has another.
func (t *trainer) finish(ctx context.Context, g *generation) error {
	if g.rank != 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := t.writeResult(); err != nil {
		return err
	}
	if err := t.cfg.Coordinator.Finish(ctx, t.cfg.Run, t.step); err != nil {
		return fmt.Errorf("telling the coordinator that the run is finished: %w", err)
	}
	t.finished = true
	return nil
}

// note tells the coordinator something that the run can do without. The end of a generation does not
// cut it off.
func (t *trainer) note(ctx context.Context, what string, tell func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := tell(ctx); err != nil {
		t.log.Warn("the coordinator did not take a note", "what", what, "step", t.step, "error", err)
	}
}

// record is a line of the step log, of a step or of an evaluation.
func (t *trainer) record(g *generation, loss *Loss, e *Evaluation) StepRecord {
	rec := StepRecord{
		Step: t.step, Epoch: t.sampler.Epoch(max(t.step-1, 0)), Generation: uint64(g.number), Workers: g.world,
		Loss: loss, Evaluation: e,
	}
	if loss != nil {
		rec.LearningRate = t.schedule.LR(int64(t.step-1), t.sampler.StepsPerEpoch())
		rec.ImagesPerSecond = round3(t.rate.perSecond() * float64(t.sampler.Rows()) / float64(max(g.hi-g.lo, 1)))
		if rec.Lambda = round3(t.mix.Lambda); t.mix.Weight > 0 {
			rec.MixLevel, rec.MixPairs = t.mix.Level, t.mix.PairsOf(t.form).String()
		}
	}
	sent := g.ring.Stats()
	rec.SentBytes, rec.SentFrames = sent.BytesSent-g.sent.BytesSent, sent.FramesSent-g.sent.FramesSent
	g.sent = sent
	return rec
}

func round3(x float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 3, 64), 64)
	return r
}

// noteWaits adds up whom the ring waited for: it names a slow worker, which no other time does.
func (t *trainer) noteWaits(s allreduce.Stats) {
	for rank, d := range s.Late {
		t.waits[strconv.Itoa(rank)] += d.Seconds()
	}
	t.instruments.ringBytes.Add(context.Background(), s.BytesSent)
}

// parameterHash is the SHA-256 of parameters and proxies, as hexadecimal digits; empty if a device that
// has them does not give them any more.
func (t *trainer) parameterHash() string {
	if err := t.fetch(); err != nil {
		t.log.Warn("the weights are lost", "error", err)
		return ""
	}
	sum := sha256.Sum256(floatBytes(t.weights))
	return hex.EncodeToString(sum[:])
}

// resultPath is where rank 0 leaves the result of a finished run.
func resultPath(out string) string { return filepath.Join(out, "result.json") }

func (t *trainer) writeResult() error {
	r := t.result()
	r.Finished = true
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := resultPath(t.cfg.Out)
	if err := os.WriteFile(path+".tmp", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

// ReadResult reads the result of the run in an output folder.
func ReadResult(out string) (*Result, error) {
	b, err := os.ReadFile(resultPath(out))
	if err != nil {
		return nil, fmt.Errorf("result of the run: %w", err)
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("result of the run, %s: %w", resultPath(out), err)
	}
	return &r, nil
}

// result tells how far this worker came. Evaluations come from the step log, which outlives workers.
func (t *trainer) result() *Result {
	r := &Result{
		Run: t.cfg.Run, Steps: t.step, World: t.world, Finished: t.finished, FinalLoss: t.lastLoss,
		TrainSeconds: round3(t.trainTime.Seconds()), PhaseSeconds: t.phases.seconds(), WaitSeconds: t.waits,
		LossFile: journalPath(t.cfg.Out), ParameterHash: t.parameterHash(),
		Engine: t.cfg.Engine.Name(), Generations: t.generations, Checkpoint: t.lastCheckpoint,
	}
	if t.step > 0 {
		r.Epochs = t.sampler.Epoch(t.step-1) + 1
	}
	if s := t.trainTime.Seconds(); s > 0 {
		r.ImagesPerSecond = round3(float64(t.trained) * float64(t.sampler.Rows()) / s)
	}
	records, err := ReadJournal(t.cfg.Out)
	if err != nil {
		return r // no step log on this machine: rank 0 wrote it elsewhere
	}
	for _, rec := range records {
		switch e := rec.Evaluation; {
		case e == nil:
		case e.Step == 0:
			r.Untrained = e
		default:
			r.Final = e
			if r.Best == nil || e.RecallAt1() > r.Best.RecallAt1() {
				r.Best = e
				r.BestCheckpoint = bestPath(t.cfg.Out)
			}
		}
	}
	return r
}

// rate measures images per second over the last steps.
type rate struct {
	times  []time.Time
	images []int
}

// rateWindow is the number of steps a rate looks back.
const rateWindow = 20

func (r *rate) add(at time.Time, images int) {
	r.times, r.images = append(r.times, at), append(r.images, images)
	if n := len(r.times); n > rateWindow {
		r.times, r.images = r.times[n-rateWindow:], r.images[n-rateWindow:]
	}
}

func (r *rate) perSecond() float64 {
	n := len(r.times)
	if n < 2 {
		return 0
	}
	images := 0
	for _, k := range r.images[1:] {
		images += k
	}
	if d := r.times[n-1].Sub(r.times[0]).Seconds(); d > 0 {
		return float64(images) / d
	}
	return 0
}
