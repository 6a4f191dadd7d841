package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/allreduce"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/model"
	"github.com/metrixml/metrix/recipe"
	"github.com/metrixml/metrix/run"
)

const overlapTrunk = 2*bucketFloats + 1000 // two whole buckets and a short one

// overlapping makes trainers of two workers that hold nothing but gradients of a trunk of overlapTrunk
// parameters, one shard each, and their generations.
func overlapping(t *testing.T) ([]*trainer, []*generation) {
	var ts []*trainer
	var gs []*generation
	for rank, tr := range allreduce.Memory(2) {
		rc := allreduce.DefaultConfig()
		rc.Run, rc.Generation, rc.World, rc.Rank, rc.Stall = "tiny", 1, 2, run.Rank(rank), time.Minute
		ring, err := allreduce.New(rc, tr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, ring.Close()) })
		gs = append(gs, &generation{rank: rc.Rank, world: 2, ring: ring, own: run.Shards{First: run.Shard(rank), Count: 1}})
		w := &trainer{cfg: &Config{Recipe: new(recipe.Recipe)}, shards: 2, layout: layOut(overlapTrunk, overlapTrunk, 0, 0), network: &model.Network{Params: make([]model.Param, 8)}}
		w.sums = make([]float32, w.layout.tail.hi)
		require.NoError(t, w.beginSums(gs[rank]))
		r := draw.Of(uint64(rank), draw.Test)
		for i := range w.layout.trunk.of(w.sums) {
			w.sums[i] = float32(r.Norm())
		}
		ts = append(ts, w)
	}
	return ts, gs
}

// Ranges that do not fit the buckets, announced in another order on each worker, are summed as if all
// were done at once.
func TestOverlapSumsEveryRangeOnce(t *testing.T) {
	ts, gs := overlapping(t)
	acc := make([]int64, overlapTrunk)
	for _, w := range ts {
		require.NoError(t, exact.Add(acc, w.layout.trunk.of(w.sums), 2))
	}
	want := make([]float32, overlapTrunk)
	exact.Float32(want, acc)

	cuts := []int{0, 10, bucketFloats - 3, bucketFloats + 900, overlapTrunk - 5, overlapTrunk}
	orders := [][]int{{4, 3, 2, 1, 0}, {3, 4, 1, 2, 0}}
	done := make(chan error)
	for i, w := range ts {
		o := w.startOverlap(t.Context(), gs[i])
		go func() {
			announce := o.options().Ready
			for _, k := range orders[i] {
				announce(cuts[k], cuts[k+1])
			}
			done <- o.finish(nil)
		}()
	}
	for range ts {
		require.NoError(t, <-done)
	}
	for rank, w := range ts {
		require.Equal(t, want, w.layout.trunk.of(w.sums), "rank %d", rank)
	}
}

// A backward that fails half-way leaves nobody waiting: neither here, in the middle of a collective,
// nor at the other worker, whose generation ends.
func TestOverlapEndsWithAFailedBackward(t *testing.T) {
	ts, gs := overlapping(t)
	broken := errors.New("broken")
	o := ts[0].startOverlap(t.Context(), gs[0])
	o.options().Ready(bucketFloats, overlapTrunk) // the first bucket is on its way; the peer never enters
	require.ErrorIs(t, o.finish(broken), broken)

	ctx, cancel := context.WithCancelCause(t.Context())
	other := ts[1].startOverlap(ctx, gs[1])
	other.options().Ready(0, overlapTrunk)
	cancel(broken)
	require.ErrorIs(t, other.finish(nil), broken)
}

// A gradient that cannot be summed is divergence, whether the piece it lies in is this worker's to sum
// or the other's.
func TestOverlapNoticesDivergence(t *testing.T) {
	for name, at := range map[string]int{"own piece": bucketFloats + 1000, "the other's": overlapTrunk - 3} {
		t.Run(name, func(t *testing.T) {
			ts, gs := overlapping(t)
			ts[0].sums[at] = float32(exact.Max(1)) * 2
			var errs [2]error
			var g sync.WaitGroup
			for rank, w := range ts {
				g.Go(func() {
					o := w.startOverlap(t.Context(), gs[rank])
					o.options().Ready(0, overlapTrunk)
					errs[rank] = o.finish(nil)
				})
			}
			g.Wait()
			require.ErrorIs(t, errs[0], errDiverged)
			require.ErrorContains(t, errs[1], "rank 0 gave up: the loss is no longer finite")
		})
	}
}
