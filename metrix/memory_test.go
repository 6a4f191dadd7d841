package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// Memory is O(B^2) whatever P x N is: the workspace for classes of 2, 8 and 32 examples of one
// batch is the same, while the number of mixed pairs grows thirtyfold, and a warm call allocates a
// fixed handful of objects.
func TestNothingGrowsWithPairs(t *testing.T) {
	const size, dim = 128, 8
	for _, name := range []string{"contrastive", "multi_similarity", "nca"} {
		var bytes []int
		var allocs []float64
		for _, perClass := range []int{2, 8, 32} {
			b := large(size, perClass, dim)
			b.Proxies = nil
			l := loss(t, form(t, name, nil), 2)
			grad := metrix.Gradient{Embeddings: make([]float32, len(b.Embeddings))}
			mix := metrix.Mix{Weight: 0.4, Lambda: 0.3}
			allocs = append(allocs, testing.AllocsPerRun(3, func() {
				if _, err := l.Evaluate(grad, b, mix, 0, size); err != nil {
					t.Error(err)
				}
			}))
			bytes = append(bytes, l.WorkspaceBytes())
			require.Less(t, bytes[len(bytes)-1], 4*(6*size*size+5*size*dim)+2*64*size, name)
		}
		require.InDelta(t, bytes[0], bytes[2], 0.05*float64(bytes[0]), name)
		for _, n := range allocs {
			require.LessOrEqual(t, n, 60.0, name)
		}
		t.Logf("%-17s workspace %v bytes, allocations per call %v for 2, 8, 32 per class", name, bytes, allocs)
	}
}
