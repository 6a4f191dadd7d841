package dataset

import random "github.com/metrixml/metrix/internal/draw"

// jitter changes brightness, contrast and saturation of planes of 0..1, in this order, each by its
// own factor of [1-Color, 1+Color]: a blend with black, with the mean gray, with each pixel's gray.
// Values are clamped to 0..1 after each. Products are rounded by themselves (the conversions forbid
// fused operations), so that every machine computes the same bits.
func (t *Transform) jitter(dst []float32, r *random.Rand) {
	factor := func() float32 { return float32(r.Range(1-t.Color, 1+t.Color)) }
	brightness, contrast, saturation := factor(), factor(), factor()
	plane := t.Size * t.Size
	red, green, blue := dst[:plane], dst[plane:2*plane], dst[2*plane:3*plane]
	var sum float64
	for i := range red {
		red[i] = clamp(red[i] * brightness)
		green[i] = clamp(green[i] * brightness)
		blue[i] = clamp(blue[i] * brightness)
		sum += float64(luma(red[i], green[i], blue[i]))
	}
	offset := float32(sum/float64(plane)) * (1 - contrast)
	for i := range red {
		r := clamp(float32(red[i]*contrast) + offset)
		g := clamp(float32(green[i]*contrast) + offset)
		b := clamp(float32(blue[i]*contrast) + offset)
		gray := luma(r, g, b) * (1 - saturation)
		red[i] = clamp(float32(r*saturation) + gray)
		green[i] = clamp(float32(g*saturation) + gray)
		blue[i] = clamp(float32(b*saturation) + gray)
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
