package retrieval

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func TestMutualInformation(t *testing.T) {
	for _, c := range []struct {
		a, b []int32
		want float64
	}{
		{[]int32{0, 0, 1, 1}, []int32{7, 7, -3, -3}, 1},
		{[]int32{0, 0, 1, 1}, []int32{0, 1, 0, 1}, 0},
		{[]int32{5, 5}, []int32{6, 6}, 1},
		{[]int32{0, 0, 0}, []int32{0, 1, 2}, 0},
		// I = ln 2 / 2 * ... : joint (0,0) (0,0) (0,1) (1,1) of 4.
		{[]int32{0, 0, 0, 1}, []int32{0, 0, 1, 1}, func() float64 {
			ha := -(0.75*math.Log(0.75) + 0.25*math.Log(0.25))
			hb := math.Log(2)
			joint := -(0.5*math.Log(0.5) + 2*0.25*math.Log(0.25))
			return 2 * (ha + hb - joint) / (ha + hb)
		}()},
	} {
		got, err := MutualInformation(c.a, c.b)
		require.NoError(t, err)
		require.InDelta(t, c.want, got, 1e-12)
		back, err := MutualInformation(c.b, c.a)
		require.NoError(t, err)
		require.InDelta(t, got, back, 1e-15)
	}
	_, err := MutualInformation([]int32{1}, nil)
	require.ErrorContains(t, err, "partitions of 1 and 0 things cannot be compared")
}

func TestNMIOfSeparateAndOfMixedClasses(t *testing.T) {
	nmi := func(noise float64) float64 {
		set := smooth(draw.Of(1, draw.Test), 600, 16, 30, noise)
		got, err := NMI(context.Background(), set, 3, Options{})
		require.NoError(t, err)
		return got
	}
	tight, loose, none := nmi(0.05), nmi(0.7), nmi(50)
	require.Greater(t, tight, 0.95)
	require.Less(t, loose, tight)
	require.Less(t, none, loose)
	require.Less(t, none, 0.4, "chance: not 0, as 20 rows a class share some information with any 30 clusters")
}

func TestClustersDependOnRowsAndSeedAlone(t *testing.T) {
	set := smooth(draw.Of(2, draw.Test), 1500, 9, 40, 0.5)
	want, err := Cluster(context.Background(), set, 40, 5, Options{Threads: 1})
	require.NoError(t, err)
	for _, threads := range []int{2, 5} {
		got, err := Cluster(context.Background(), set, 40, 5, Options{Threads: threads})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	plain, err := Cluster(context.Background(), set, 40, 5, Options{kernel: dotPlain})
	require.NoError(t, err)
	require.Equal(t, want, plain)
	other, err := Cluster(context.Background(), set, 40, 6, Options{})
	require.NoError(t, err)
	require.NotEqual(t, want, other)
}

// Every row ends at its nearest centroid, and every centroid is the mean of its rows.
func TestClusterConverges(t *testing.T) {
	set := smooth(draw.Of(3, draw.Test), 300, 5, 6, 0.1)
	of, err := Cluster(context.Background(), set, 6, 1, Options{})
	require.NoError(t, err)
	means := make([][]float64, 6)
	count := make([]float64, 6)
	for c := range means {
		means[c] = make([]float64, set.Dim)
	}
	for i, c := range of {
		count[c]++
		for k, v := range set.row(i) {
			means[c][k] += float64(v)
		}
	}
	for i, c := range of {
		distance := func(c int) (d float64) {
			for k, v := range set.row(i) {
				d += math.Pow(float64(v)-means[c][k]/count[c], 2)
			}
			return d
		}
		for other := range means {
			if count[other] > 0 {
				require.LessOrEqual(t, distance(int(c)), distance(other)+1e-6)
			}
		}
	}
}

func TestClusterOfEqualRows(t *testing.T) {
	set := Rows{X: []float32{1, 1, 1, 1, 1}, Dim: 1}
	of, err := Cluster(context.Background(), set, 3, 1, Options{})
	require.NoError(t, err)
	require.Equal(t, []int32{0, 0, 0, 0, 0}, of)
}

func TestPickRowFollowsTheWeights(t *testing.T) {
	weights := make([]float64, sumBlock+3)
	weights[2], weights[sumBlock+1] = 1, 3
	sums := []float64{1, 3}
	require.Equal(t, 2, pickRow(0, weights, sums))
	require.Equal(t, 2, pickRow(0.249, weights, sums))
	require.Equal(t, sumBlock+1, pickRow(0.25, weights, sums))
	require.Equal(t, sumBlock+1, pickRow(math.Nextafter(1, 0), weights, sums))
	require.Equal(t, sumBlock+1, pickRow(1, weights, sums), "rounding may reach the total")
	require.Equal(t, 0, pickRow(0.5, make([]float64, 4), []float64{0}))
}

func TestClusterRefuses(t *testing.T) {
	set := smooth(draw.Of(4, draw.Test), 10, 3, 2, 0.5)
	_, err := Cluster(context.Background(), set, 11, 1, Options{})
	require.ErrorContains(t, err, "11 clusters of 10 rows asked for: use 1 to 10")
	_, err = NMI(context.Background(), Rows{Dim: 3}, 1, Options{})
	require.ErrorContains(t, err, "NMI of no rows")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Cluster(ctx, set, 2, 1, Options{})
	require.ErrorIs(t, err, context.Canceled)
	set.X[4] = float32(math.NaN())
	_, err = NMI(context.Background(), set, 1, Options{})
	require.ErrorContains(t, err, "clustered row 1 holds NaN at element 1")
}

func BenchmarkNMI5kx128(b *testing.B) {
	set := smooth(draw.Of(1, draw.Test), 5000, 128, 1000, 1)
	for b.Loop() {
		_, err := NMI(context.Background(), set, 1, Options{})
		require.NoError(b, err)
	}
}
