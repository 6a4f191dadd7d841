package retrieval

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func TestSearchEqualsBruteForce(t *testing.T) {
	for trial := range uint64(40) {
		r := draw.Of(trial, draw.Test, 8)
		n, dim := 1+r.IntN(90), 1+r.IntN(6)
		set := coarse(r, n, dim, 3)
		gallery := coarse(r, r.IntN(70), dim, 3)
		set.Labels, gallery.Labels = nil, nil // not needed
		k := 1 + r.IntN(100)
		lo := r.IntN(n)
		opt := Options{Threads: 3, Distance: Distance(trial % 2), galleryBlock: 1 + r.IntN(40)}
		for _, against := range []Rows{set, gallery} {
			got, err := Search(context.Background(), set, against, lo, n, k, opt)
			require.NoError(t, err)
			require.Len(t, got, n-lo)
			for i, neighbors := range got {
				want := ranked(set, against, lo+i, opt.Distance)
				want = want[:min(k, len(want))]
				require.Len(t, neighbors, len(want))
				for at := range want {
					require.Equal(t, want[at], neighbors[at], "trial %d, query %d, rank %d", trial, lo+i, at+1)
				}
			}
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	set := coarse(draw.Of(1, draw.Test), 5, 2, 2)
	_, err := Search(context.Background(), set, set, 0, 5, 0, Options{})
	require.ErrorContains(t, err, "the 0 nearest rows asked for: ask for at least 1")
	_, err = Search(context.Background(), set, set, 0, 6, 1, Options{})
	require.ErrorContains(t, err, "queries [0, 6) asked for, but there are 5")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Search(ctx, set, set, 0, 5, 1, Options{})
	require.ErrorIs(t, err, context.Canceled)
}
