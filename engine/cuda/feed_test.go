//go:build gpu

package cuda

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
)

// picture returns n images for a network whose input is 16 x 16, with crops all over them.
func picture(t *testing.T, net engine.Net, n int, seed uint64) engine.Images {
	const height, width = 20, 18
	pixels, unpin, err := net.(engine.Cropper).Pin(n * height * width * 3)
	require.NoError(t, err)
	t.Cleanup(unpin)
	img := engine.Images{
		Pixels: pixels, Height: height, Width: width,
		Mean: [3]float32{0.485, 0.456, 0.406}, Deviation: [3]float32{0.229, 0.224, 0.225},
	}
	r := draw.Of(seed, draw.Test)
	for i := range pixels {
		pixels[i] = byte(r.IntN(256))
	}
	for i := range n {
		img.Crops = append(img.Crops, engine.Crop{Top: r.IntN(5), Left: r.IntN(3), Mirrored: i%2 == 1})
	}
	return img
}

// floatsOf cuts, mirrors and normalises on the host.
func floatsOf(img engine.Images, in model.Shape) []float32 {
	var x []float32
	for i, crop := range img.Crops {
		for c := range in.C {
			for row := range in.H {
				for col := range in.W {
					if crop.Mirrored {
						col = in.W - 1 - col
					}
					at := (i*img.Height+crop.Top+row)*img.Width + crop.Left + col
					level := float32(float32(img.Pixels[3*at+c]) * (1.0 / 255))
					x = append(x, (level-img.Mean[c])*(1/img.Deviation[c]))
				}
			}
		}
	}
	return x
}

func take(t *testing.T, net engine.Net, img engine.Images) engine.Taken {
	taken, err := net.(engine.Cropper).Take(img)
	require.NoError(t, err)
	t.Cleanup(taken.Release)
	return taken
}

// Images give the bits of the floats that they stand for, in parts too, and feature maps if asked for.
func TestImages(t *testing.T) {
	for _, precision := range []Precision{F32, BF16} {
		for _, maps := range []bool{false, true} {
			e, m := available(t, Options{Precision: precision, Graphs: true}), small(t, "batch")
			const n = 3
			net, mem := opened(t, e, m)
			alone, want := opened(t, e, m)
			img, dOut := picture(t, net, 2*n, 1), noise(n*m.Dim)
			x := floatsOf(img, m.Input)
			taken := take(t, net, img)
			for part := range 2 {
				x := x[part*len(x)/2 : (part+1)*len(x)/2]
				trunk, head, err := taken.Forward(engine.Train, part*n, (part+1)*n, maps)
				require.NoError(t, err)
				if maps {
					tape, err := alone.Forward(model.Trunk, engine.Frozen, x, n)
					require.NoError(t, err)
					require.Len(t, trunk.Out(), len(tape.Out()))
					tape.Release()
					tape, err = net.Forward(model.Head, engine.Frozen, trunk.Out(), n)
					require.NoError(t, err)
					assert.Equal(t, head.Out(), tape.Out(), "the head saw these maps")
					tape.Release()
				} else {
					assert.Nil(t, trunk.Out())
				}
				out, _ := separately(t, alone, m, x, dOut, n, engine.Backward{})
				assert.Equal(t, out, head.Out())
				_, err = net.(engine.Joiner).BackwardBoth(trunk, head, dOut, engine.Backward{})
				require.NoError(t, err)
				assert.Equal(t, want.Grads, mem.Grads)
				assert.Equal(t, want.BufferSums, mem.BufferSums)
			}
		}
	}
}

