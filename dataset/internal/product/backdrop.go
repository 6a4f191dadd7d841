package product

import "math"

// backdrop paints what is behind the product: a plain or graded wall, a patterned one, a table
// before a wall, and on top of it, often, clutter.
func (s *scene) backdrop() {
	a, b := s.anyColor(), s.anyColor()
	full := []path{polygon(0, 0, s.unit, 0, s.unit, s.unit, 0, s.unit)}
	sin, cos := math.Sincos(s.r.Range(0, 2*math.Pi))
	graded := func(x, y float64) rgb {
		t := 0.5 + ((x/s.unit-0.5)*cos+(y/s.unit-0.5)*sin)*0.7
		return a.mix(b, float32(t))
	}
	s.canvas.fill(full, 1, graded)
	switch kind := s.r.Float64(); {
	case kind < 0.3: // studio
		white := rgb{1, 1, 1}.times(float32(s.r.Range(0.8, 1)))
		s.canvas.fill(full, float32(s.r.Range(0.7, 1)), func(x, y float64) rgb { return white })
		return
	case kind < 0.5:
		return
	case kind < 0.65: // wallpaper
		all := patterns()
		paper := skin{pattern: all[s.r.IntN(len(all))], frequency: s.r.Range(2, 7), angle: s.r.Range(0, math.Pi)}
		soft := float32(s.r.Range(0.2, 0.7))
		s.canvas.fill(full, 1, func(x, y float64) rgb {
			return a.mix(b, soft*paper.at(point{x / s.unit, y / s.unit}))
		})
	default: // table
		edge := s.unit * s.r.Range(0.45, 0.85)
		top := s.anyColor()
		s.canvas.fill([]path{polygon(0, edge, s.unit, edge+s.unit*s.r.Range(-0.1, 0.1), s.unit, s.unit, 0, s.unit)}, 1,
			func(x, y float64) rgb { return top.times(float32(0.8 + 0.3*y/s.unit)) })
	}
	if s.chance(0.75) {
		s.clutter(4 + s.r.IntN(9))
	}
}

// clutter strews shapes.
func (s *scene) clutter(n int) {
	for range n {
		c := s.anyColor()
		s.canvas.fill([]path{s.anyShape(s.r.Range(0, s.unit), s.r.Range(0, s.unit), s.unit*s.r.Range(0.04, 0.22))},
			float32(s.r.Range(0.5, 1)), func(x, y float64) rgb { return c })
	}
}

// occlude puts, sometimes, a thing in front of the picture's edge.
func (s *scene) occlude() {
	if !s.chance(0.2) {
		return
	}
	c := s.anyColor()
	sin, cos := math.Sincos(s.r.Range(0, 2*math.Pi))
	x, y := s.unit*(0.5+0.5*cos), s.unit*(0.5+0.5*sin)
	s.canvas.fill([]path{s.anyShape(x, y, s.unit*s.r.Range(0.1, 0.22))}, 1, func(x, y float64) rgb { return c })
}

func (s *scene) anyColor() rgb {
	return ink{s.r.Float64(), s.r.Range(0, 0.8), s.r.Range(0.2, 1)}.rgb(0, 1)
}

// anyShape is a blob, a box, a star or a bar around (x, y), pixels.
func (s *scene) anyShape(x, y, size float64) path {
	switch s.r.IntN(4) {
	case 0:
		return ellipse(x, y, size, size*s.r.Range(0.4, 1))
	case 1:
		return star(2+s.r.IntN(4), x, y, size, size, s.r.Range(0, math.Pi))
	case 2:
		return star(3+s.r.IntN(5), x, y, size, size*s.r.Range(0.3, 0.7), s.r.Range(0, math.Pi))
	default:
		sin, cos := math.Sincos(s.r.Range(0, math.Pi))
		return line(x-cos*size*2, y-sin*size*2, x+cos*size*2, y+sin*size*2, size*s.r.Range(0.3, 0.7))
	}
}
