package sampler

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// training makes classes of lo..hi images whose indices are scattered over the set.
func training(seed uint64, classes, lo, hi int) [][]int {
	r := draw.Of(seed, draw.Test)
	sizes := make([]int, classes)
	total := 0
	for c := range sizes {
		sizes[c] = lo + r.IntN(hi-lo+1)
		total += sizes[c]
	}
	perm := r.Perm(total)
	out := make([][]int, classes)
	for c, n := range sizes {
		out[c], perm = perm[:n], perm[n:]
	}
	return out
}

type scenario struct {
	cfg     Config
	classes [][]int
}

// scenarios covers even and uneven shards, several classes per shard, small and single-image
// classes, one class only, and automatic passes.
func scenarios() map[string]scenario {
	return map[string]scenario{
		"even":            {Config{Seed: 1, Shards: 4, Classes: 8, Images: 4}, training(1, 32, 8, 8)},
		"uneven":          {Config{Seed: 2, Shards: 8, Classes: 16, Images: 5}, training(2, 121, 1, 12)},
		"one per shard":   {Config{Seed: 3, Shards: 6, Classes: 6, Images: 3, Passes: 2}, training(3, 37, 2, 9)},
		"one shard":       {Config{Seed: 4, Shards: 1, Classes: 5, Images: 2}, training(4, 13, 1, 20)},
		"barely enough":   {Config{Seed: 5, Shards: 3, Classes: 12, Images: 4, Passes: 3}, training(5, 12, 1, 7)},
		"all sizes apart": {Config{Seed: 6, Shards: 5, Classes: 10, Images: 4}, training(6, 50, 1, 200)},
		"single images":   {Config{Seed: 7, Shards: 2, Classes: 4, Images: 3}, training(7, 9, 1, 1)},
		"single class":    {Config{Seed: 8, Shards: 1, Classes: 1, Images: 6}, training(8, 1, 10, 10)},
	}
}

func eachScenario(t *testing.T, check func(t *testing.T, s *Sampler, sc scenario)) {
	for name, sc := range scenarios() {
		t.Run(name, func(t *testing.T) {
			s, err := New(sc.cfg, sc.classes)
			require.NoError(t, err)
			check(t, s, sc)
		})
	}
}

// shardItems returns the items of one shard in one step.
func shardItems(s *Sampler, items []Item, shard int) []Item {
	lo, hi := s.Owned(run.Shards{First: run.Shard(shard), Count: 1})
	return items[lo:hi]
}

func TestABatchHasDistinctClassesWithKOfTheirImages(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *Sampler, sc scenario) {
		k := sc.cfg.Images
		for step := range run.Step(2 * s.StepsPerEpoch()) {
			items := s.Batch(step)
			require.Len(t, items, sc.cfg.Classes*k)
			seen := map[int]bool{}
			for i := 0; i < len(items); i += k {
				class := items[i].Class
				require.False(t, seen[class], "step %d holds class %d twice", step, class)
				seen[class] = true
				uses := map[int]int{}
				for _, it := range items[i : i+k] {
					require.Equal(t, class, it.Class)
					require.Equal(t, s.Epoch(step), it.Epoch)
					require.Contains(t, sc.classes[class], it.Image)
					uses[it.Image]++
				}
				n := len(sc.classes[class])
				require.Len(t, uses, min(n, k), "a visit shows as many images as it can")
				for _, u := range uses {
					require.LessOrEqual(t, u, ceilDiv(k, n))
				}
			}
		}
	})
}

