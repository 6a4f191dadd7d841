package sampler

import (
	"slices"

	"github.com/metrixml/metrix/internal/draw"
)

// deal gives every class to one shard; sizes[c] is the number of images of class c. It returns the
// classes of each shard.
//
// Classes are sorted by size, ties shuffled, and cut into rounds of S neighbours (the last, of the
// smallest, may be short). Rounds are dealt in shuffled order; within a round the largest class goes
// to the shard with the fewest images, the next to the next, ties shuffled:
//
//	images so far   4  7  7  9        spread 5
//	round           6  5  2  2        range  4
//	after          10 12  9 11        spread 3
//
// Every full round gives each shard one class, so class counts differ by at most 1. For shards i, j
// with loads a(i) <= a(j) that receive b(i) >= b(j), the new difference is |(a(j)-a(i)) - (b(i)-b(j))|,
// at most the larger of the two terms. So the spread of image counts never exceeds the widest range
// of a round (a short round counts from 0), and that is at most the size of the largest class.
//
// Shuffling the rounds matters when all sizes differ: otherwise the same classes would share a shard
// in every epoch and might never meet in a batch.
func deal(seed uint64, epoch int, sizes []int, shards int) [][]int {
	r := draw.Of(seed, draw.ShardDeal, uint64(epoch))
	order := r.Perm(len(sizes))
	slices.SortStableFunc(order, func(a, b int) int { return sizes[b] - sizes[a] })

	hands := make([][]int, shards)
	for i := range hands {
		hands[i] = make([]int, 0, ceilDiv(len(sizes), shards))
	}
	load := make([]int, shards)
	for _, round := range r.Perm(ceilDiv(len(sizes), shards)) {
		lightest := r.Perm(shards)
		slices.SortStableFunc(lightest, func(a, b int) int { return load[a] - load[b] })
		first := round * shards
		for i, class := range order[first:min(first+shards, len(order))] {
			shard := lightest[i]
			hands[shard] = append(hands[shard], class)
			load[shard] += sizes[class]
		}
	}
	return hands
}
