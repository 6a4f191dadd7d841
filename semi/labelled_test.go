package semi

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
)

func TestGatherAndScatter(t *testing.T) {
	at := Labelled([]int32{4, -1, 0, -1, 7})
	require.Equal(t, []int{0, 2, 4}, at)
	rows := []float32{0, 1, 10, 11, 20, 21, 30, 31, 40, 41}
	own := make([]float32, 6)
	Gather(own, rows, at, 2)
	require.Equal(t, []float32{0, 1, 20, 21, 40, 41}, own)
	Scatter(rows, own, at, 2)
	require.Equal(t, []float32{0, 2, 10, 11, 40, 42, 30, 31, 80, 82}, rows)
}

// The anchors of shard i are the same fraction of the labelled rows as of all rows.
func TestShardsOwnTheSamePartOfTheLabelledRows(t *testing.T) {
	const shards = 4
	s, err := sampler.NewSemi(sampler.Config{Shards: shards, Classes: 8, Images: 2}, sized(3, 3, 3, 3, 3, 3, 3, 3), []int{90, 91, 92, 93, 94}, 4)
	require.NoError(t, err)
	labels := make([]int32, s.Rows())
	for i, it := range s.Batch(2) {
		labels[i] = int32(it.Class)
	}
	at := Labelled(labels)
	for shard := range shards {
		lo, hi := s.Owned(run.Shards{First: run.Shard(shard), Count: 1})
		for _, row := range at[len(at)*shard/shards : len(at)*(shard+1)/shards] {
			require.True(t, lo <= row && row < hi)
		}
	}
}