func TestAPassShowsEveryClassOnceBeforeAnyTwice(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *Sampler, sc scenario) {
		perPass := s.StepsPerEpoch() / s.Passes()
		for pass := range 2 * s.Passes() {
			owner := map[int]int{}
			for shard := range sc.cfg.Shards {
				visits := map[int]int{}
				for step := pass * perPass; step < (pass+1)*perPass; step++ {
					own := shardItems(s, s.Batch(run.Step(step)), shard)
					for i := 0; i < len(own); i += sc.cfg.Images {
						visits[own[i].Class]++
						if visits[own[i].Class] > 1 {
							require.Equal(t, (pass+1)*perPass-1, step, "a class comes again only in the last step")
						}
					}
				}
				for class, n := range visits {
					require.LessOrEqual(t, n, 2)
					require.NotContains(t, owner, class, "a class belongs to one shard")
					owner[class] = shard
				}
			}
			require.Len(t, owner, len(sc.classes), "pass %d shows every class", pass)
		}
	})
}

func TestUseCountsTheUsesOfAnImageInItsEpoch(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *Sampler, sc scenario) {
		for epoch := range 3 {
			used := map[int]int{}
			least := func(class int) int {
				low := used[sc.classes[class][0]]
				for _, image := range sc.classes[class] {
					low = min(low, used[image])
				}
				return low
			}
			for step := range s.StepsPerEpoch() {
				for _, it := range s.Batch(run.Step(epoch*s.StepsPerEpoch() + step)) {
					require.Equal(t, used[it.Image], it.Use)
					require.Equal(t, least(it.Class), it.Use, "all images of a class are used once before any twice")
					used[it.Image]++
				}
			}
		}
	})
}

// With automatic passes an epoch sees about every image once; where all classes have the same size
// and K divides it, it sees every image exactly once.
func TestAutomaticPassesCoverTheImages(t *testing.T) {
	s, err := New(Config{Seed: 1, Shards: 4, Classes: 8, Images: 4}, training(1, 32, 8, 8))
	require.NoError(t, err)
	require.Equal(t, 2, s.Passes())
	require.Equal(t, 8, s.StepsPerEpoch())
	seen := map[int]int{}
	for step := range s.StepsPerEpoch() {
		for _, it := range s.Batch(run.Step(step)) {
			seen[it.Image]++
			require.Zero(t, it.Use)
		}
	}
	require.Len(t, seen, 32*8)

	// Enough passes for the largest class cover every image of any training set.
	classes := training(9, 40, 1, 11)
	s, err = New(Config{Seed: 2, Shards: 4, Classes: 8, Images: 3, Passes: 4}, classes)
	require.NoError(t, err)
	seen = map[int]int{}
	for step := range s.StepsPerEpoch() {
		for _, it := range s.Batch(run.Step(step)) {
			seen[it.Image]++
		}
	}
	for _, list := range classes {
		for _, image := range list {
			require.Positive(t, seen[image])
		}
	}
}

func TestTheGlobalBatchIsTheUnionOfAnyPartition(t *testing.T) {
	eachScenario(t, func(t *testing.T, _ *Sampler, sc scenario) {
		whole, err := New(sc.cfg, sc.classes)
		require.NoError(t, err)
		r := draw.Of(sc.cfg.Seed, draw.Test, 1)
		for workers := 1; workers <= sc.cfg.Shards; workers++ {
			weights := make([]float64, workers)
			for i := range weights {
				weights[i] = r.Range(0.1, 5)
			}
			plan, err := Assign(sc.cfg.Shards, weights)
			require.NoError(t, err)
			samplers := make([]*Sampler, workers) // each worker has its own
			for i := range samplers {
				samplers[i], err = New(sc.cfg, sc.classes)
				require.NoError(t, err)
			}
			for _, step := range []run.Step{0, 3, 17} {
				var union []Item
				for rank, own := range plan {
					lo, hi := samplers[rank].Owned(own)
					union = append(union, samplers[rank].Batch(step)[lo:hi]...)
				}
				require.Equal(t, whole.Batch(step), union)
			}
		}
	})
}

func TestABatchDoesNotDependOnWhatWasAskedBefore(t *testing.T) {
	sc := scenarios()["uneven"]
	inOrder, err := New(sc.cfg, sc.classes)
	require.NoError(t, err)
	var want [][]Item
	for step := range run.Step(4 * inOrder.StepsPerEpoch()) {
		want = append(want, inOrder.Batch(step))
	}
	shared, err := New(sc.cfg, sc.classes)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for _, step := range draw.Of(g, draw.Test).Perm(len(want)) {
				if !slices.Equal(want[step], shared.Batch(run.Step(step))) {
					t.Errorf("goroutine %d got another batch at step %d", g, step)
				}
			}
		})
	}
	wg.Wait()
	require.Nil(t, shared.Batch(-1))
}