// Images come in while others are computed with, from another goroutine, and a place takes the next ones
// only when its own have been read.
func TestImagesTakeTurns(t *testing.T) {
	t.Setenv("METRIX_EMULATOR_ORDER", "late") // what is not waited for is not there
	e, m := available(t, Options{Graphs: true}), small(t, "group")
	const n, batches = 2, 6
	net, mem := opened(t, e, m)
	alone, want := opened(t, e, m)
	dOut := noise(n * m.Dim)
	images := []engine.Images{picture(t, net, n, 1), picture(t, net, n, 2), picture(t, net, n, 3)}
	kept := map[*byte][]byte{}
	for _, img := range images {
		kept[&img.Pixels[0]] = append([]byte(nil), img.Pixels...)
	}
	taken := take(t, net, images[0])
	for i := range batches {
		img, next := images[i%3], images[(i+1)%3]
		copy(img.Pixels, kept[&img.Pixels[0]])
		copy(next.Pixels, kept[&next.Pixels[0]])
		trunk, head, err := taken.Forward(engine.Train, 0, n, false)
		require.NoError(t, err)
		out, _ := separately(t, alone, m, floatsOf(img, m.Input), dOut, n, engine.Backward{})
		assert.Equal(t, out, head.Out(), "batch %d", i)
		var after engine.Taken
		coming := make(chan error)
		_, err = net.(engine.Joiner).BackwardBoth(trunk, head, dOut, engine.Backward{Ready: func(lo, _ int) {
			if lo != 0 {
				return
			}
			go func() {
				var err error
				after, err = net.(engine.Cropper).Take(next)
				coming <- err
			}()
			assert.NoError(t, <-coming)
		}})
		require.NoError(t, err)
		assert.Equal(t, want.Grads, mem.Grads, "batch %d", i)
		taken.Release()
		clear(img.Pixels) // nobody reads them any more
		taken = after
	}
	taken.Release()
	taken.Release()
	_, _, err := taken.Forward(engine.Train, 0, n, false)
	assert.ErrorContains(t, err, "they have been released")
}

// Take does not wait: what is written to the pixels before their place is given back is seen, or not.
func TestTakeDoesNotWait(t *testing.T) {
	if !emulated() {
		t.Skip("whether the card has read the pixels already is known on the emulator alone")
	}
	t.Setenv("METRIX_EMULATOR_ORDER", "late")
	e, m := available(t, Options{}), small(t, "group")
	net, _ := opened(t, e, m)
	img := picture(t, net, 1, 1)
	forward := func(taken engine.Taken) []float32 {
		trunk, head, err := taken.Forward(engine.Frozen, 0, 1, false)
		require.NoError(t, err)
		defer trunk.Release()
		defer head.Release()
		return append([]float32(nil), head.Out()...)
	}
	first := take(t, net, img)
	before := forward(first)
	second := take(t, net, img)
	clear(img.Pixels)
	assert.NotEqual(t, before, forward(second))
	assert.Equal(t, before, forward(first), "the other place")
}

func TestImagesMustFit(t *testing.T) {
	e, m := available(t, Options{}), small(t, "batch")
	plain, _ := opened(t, e, m)
	net := plain.(engine.Cropper)
	good := func() engine.Images {
		return engine.Images{Pixels: make([]byte, 20*18*3), Height: 20, Width: 18, Crops: []engine.Crop{{}}, Deviation: [3]float32{1, 1, 1}}
	}
	for want, spoil := range map[string]func(*engine.Images){
		"do not make 1 images of 20 x 18 pixels": func(i *engine.Images) { i.Pixels = i.Pixels[1:] },
		"do not make 0 images":                   func(i *engine.Images) { i.Crops = nil },
		"leaves its 20 x 18 pixels":              func(i *engine.Images) { i.Crops[0].Left = 3 },
		"the deviation 0 of the images":          func(i *engine.Images) { i.Deviation[1] = 0 },
	} {
		img := good()
		spoil(&img)
		_, err := net.Take(img)
		assert.ErrorContains(t, err, want)
	}
	taken := take(t, net, good())
	_, _, err := taken.Forward(engine.Frozen, 0, 2, false)
	assert.ErrorContains(t, err, "there are no images [0, 2) of 1")
	trunk, head, err := taken.Forward(engine.Frozen, 0, 1, false)
	require.NoError(t, err)
	trunk.Release()
	head.Release()
	take(t, net, good())
	_, err = net.Take(good())
	assert.ErrorContains(t, err, "all of 2 places are taken")
	taken.Release()
	take(t, net, good())
	_, _, err = net.Pin(0)
	assert.ErrorContains(t, err, "too few")
}
