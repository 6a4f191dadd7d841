package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// operator is count random pairs of rows.
func operator(count, rows int) metrix.Operator {
	r := draw.Of(5, draw.Test)
	var o metrix.Operator
	for range count {
		o = append(o, metrix.Pair{I: int32(r.IntN(rows)), J: int32(r.IntN(rows)), Lambda: float32(r.Range(0, 1))})
	}
	return o
}

func TestMixesHaveTheBitsOfTheOperator(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		const rows, count = 9, 20
		for _, width := range []int{7, 64} {
			o := operator(count, rows)
			x, xs := a.put(c, noise(1, rows*width))
			var pairs []int32
			var lambda []float32
			for _, p := range o {
				pairs, lambda = append(pairs, p.I, p.J), append(lambda, p.Lambda)
			}
			dst, want := a.room(c, count*width), make([]float32, count*width)
			c.launch(a.name("mix"), kernels.Each(int64(count*width)), dst, x, upload(c, pairs), upload(c, lambda), int32(count), int32(width))
			o.Apply(want, xs, width)
			_, want = a.put(c, want)
			require.Equal(t, want, a.get(c, dst))

			dy, dys := a.put(c, noise(2, count*width))
			sum := noise(3, rows*width)
			to := upload(c, sum)
			starts, from, share := kernels.Transpose(pairs, lambda, rows)
			c.launch(a.name("mix_transpose"), kernels.Each(int64(rows*width)), to, dy, upload(c, starts), upload(c, from), upload(c, share), int32(rows), int32(width))
			o.Transpose(sum, dys, width)
			require.Equal(t, sum, download[float32](c, to))
		}
	})
}

func TestRowsAreGatheredAndScattered(t *testing.T) {
	c := open(t)
	const n, d = 6, 5
	x, index := noise(1, 10*d), []int32{7, 0, 9, 3, 1, 8}
	dst := room[float32](c, n*d)
	c.launch("gather_rows", kernels.Each(n*d), dst, upload(c, x), upload(c, index), int32(n), int32(d))
	got := download[float32](c, dst)
	sum := upload(c, x)
	c.launch("scatter_add_rows", kernels.Each(n*d), sum, dst, upload(c, index), int32(n), int32(d))
	twice := download[float32](c, sum)
	for i, at := range index {
		require.Equal(t, x[int(at)*d:int(at+1)*d], got[i*d:(i+1)*d])
		for k := range d {
			require.Equal(t, 2*x[int(at)*d+k], twice[int(at)*d+k])
		}
	}
	require.Equal(t, x[2*d:3*d], twice[2*d:3*d])
}
