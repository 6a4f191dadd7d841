package worker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/run"
)

// The memory holds the last rows that were trained on, whatever its size is to the batch's.
func TestMemoryHoldsTheLastRows(t *testing.T) {
	const batch, dim = 6, 2
	for _, size := range []int{1, 4, 6, 7, 15, 100} {
		m := newMemory(size, dim, batch, 2)
		var all []int32 // row i of the run is (i, -i), of class 70000 + i
		for step := range run.Step(9) {
			rows, labels := m.read(step)
			if step < 2 {
				require.Empty(t, labels, "nothing before start")
			} else {
				require.Len(t, rows, len(labels)*dim)
				require.ElementsMatch(t, all[max(0, len(all)-size):], labels, "size %d, step %d", size, step)
			}
			for i, label := range labels {
				at := float32(label - 70000)
				require.Equal(t, []float32{at, -at}, rows[i*dim:(i+1)*dim])
			}
			var x []float32
			var y []int32
			for range batch {
				at := int32(len(all))
				x, y = append(x, float32(at), -float32(at)), append(y, 70000+at)
				all = append(all, 70000+at)
			}
			m.enqueue(step, x, y)
		}
	}
}

// Memories smaller and larger than the batch of 24 rows, and no multiple of it, have the same bits on any
// number of workers: as candidates and, mixed, as partners.
func TestMemoryOfAnySizeOnAnyNumberOfWorkers(t *testing.T) {
	for _, size := range []int{10, 61, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := parse(t, fmt.Sprintf("memory.size=%d", size), "mix.memory=yes", "train.steps=8")
			want, wantResult := trainWith(t, r, 1)
			without, _ := trainWith(t, parse(t, "train.steps=8"), 1)
			require.NotEqual(t, losses(without)[1], losses(want)[1], "it counts")
			unmixed, _ := trainWith(t, parse(t, fmt.Sprintf("memory.size=%d", size), "train.steps=8"), 1)
			require.NotEqual(t, losses(unmixed)[1], losses(want)[1], "mixing with it counts")
			for _, w := range []int{2, 3, 4} {
				got, gotResult := trainWith(t, r, w)
				requireSameRun(t, want, got, wantResult, gotResult)
			}
		})
	}
}
