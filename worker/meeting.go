package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/metrixml/metrix/run"
)

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
		if err == nil && len(text) > len(x) {
			err = fmt.Errorf("it has %d bytes, more than %d", len(text), len(x))
		}
		if err != nil {
			return fmt.Errorf("handing the record of step %d over: %w", step, err)
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
