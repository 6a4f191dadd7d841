package retrieval

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// points makes one-dimensional rows, as the recorded cases have them.
func points(labels []int32, x ...float32) Rows {
	rows := Rows{X: x, Dim: 1, Labels: labels}
	for i := range x {
		rows.IDs = append(rows.IDs, int64(i))
	}
	return rows
}

// The small cases, worked out by hand. Points 0 1 2.2 3.1 4.6 5 9 of classes 0 0 1 0 1 1 2:
// first matches at ranks 1 1 4 4 1 1 and none.
func TestMetricsByHand(t *testing.T) {
	set := points([]int32{0, 0, 1, 0, 1, 1, 2}, 0, 1, 2.2, 3.1, 4.6, 5, 9)
	got, err := Measure(context.Background(), set, set, Options{Distance: Euclidean, Recall: []int{4, 1, 2, 1}})
	require.NoError(t, err)
	require.Equal(t, 6, got.Queries)
	require.Equal(t, 1, got.Skipped)
	require.Equal(t, []RecallAt{{1, 4.0 / 6}, {2, 4.0 / 6}, {4, 1}}, got.Recall)
	require.InDelta(t, (1+1+0.25+0.25+1+1)/6, got.ReciprocalRank, 1e-12)
	require.InDelta(t, (0.5+0.5+0+0+0.5+0.5)/6, got.MAPAtR, 1e-12)
	require.InDelta(t, 1.0/3, got.RPrecision, 1e-12)

	r, ok := got.RecallAt(2)
	require.True(t, ok)
	require.Equal(t, 4.0/6, r)
	_, ok = got.RecallAt(3)
	require.False(t, ok)
	require.Equal(t, "     R@1     R@2     R@4   MAP@R      RP", got.Header())
	require.Equal(t, "   66.67   66.67  100.00   33.33   33.33", got.Row())
}

// goldenMetrics are the values recorded from pytorch-metric-learning whose definition we share:
// precision_at_1 is Recall@1, and its reciprocal rank over the whole gallery is ours.
// (mean_average_precision, over more than R ranks, has no counterpart here.)
type goldenMetrics struct {
	Name          string
	X             [][1]float32
	Labels        []int32
	Query         [][1]float32
	QueryLabels   []int32 `json:"query_labels"`
	Gallery       [][1]float32
	GalleryLabels []int32 `json:"gallery_labels"`
	Result        map[string]float64
}

func TestMetricsAgreeWithRecordedOnes(t *testing.T) {
	shared := os.Getenv("METRIX_SHARED")
	if shared == "" {
		t.Skip("METRIX_SHARED is not set: the recorded values of pytorch-metric-learning are not here")
	}
	src, err := os.ReadFile(filepath.Join(shared, "golden", "pml_losses_metrics.json"))
	require.NoError(t, err)
	var golden struct{ Metrics []goldenMetrics }
	require.NoError(t, json.Unmarshal(src, &golden))
	flat := func(rows [][1]float32) (x []float32) {
		for _, r := range rows {
			x = append(x, r[0])
		}
		return x
	}
	checked := 0
	for _, c := range golden.Metrics {
		var queries, gallery Rows
		switch {
		case c.X != nil:
			queries = points(c.Labels, flat(c.X)...)
			gallery = queries
		case c.Query != nil:
			queries, gallery = points(c.QueryLabels, flat(c.Query)...), points(c.GalleryLabels, flat(c.Gallery)...)
			queries.IDs, gallery.IDs = nil, nil
		default: // the same set searched to a smaller depth, which ours has no notion of
			continue
		}
		got, err := Measure(context.Background(), queries, gallery, Options{Distance: Euclidean, Recall: []int{1}})
		require.NoError(t, err)
		require.InDelta(t, c.Result["precision_at_1"], got.Recall[0].Value, 1e-7, c.Name)
		require.InDelta(t, c.Result["mean_average_precision_at_r"], got.MAPAtR, 1e-7, c.Name)
		require.InDelta(t, c.Result["r_precision"], got.RPrecision, 1e-7, c.Name)
		require.InDelta(t, c.Result["mean_reciprocal_rank"], got.ReciprocalRank, 1e-7, c.Name)
		checked++
	}
	require.Equal(t, 2, checked)
}

// Queries 0 5 7 of classes 0 1 9 in the gallery 0.4 0.1 4 5.5 6 of classes 0 1 1 0 1, by hand: the
// first finds its class at ranks 2 and 4, the second at 2, 3 and 5 (4 and 6 tie: index 2 before 4),
// and class 9 is absent.
func TestQueryAndGalleryByHand(t *testing.T) {
	queries := Rows{X: []float32{0, 5, 7}, Dim: 1, Labels: []int32{0, 1, 9}}
	gallery := Rows{X: []float32{0.4, 0.1, 4, 5.5, 6}, Dim: 1, Labels: []int32{0, 1, 1, 0, 1}}
	got := evaluate(t, queries, gallery, Options{Distance: Euclidean})
	require.Equal(t, []Result{
		{FirstHit: 2, AP: 0.25, RPrecision: 0.5, Valid: true},
		{FirstHit: 2, AP: float32((1.0/2 + 2.0/3) / 3), RPrecision: float32(2.0 / 3), Valid: true},
		{},
	}, got)
}

func TestMetricsJSON(t *testing.T) {
	m := Metrics{Recall: []RecallAt{{1, 0.5}, {10, 0.75}}, MAPAtR: 0.25, RPrecision: 0.375, ReciprocalRank: 0.625,
		Queries: 8, Skipped: 1}
	src, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"recall":[{"k":1,"value":0.5},{"k":10,"value":0.75}],"map_at_r":0.25,
		"r_precision":0.375,"mean_reciprocal_rank":0.625,"queries":8,"skipped":1}`, string(src))
	var back Metrics
	require.NoError(t, json.Unmarshal(src, &back))
	require.Equal(t, m, back)
}

func TestSummarizeNothing(t *testing.T) {
	require.Equal(t, Metrics{Recall: []RecallAt{{1, 0}}, Skipped: 2}, Summarize(make([]Result, 2), []int{1}))
}

func TestEncodedResultsComeBack(t *testing.T) {
	results := []Result{
		{FirstHit: 1, AP: 1, RPrecision: 1, Valid: true}, {},
		{FirstHit: math.MaxInt32, AP: 0.1, RPrecision: 1e-9, Valid: true},
		{FirstHit: 16_777_217, Valid: true}, {FirstHit: 65_536, Valid: true},
	}
	back, err := Decode(Encode(results))
	require.NoError(t, err)
	require.Equal(t, results, back)
	for _, bad := range [][]float32{
		{1, 2, 3}, {-1, 0, 0, 0}, {0, 0.5, 0, 0}, {0, 65536, 0, 0}, {65535, 0, 0, 0}, {float32(math.NaN()), 1, 0, 0},
	} {
		_, err := Decode(bad)
		require.Error(t, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint32(0x3f800000), uint32(0), uint32(0x3f000000), uint32(0x3f800000), 4)
	f.Add(uint32(0x7fc00000), uint32(0xff800000), uint32(1), uint32(0x80000000), 7)
	f.Fuzz(func(t *testing.T, a, b, c, d uint32, n int) {
		x := make([]float32, max(0, n%16))
		for i := range x {
			x[i] = math.Float32frombits([]uint32{a, b, c, d}[i%4])
		}
		results, err := Decode(x)
		if err != nil {
			return
		}
		require.Len(t, results, len(x)/EncodedWidth)
		for _, r := range results {
			require.Equal(t, r.Valid, r.FirstHit > 0)
		}
	})
}
