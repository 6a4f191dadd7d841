package product

import "math"

// rgb is a colour, 0..1 a channel, blended as it is stored (gamma encoded, as in an image).
type rgb [3]float32

func (c rgb) mix(d rgb, t float32) rgb {
	for i := range c {
		c[i] += (d[i] - c[i]) * t
	}
	return c
}

func (c rgb) times(f float32) rgb { return rgb{c[0] * f, c[1] * f, c[2] * f} }

// ink is a colour of a product before the colourway turns its hue.
type ink struct{ hue, saturation, value float64 } // hue in turns

// rgb returns the ink with its hue turned and its saturation scaled.
func (k ink) rgb(turn, saturation float64) rgb {
	s := min(max(k.saturation*saturation, 0), 1)
	var c rgb
	for i, offset := range [3]float64{0, 1.0 / 3, 2.0 / 3} {
		h := k.hue + turn - offset
		h -= math.Round(h) // distance on the circle of hues
		full := min(max(2-6*math.Abs(h), 0), 1)
		c[i] = float32(k.value * (1 - s + s*full))
	}
	return c
}
