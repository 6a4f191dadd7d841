package dataset

import random "github.com/metrixml/metrix/internal/draw"

// tint is a change of brightness, contrast and saturation, in this order, each by its own factor: a
// blend with black, with the mean gray, with each pixel's gray. Values are clamped to 0..1 after
// each. Products are rounded by themselves (the conversions forbid fused operations), so that every
// machine computes the same bits.
type tint struct {
	brightness, contrast, saturation float32
}

// plainTint changes nothing.
var plainTint = tint{1, 1, 1}

// tint draws the factors from [1-Color, 1+Color]; nothing is drawn if Color is 0.
func (t *Transform) tint(r *random.Rand) tint {
	if t.Color <= 0 {
		return plainTint
	}
	factor := func() float32 { return float32(r.Range(1-t.Color, 1+t.Color)) }
	return tint{brightness: factor(), contrast: factor(), saturation: factor()}
}

// recolour changes contrast and saturation of planes of 0..1, whose brightness is changed already,
// and brings them to the scale of the network.
func (t *Transform) recolour(dst []float32, c tint) {
	plane := t.Size * t.Size
	red, green, blue := dst[:plane], dst[plane:][:plane], dst[2*plane:][:plane]
	var sum float64
	for i, r := range red {
		sum += float64(luma(r, green[i], blue[i]))
	}
	offset := float32(sum/float64(plane)) * (1 - c.contrast)
	m, scale := t.Mean, [3]float32{1 / t.Std[0], 1 / t.Std[1], 1 / t.Std[2]}
	for i := range red {
		r := clamp(float32(red[i]*c.contrast) + offset)
		g := clamp(float32(green[i]*c.contrast) + offset)
		b := clamp(float32(blue[i]*c.contrast) + offset)
		gray := luma(r, g, b) * (1 - c.saturation)
		red[i] = (clamp(float32(r*c.saturation)+gray) - m[0]) * scale[0]
		green[i] = (clamp(float32(g*c.saturation)+gray) - m[1]) * scale[1]
		blue[i] = (clamp(float32(b*c.saturation)+gray) - m[2]) * scale[2]
	}
}

// luma is the gray of ITU-R BT.601.
func luma(r, g, b float32) float32 { return float32(0.299*r) + float32(0.587*g) + float32(0.114*b) }

// clamp is min(max(v, 0), 1) without their care for what is no number, three times as fast.
func clamp(v float32) float32 {
	if v < 0 {
		return 0
	}
	if v > 1 {
		return 1
	}
	return v
}