func TestSeedAndEpochChangeTheBatch(t *testing.T) {
	sc := scenarios()["uneven"]
	a, err := New(sc.cfg, sc.classes)
	require.NoError(t, err)
	sc.cfg.Seed++
	b, err := New(sc.cfg, sc.classes)
	require.NoError(t, err)
	require.NotEqual(t, a.Batch(0), b.Batch(0))
	require.NotEqual(t, a.Batch(0), a.Batch(run.Step(a.StepsPerEpoch())))
}

// The first batch of a small set, recorded: a change here changes every run ever made.
func TestBatchesArePartOfWhatASeedMeans(t *testing.T) {
	classes := [][]int{{0, 1, 2}, {3}, {4, 5, 6, 7}, {8, 9}, {10, 11, 12}}
	s, err := New(Config{Seed: 42, Shards: 2, Classes: 2, Images: 2}, classes)
	require.NoError(t, err)
	require.Equal(t, 3, s.StepsPerEpoch())
	var got []string
	for step := range run.Step(3) {
		line := ""
		for _, it := range s.Batch(step) {
			line += fmt.Sprintf("%d/%d/%d ", it.Class, it.Image, it.Use)
		}
		got = append(got, line)
	}
	require.Equal(t, []string{ // class/image/use
		"1/3/0 1/3/1 0/2/0 0/0/0 ",
		"2/6/0 2/7/0 4/11/0 4/10/0 ",
		"3/8/0 3/9/0 0/1/0 0/0/1 ",
	}, got)
}

func TestNewRefuses(t *testing.T) {
	ok := [][]int{{0, 1}, {2, 3}, {4}, {5}}
	for _, c := range []struct {
		cfg     Config
		classes [][]int
		says    string
	}{
		{Config{Shards: 0, Classes: 2, Images: 2}, ok, "sampler: 0 shards asked for: there must be at least 1"},
		{Config{Shards: 1, Classes: 0, Images: 2}, ok, "0 classes per batch asked for"},
		{Config{Shards: 1, Classes: 2, Images: 0}, ok, "0 images per class asked for"},
		{Config{Shards: 1, Classes: 2, Images: 2, Passes: -1}, ok, "-1 passes asked for"},
		{Config{Shards: 3, Classes: 4, Images: 2}, ok, "4 classes per batch cannot be dealt evenly to 3 shards"},
		{Config{Shards: 1, Classes: 5, Images: 2}, ok, "a batch of 5 classes needs at least as many in the training set"},
		{Config{Shards: 1, Classes: 1, Images: 2}, [][]int{{0}, {}}, "class 1 has no images"},
		{Config{Shards: 1, Classes: 1, Images: 2}, [][]int{{0}, {1, 0}}, "image 0 is listed in class 0 and again in class 1"},
		{Config{Shards: 1, Classes: 1, Images: 2}, [][]int{{-4}}, "lists image -4"},
		{Config{Shards: 1, Classes: 1, Images: 1 << 40}, ok, "is above the limit"},
		{Config{Shards: 1, Classes: 1, Images: 1, Passes: 1 << 60}, ok, "is above the limit"},
	} {
		_, err := New(c.cfg, c.classes)
		require.ErrorContains(t, err, c.says)
	}
}

func BenchmarkPlanSOP(b *testing.B) {
	classes := training(1, 11318, 2, 8) // mean 5, like SOP's 59 551 images
	s, err := New(Config{Seed: 1, Shards: 20, Classes: 20, Images: 5}, classes)
	require.NoError(b, err)
	epoch := 0
	for b.Loop() {
		s.newPlan(epoch)
		epoch++
	}
}
