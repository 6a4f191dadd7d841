package sampler

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// loose are n unlabelled images with numbers from 10 000.
func loose(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 10_000 + i
	}
	return out
}

func newSemi(t *testing.T, seed uint64, shards, images, perStep int) *Semi {
	t.Helper()
	s, err := NewSemi(Config{Seed: seed, Shards: shards, Classes: 4 * shards, Images: 2}, training(seed, 6*shards, 2, 5), loose(images), perStep)
	require.NoError(t, err)
	return s
}

func TestSemiBatchesAreLaidOutByShard(t *testing.T) {
	const shards, perStep = 3, 6
	s := newSemi(t, 5, shards, 40, perStep)
	require.Equal(t, 4*shards*2+perStep, s.Rows())
	for step := range run.Step(30) {
		items, labelled := s.Batch(step), s.Sampler.Batch(step)
		require.Len(t, items, s.Rows())
		var classes []Item
		for shard := range run.Shard(shards) {
			lo, hi := s.Owned(run.Shards{First: shard, Count: 1})
			own := items[lo:hi]
			require.Len(t, own, 8+2)
			classes = append(classes, own[:8]...)
			for _, it := range own[8:] {
				require.Equal(t, NoClass, it.Class)
				require.GreaterOrEqual(t, it.Image, 10_000)
			}
		}
		require.Equal(t, labelled, classes, "the labelled part is that of Sampler")
	}
	lo, hi := s.Owned(run.Shards{First: 0, Count: shards})
	require.Equal(t, [2]int{0, s.Rows()}, [2]int{lo, hi})
}

// Every image once before any twice, over whole rounds; a step never holds an image twice, and no
// two rows of the run share what keys their augmentation.
func TestUnlabelledImagesTakeTurns(t *testing.T) {
	for _, c := range []struct{ images, perStep, steps int }{{40, 8, 5}, {41, 8, 6}, {8, 8, 1}, {13, 4, 4}, {9, 8, 2}} {
		s := newSemi(t, uint64(c.images), 4, c.images, c.perStep)
		require.Equal(t, c.steps, s.StepsPerRound())
		keys := map[Item]bool{}
		for number := range 4 {
			used := map[int]int{}
			for i := range c.steps {
				held := map[int]bool{}
				for _, it := range s.Batch(run.Step(number*c.steps + i)) {
					if it.Class != NoClass {
						continue
					}
					require.Equal(t, number, it.Epoch)
					require.Equal(t, used[it.Image], it.Use)
					require.True(t, it.Use == 0 || len(used) == c.images, "an image comes twice before all came once")
					require.False(t, held[it.Image], "a step holds an image twice")
					require.False(t, keys[it])
					held[it.Image], keys[it] = true, true
					used[it.Image]++
				}
			}
			require.Len(t, used, c.images)
		}
	}
}

func TestSemiBatchIsAFunctionOfSeedAndStep(t *testing.T) {
	want := map[run.Step][]Item{}
	first := newSemi(t, 7, 2, 23, 4)
	for step := range run.Step(40) {
		want[step] = first.Batch(step)
	}
	shared := newSemi(t, 7, 2, 23, 4)
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for _, step := range draw.Of(g, draw.Test).Perm(len(want)) {
				if fmt.Sprint(want[run.Step(step)]) != fmt.Sprint(shared.Batch(run.Step(step))) {
					t.Errorf("goroutine %d got another batch at step %d", g, step)
				}
			}
		})
	}
	wg.Wait()
	require.NotEqual(t, want[0], newSemi(t, 8, 2, 23, 4).Batch(0))
	require.NotEqual(t, want[0][8:10], want[6][8:10], "each round has its own order")
	require.Nil(t, first.Batch(-1))
}

func TestSemiWithoutUnlabelledIsTheSampler(t *testing.T) {
	s := newSemi(t, 3, 2, 0, 0)
	require.Zero(t, s.StepsPerRound())
	require.Equal(t, s.Sampler.Rows(), s.Rows())
	require.Equal(t, s.Sampler.Batch(3), s.Batch(3))
}

func TestClassesWithoutLabelsAreLeftOut(t *testing.T) {
	s, err := NewSemi(Config{Shards: 1, Classes: 2, Images: 2}, [][]int{{}, {0, 1}, nil, {2, 3}, {4, 5}}, loose(4), 2)
	require.NoError(t, err)
	number := map[int]int{0: 1, 1: 1, 2: 3, 3: 3, 4: 4, 5: 4}
	for step := range run.Step(10) {
		for _, it := range s.Batch(step) {
			if it.Image < 10_000 {
				require.Equal(t, number[it.Image], it.Class)
			}
		}
	}
}

func TestNewSemiRefuses(t *testing.T) {
	classes := [][]int{{0, 1}, {2, 3}}
	cfg := Config{Shards: 2, Classes: 2, Images: 2}
	for _, c := range []struct {
		unlabelled []int
		perStep    int
		says       string
	}{
		{loose(9), -2, "-2 unlabelled images per batch asked for"},
		{loose(9), 3, "3 unlabelled images per batch cannot be dealt evenly to 2 shards"},
		{loose(9), 10, "a batch of 10 unlabelled images needs at least as many in the training set, which has 9"},
		{[]int{7, 8, 7}, 2, "image 7 is listed twice among the unlabelled ones"},
		{[]int{7, 3}, 2, "image 3 is listed in class 1 and as unlabelled"},
		{[]int{7, -3}, 2, "image -3 among the unlabelled ones is not an index"},
	} {
		_, err := NewSemi(cfg, classes, c.unlabelled, c.perStep)
		require.ErrorContains(t, err, c.says)
	}
	_, err := NewSemi(Config{}, classes, nil, 0)
	require.ErrorContains(t, err, "0 shards asked for")
}
