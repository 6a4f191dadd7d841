package product

import "math"

// pattern says how much of the second ink is at (u, v), 0 or 1; a period is one unit.
type pattern func(u, v float64) float64

// patterns are what a surface can carry. The order is part of what a seed means.
func patterns() []pattern {
	return []pattern{
		func(u, v float64) float64 { return step(wave(u)) },           // stripes
		func(u, v float64) float64 { return step(wave(v) + 0.35) },    // thin rings
		func(u, v float64) float64 { return step(wave(u) * wave(v)) }, // checks
		dots, // dots
		func(u, v float64) float64 { return step(wave(v + tri(u))) },      // zigzag
		func(u, v float64) float64 { return step(wave(v + 0.3*wave(u))) }, // waves
		func(u, v float64) float64 { return step(0.5 - tri(u) - tri(v)) }, // diamonds
		bricks,
		func(u, v float64) float64 { return step(wave(math.Hypot(u, v))) },      // targets
		func(u, v float64) float64 { return step(u) },                           // two halves
		func(u, v float64) float64 { return step(max(wave(u), wave(v)) - 0.8) }, // grid
		scales,
	}
}

func step(x float64) float64 {
	if x > 0 {
		return 1
	}
	return 0
}

func wave(x float64) float64 { return math.Sin(2 * math.Pi * x) }

// tri is a triangle wave between 0 and 1/2.
func tri(x float64) float64 { return math.Abs(x - math.Round(x)) }

func dots(u, v float64) float64 {
	if int(math.Floor(v))%2 != 0 {
		u += 0.5
	}
	return step(0.3 - math.Hypot(u-math.Floor(u)-0.5, v-math.Floor(v)-0.5))
}

func bricks(u, v float64) float64 {
	v *= 1.6
	if int(math.Floor(v))%2 != 0 {
		u += 0.5
	}
	return step(max(0.1-tri(u), 0.12-tri(v)))
}

func scales(u, v float64) float64 {
	if int(math.Floor(2*v))%2 != 0 {
		u += 0.5
	}
	x, y := u-math.Floor(u)-0.5, v*2-math.Floor(v*2)
	return step(math.Abs(math.Hypot(x, y)-0.45) - 0.13)
}

// skin is how a part's surface looks.
type skin struct {
	base, second int     // inks of the product
	pattern      pattern // nil: plain
	frequency    float64 // periods per product unit
	angle, phase float64
	round        float64 // 0 flat .. 1 shaded like a cylinder
}

// at returns the share of the second ink at q.
func (s *skin) at(q point) float32 {
	if s.pattern == nil {
		return 0
	}
	sin, cos := math.Sincos(s.angle)
	u := (q.x*cos + q.y*sin) * s.frequency
	v := (-q.x*sin + q.y*cos) * s.frequency
	return float32(s.pattern(u+s.phase, v+s.phase))
}
