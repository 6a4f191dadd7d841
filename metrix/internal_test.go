package metrix

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
)

func randomMatrix(seed uint64, rows, cols int) matrix {
	m := dense(make([]float32, rows*cols), rows, cols)
	r := draw.Of(seed, draw.Test)
	for i := range m.data {
		m.data[i] = float32(r.Norm())
	}
	return m
}

// The blocked product against three loops in float64, over sizes around every block border.
func TestMultiplyMatchesThreeLoops(t *testing.T) {
	for _, size := range [][3]int{{1, 1, 1}, {3, 2, 5}, {24, 64, 512}, {25, 65, 513}, {7, 130, 1030}, {50, 3, 1}, {4, 0, 3}} {
		a, b := randomMatrix(1, size[0], size[2]), randomMatrix(2, size[1], size[2])
		got, again := randomMatrix(3, size[0], size[1]), randomMatrix(3, size[0], size[1])
		want := make([]float64, len(got.data))
		for i := range a.rows {
			for j := range b.rows {
				sum := float64(got.row(i)[j]) // the product is added
				for k := range a.cols {
					sum += float64(a.row(i)[k]) * float64(b.row(j)[k])
				}
				want[i*b.rows+j] = sum
			}
		}
		multiply(1, got, a, b)
		multiply(5, again, a, b)
		require.Equal(t, got, again, "threads changed bits")
		for i, w := range want {
			require.InDelta(t, w, got.data[i], 3e-4, "size %v, element %d", size, i)
		}
	}
}

// gram is multiply with itself, bit for bit, for any number of leading rows.
func TestGramIsMultiplyWithItself(t *testing.T) {
	x := randomMatrix(4, 77, 530)
	for _, rows := range []int{0, 1, 23, 24, 25, 60, 77} {
		want := dense(make([]float32, rows*x.rows), rows, x.rows)
		multiply(1, want, matrix{x.data, rows, x.cols, x.stride}, x)
		got := randomMatrix(5, rows, x.rows) // stale contents must not matter
		gram(3, got, x)
		require.Equal(t, want, got)
	}
}

func TestTransposeAndSymmetrize(t *testing.T) {
	x := randomMatrix(6, 70, 45)
	y := dense(make([]float32, 45*70), 45, 70)
	transpose(2, y, x)
	for i := range x.rows {
		for j := range x.cols {
			require.Equal(t, x.row(i)[j], y.row(j)[i])
		}
	}
	was := dense(append([]float32(nil), y.data...), 45, 70)
	symmetrize(y, 45)
	for i := range y.rows {
		for j := range y.cols {
			want := was.row(i)[j]
			if j < 45 {
				want += was.row(j)[i]
			}
			require.Equal(t, want, y.row(i)[j])
		}
	}
}

func TestParallelCallsEveryTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 7} {
		calls := make([]int, 50)
		parallel(threads, len(calls), func(_, i int) { calls[i]++ })
		for _, n := range calls {
			require.Equal(t, 1, n)
		}
	}
}

// Positions are a permutation sorted by class, the range's classes first, and every anchor of the
// range is listed once under its class.
func TestLayout(t *testing.T) {
	labels := []int32{3, 1, 3, 7, 1, 9, 3, 7}
	var l layout
	for _, cut := range [][2]int{{0, 8}, {3, 5}, {5, 6}, {2, 2}} {
		l.build(labels, labels, nil, cut[0], cut[1], true)
		seen := map[int]bool{}
		for pos, i := range l.order {
			require.False(t, seen[i])
			seen[i] = true
			require.Equal(t, pos, l.place[i])
		}
		anchors := map[int]bool{}
		for _, g := range l.groups {
			for _, i := range l.order[g.lo:g.hi] {
				require.Equal(t, labels[l.order[g.lo]], labels[i])
			}
			for _, a := range l.anchors[g.a0:g.a1] {
				require.Equal(t, labels[l.order[g.lo]], labels[a.index])
				require.Equal(t, a.index, l.order[a.self])
				anchors[a.index] = true
			}
		}
		require.Len(t, anchors, cut[1]-cut[0])
		require.Equal(t, 7, l.present) // the only example of class 9 has no positive
	}
}

// Kept negatives are the k greatest; among equals the one earlier in the batch.
func TestHardestBreaksTiesByIndex(t *testing.T) {
	e := evaluation{mix: Mix{Hardest: 3}}
	e.order = []int{9, 4, 7, 1, 0, 2}
	e.mixed = len(e.order)
	v := view{h: []float32{0.5, 0.5, 0.5, 0.9, 0.1, 0.5}, negatives: []span{{0, 4}, {5, 6}}}
	got := e.mixedNegatives(&scratch{}, v)
	require.Equal(t, []span{{1, 2}, {3, 4}, {5, 6}}, got) // indices 1 (0.9), 2 and 4 (0.5)
	e.mix.Hardest = 2
	require.Equal(t, []span{{3, 4}, {5, 6}}, e.mixedNegatives(&scratch{}, v))
	e.mix.Hardest = 4
	require.Equal(t, []span{{1, 4}, {5, 6}}, e.mixedNegatives(&scratch{}, v))
}
