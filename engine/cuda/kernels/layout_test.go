package kernels_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/engine/cuda/kernels"
	"github.com/metrixml/metrix/internal/draw"
)

func TestImagesArePaddedAndBack(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		const n, channels, area = 3, 3, 35
		for _, padded := range []int{3, 4, 8} {
			x, want := a.put(c, noise(1, n*channels*area))
			_ = x
			y := a.room(c, n*area*padded)
			c.launch(a.name("pack_image"), kernels.Each(n*area), y, upload(c, want), int32(channels), int32(area), int32(padded), int32(n))
			plain := toNHWC(want, channels, n)
			for i, v := range a.get(c, y) {
				if k := i % padded; k < channels {
					require.Equal(t, plain[i/padded*channels+k], v)
				} else {
					require.Zero(t, v)
				}
			}
			back := room[float32](c, n*channels*area)
			c.launch(a.name("unpack_image"), kernels.Each(n*area), back, y, int32(channels), int32(area), int32(padded), int32(n))
			require.Equal(t, want, download[float32](c, back))
		}
	})
}

func TestFeatureMapsChangeLayoutAndBack(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		for _, k := range []struct{ n, c, area int }{{2, 64, 49}, {3, 5, 1}, {1, 33, 70}} {
			_, want := a.put(c, noise(1, k.n*k.c*k.area))
			y, back := a.room(c, len(want)), room[float32](c, len(want))
			g := kernels.Tiles(k.area, k.c, k.n)
			c.launch(a.name("pack"), g, y, upload(c, want), int32(k.c), int32(k.area))
			require.Equal(t, toNHWC(want, k.c, k.n), a.get(c, y))
			c.launch(a.name("unpack"), g, back, y, int32(k.c), int32(k.area))
			require.Equal(t, want, download[float32](c, back))
		}
	})
}

// Bytes have the bits that package dataset gives to floats, each of the 256 in each channel.
func TestCropsAreCutMirroredAndNormalised(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		const n, size, height, width, padded = 4, 16, 19, 21, 4
		tr := dataset.DefaultTransform()
		tr.Size = size
		crops := []int32{0, 0, 0, 0, 3, 5, 1, 0, 2, 1, 1, 0, 1, 4, 0, 0} // top, left, mirrored, unused
		norm := kernels.Normalisation{Mean: tr.Mean, Scale: [3]float32{1 / tr.Std[0], 1 / tr.Std[1], 1 / tr.Std[2]}}
		pixels, r := make([]byte, n*height*width*3), draw.Of(1, draw.Test)
		for i := range pixels {
			pixels[i] = byte(r.IntN(256))
		}
		var want []float32
		for i := range n {
			cut, plain := make([]byte, 0, 3*size*size), make([]float32, 3*size*size)
			for row := range size {
				at := 3 * ((i*height+int(crops[4*i])+row)*width + int(crops[4*i+1]))
				if i == 0 { // all bytes
					for x := range 3 * size {
						pixels[at+x] = byte(row*size + x/3)
					}
				}
				cut = append(cut, pixels[at:at+3*size]...)
			}
			tr.Floats(plain, cut, crops[4*i+2] == 1)
			want = append(want, toNHWC(plain, 3, 1)...)
		}
		_, want = a.put(c, want)
		y := a.room(c, n*size*size*padded)
		c.launch(a.name("crop"), kernels.Each(n*size*size), y, upload(c, pixels), upload(c, crops), norm,
			int32(height), int32(width), int32(size), int32(size), int32(padded), int32(n))
		for i, v := range a.get(c, y) {
			if k := i % padded; k < 3 {
				require.Equal(t, want[3*(i/padded)+k], v, "pixel %d, channel %d", i/padded, k)
			} else {
				require.Zero(t, v)
			}
		}
	})
}

func TestWeightsOfANetworkAreConvertedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		shapes := []struct{ k, c, taps, padded int }{{8, 3, 49, 4}, {16, 8, 9, 8}, {1, 0, 1, 5}, {4, 16, 1, 16}}
		var table []int64
		src, dst := int64(7), int64(0)
		for _, s := range shapes {
			table = append(table, dst, src, int64(s.k), int64(s.c), int64(s.taps), int64(s.padded))
			src += int64(s.k*s.c*s.taps) + 3
			dst += int64(s.k * s.taps * s.padded)
		}
		_, params := a.put(c, noise(1, int(src)))
		y := a.room(c, int(dst))
		c.launch(a.name("weights"), kernels.Each(dst), y, upload(c, params), upload(c, table), int32(len(shapes)), dst)
		got := a.get(c, y)
		for i, s := range shapes {
			at, from := int(table[6*i]), int(table[6*i+1])
			krsc, oihw := got[at:at+s.k*s.taps*s.padded], params[from:from+s.k*s.c*s.taps]
			for k := range s.k {
				for tap := range s.taps {
					for ch := range s.padded {
						v := krsc[(k*s.taps+tap)*s.padded+ch]
						if ch >= s.c {
							require.Zero(t, v)
							continue
						}
						require.Equal(t, oihw[(k*s.c+ch)*s.taps+tap], v)
					}
				}
			}
			if s.c == 0 {
				continue
			}
			grads := noise(uint64(i+2), len(oihw))
			sum := upload(c, grads)
			part, _ := a.put(c, krsc)
			c.launch(a.name("weights_gradient"), kernels.Each(int64(len(oihw))), sum, part, int32(s.k), int32(s.c), int32(s.taps), int32(s.padded))
			for j, v := range download[float32](c, sum) {
				require.Equal(t, grads[j]+oihw[j], v)
			}
		}
	})
}

// A folded convolution is the weights times the norm's factor, and what finishes it is what the norm adds.
func TestNormsFoldIntoConvolutions(t *testing.T) {
	each(t, func(t *testing.T, c *card, a activations) {
		const k, channels, taps, padded, rows, eps = 6, 3, 4, 8, 5, 1e-5
		w, bias, gamma, beta, mean := noise(1, k*channels*taps), noise(2, k), noise(3, k), noise(4, k), noise(5, k)
		variance := noise(6, k)
		for i, v := range variance {
			variance[i] = v*v + 0.1
		}
		for _, biased := range []bool{true, false} {
			dst, offset, convBias := a.room(c, k*taps*padded), a.room(c, k), buffer{}
			if biased {
				convBias = upload(c, bias)
			}
			c.launch(a.name("fold"), kernels.Each(k*taps*padded), dst, offset, upload(c, w), convBias, upload(c, gamma), upload(c, beta),
				upload(c, mean), upload(c, variance), float32(eps), int32(k), int32(channels), int32(taps), int32(padded))
			wantW, wantOffset := make([]float32, k*taps*padded), make([]float32, k)
			for o := range k {
				factor := float64(gamma[o]) / math.Sqrt(float64(variance[o])+eps)
				shift := -float64(mean[o])
				if biased {
					shift += float64(bias[o])
				}
				wantOffset[o] = float32(float64(beta[o]) + shift*factor)
				for tap := range taps {
					for ch := range channels {
						wantW[(o*taps+tap)*padded+ch] = float32(float64(w[(o*channels+ch)*taps+tap]) * factor)
					}
				}
			}
			nearly(t, wantW, a.get(c, dst), a.tolerance, "weights")
			nearly(t, wantOffset, a.get(c, offset), a.tolerance, "offsets")
		}
		offset, add := a.put(c, beta)
		residual, other := a.put(c, noise(7, rows*k))
		for _, relu := range []bool{true, false} {
			for _, joined := range []bool{true, false} {
				y, x := a.put(c, noise(8, rows*k))
				want, from := make([]float32, rows*k), buffer{}
				if joined {
					from = residual
				}
				for i := range want {
					want[i] = x[i] + add[i%k]
					if joined {
						want[i] += other[i]
					}
					if relu {
						want[i] = max(want[i], 0)
					}
				}
				var flag int32
				if relu {
					flag = 1
				}
				c.launch(a.name("finish_convolution"), kernels.Each(rows*k), y, offset, from, int64(rows), int32(k), flag)
				nearly(t, want, a.get(c, y), a.tolerance, "finished")
			}
		}
	})
}
