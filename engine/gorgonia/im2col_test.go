package gorgonia

import (
	"fmt"
	"testing"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	"github.com/stretchr/testify/require"
)

// columns agrees with its definition for every small geometry, and image is its transpose.
func TestColumns(t *testing.T) {
	r := draw.Of(6, draw.Test)
	for _, in := range []model.Shape{{C: 2, H: 5, W: 7}, {C: 1, H: 1, W: 1}, {C: 1, H: 2, W: 9}} {
		for kernel := 1; kernel <= 5; kernel++ {
			for stride := 1; stride <= 4; stride++ {
				for pad := range kernel {
					if in.H+2*pad < kernel || in.W+2*pad < kernel {
						continue
					}
					l := &model.Conv{Out: 1, Kernel: kernel, Stride: stride, Pad: pad}
					w := window{in: in, out: l.Output(in), kernel: kernel, stride: stride, pad: pad}
					name := fmt.Sprintf("%v, kernel %d, stride %d, padding %d", in, kernel, stride, pad)
					checkColumns(t, r, w, name)
				}
			}
		}
	}
}

func checkColumns(t *testing.T, r *draw.Rand, w window, name string) {
	x, c := noise(r, w.in.Size()), noise(r, w.depth()*w.area())
	got := noise(r, len(c)) // must be overwritten
	w.columns(got, x)
	want := make([]float32, len(c))
	for i := range want {
		tap, at := i/w.area(), i%w.area()
		channel, ky, kx := tap/w.kernel/w.kernel, tap/w.kernel%w.kernel, tap%w.kernel
		y, xx := at/w.out.W*w.stride-w.pad+ky, at%w.out.W*w.stride-w.pad+kx
		if y >= 0 && y < w.in.H && xx >= 0 && xx < w.in.W {
			want[i] = x[(channel*w.in.H+y)*w.in.W+xx]
		}
	}
	require.Equal(t, want, got, name)

	back := noise(r, len(x))
	w.image(back, c)
	require.InDelta(t, inner(got, c), inner(x, back), 1e-3, name) // <columns(x), c> = <x, image(c)>
}

func inner(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
