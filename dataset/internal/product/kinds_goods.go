package product

import "math"

func bag(d *design) {
	top, bottom, high := d.Range(0.4, 0.8), d.Range(0.5, 0.9), d.Range(0.4, 0.8)
	w := d.Range(0.06, 0.13)
	up := d.Range(0.35, 0.9)
	span := top * d.Range(0.35, 0.85)
	for _, z := range []float64{-0.2, 0.2} {
		d.add(z, 0.03, d.plain(trim, 0), stroke(arc(0, 0.9-2*high, span, up, math.Pi, 2*math.Pi), w, w))
	}
	y := 0.9 - 2*high
	d.add(0.18, 0.36, d.printed(body, accent, 0.25), polygon(-top, y, top, y, bottom, 0.85, bottom-0.1, 0.95, -bottom+0.1, 0.95, -bottom, 0.85))
	switch d.IntN(3) {
	case 0: // flap
		d.add(0.2, 0.02, d.plain(accent, 0), polygon(-top, y, top, y, top*d.Range(0.5, 1), y+high*d.Range(0.5, 1), -top*d.Range(0.5, 1), y+high*0.8))
		d.add(0.22, 0, d.plain(trim, 0), ellipse(0, y+high*0.75, 0.1, 0.1))
	case 1: // pocket
		p := bottom * d.Range(0.4, 0.75)
		d.add(0.22, 0.04, d.plain(accent, 0), box(-p, 0.9-high*d.Range(0.7, 1), p, 0.88, d.Range(0, 0.2)))
	default: // belt
		at := d.Range(0, 0.6)
		d.add(0.2, 0, d.plain(trim, 0), line(-bottom, at, bottom, at, d.Range(0.1, 0.22)))
	}
	if d.chance(0.6) {
		d.emblem(d.Range(-0.2, 0.2), d.Range(0.2, 0.6), d.Range(0.14, 0.25), 0.24, dark)
	}
}

func clock(d *design) {
	size := d.Range(0.6, 0.85)
	sides := 3 + d.IntN(4)
	face := []path{ellipse(0, 0, size, size), box(-size, -size, size, size, d.Range(0, 0.3)),
		star(sides, 0, 0, size*1.1, size*1.1, d.Range(0, 1)), star(5+d.IntN(5), 0, 0, size*1.2, size*0.8, 0)}[d.IntN(4)]
	switch d.IntN(3) {
	case 0: // bells
		d.add(0, 0.1, d.plain(trim, 0), ellipse(-0.5, -size, 0.28, 0.25), ellipse(0.5, -size, 0.28, 0.25))
		d.add(0, 0.1, d.plain(trim, 0), line(-0.5, size*0.7, -0.7, 1.05, 0.12), line(0.5, size*0.7, 0.7, 1.05, 0.12))
	case 1: // pendulum
		d.add(-0.05, 0.05, d.plain(trim, 0), line(0, 0.4, 0, 1.25, 0.09), ellipse(0, 1.3, 0.2, 0.2))
	}
	d.add(0.1, 0.3, d.printed(body, accent, 0), face)
	in := size * d.Range(0.6, 0.8)
	d.add(0.12, 0, d.plain(accent, 0), ellipse(0, 0, in, in))
	marks := []int{3, 4, 6, 8, 12}[d.IntN(5)]
	wide, long := d.Range(0.05, 0.1), d.Range(0.1, 0.25)
	for i := range marks {
		s, c := math.Sincos(2 * math.Pi * float64(i) / float64(marks))
		d.add(0.13, 0, d.plain(dark, 0), line(s*in*0.95, c*in*0.95, s*(in*0.95-long), c*(in*0.95-long), wide))
	}
	for _, length := range []float64{0.5, 0.8} {
		s, c := math.Sincos(d.Float64() * 2 * math.Pi)
		d.add(0.15, 0, d.plain(trim, 0), stroke([]point{{0, 0}, {s * in * length, c * in * length}}, 0.1, 0.05))
	}
}

func car(d *design) {
	long, roof := d.Range(0.85, 1.1), d.Range(-0.75, -0.3)
	hood, trunk := d.Range(-0.15, 0.15), d.Range(-0.25, 0.15)
	front, back := d.Range(0.1, 0.6), d.Range(0.1, 0.9)
	wheel := d.Range(0.2, 0.36)
	fx, bx := d.Range(0.45, 0.65), d.Range(0.45, 0.7)
	tyre := func(z float64) {
		d.add(z, 0.15, d.plain(dark, 0), ellipse(fx, 0.5, wheel, wheel), ellipse(-bx, 0.5, wheel, wheel))
	}
	tyre(-0.3)
	d.add(0.3, 0.6, d.printed(body, accent, 0.1), polygon(-long, 0.5, -long, trunk, -back, trunk-0.02,
		-back*0.75, roof, front*0.4, roof, front, hood-0.02, long-0.05, hood+0.08, long, 0.5))
	d.add(0.31, 0, d.plain(trim, 0), line(-long, 0.45, long, 0.45, d.Range(0.06, 0.16)))
	panes := 1 + d.IntN(3)
	x0, x1 := -back*0.7, front*0.4
	for i := range panes {
		a := x0 + (x1-x0)*float64(i)/float64(panes)
		b := x0 + (x1-x0)*float64(i+1)/float64(panes)
		d.add(0.32, 0, d.plain(dark, 0), box(a+0.04, roof+0.08, b-0.03, min(hood, trunk)-0.04, 0.03))
	}
	tyre(0.35)
	hub := wheel * d.Range(0.4, 0.75)
	spokes := 3 + d.IntN(4)
	for _, x := range []float64{fx, -bx} {
		d.add(0.37, 0, d.plain(accent, 0), star(spokes, x, 0.5, hub, hub*d.Range(0.3, 1), 0))
	}
	switch d.IntN(4) {
	case 0:
		d.add(0.1, 0.3, d.plain(trim, 0), box(-back*0.6, roof-0.14, front*0.2, roof-0.02, 0.04))
	case 1:
		d.add(0.1, 0.3, d.plain(trim, 0), polygon(-long, trunk, -long-0.1, trunk-0.3, -long+0.2, trunk-0.25, -long+0.25, trunk))
	case 2:
		d.emblem(0, 0.15, d.Range(0.14, 0.22), 0.33, trim)
	}
}

func guitar(d *design) {
	upper, waist, lower := d.Range(0.25, 0.5), d.Range(0.18, 0.4), d.Range(0.4, 0.65)
	neck := d.Range(0.06, 0.12)
	d.add(0.05, 0.08, d.plain(trim, 0), box(-neck, -1.2, neck, 0.1, 0))
	head := d.Range(0.1, 0.22)
	d.add(0.05, 0.08, d.plain(dark, 0), polygon(-head*d.Range(0.5, 1.2), -1.5, head, -1.45, neck, -1.15, -neck, -1.15))
	for i := range 2 + d.IntN(3) {
		y := -1.45 + 0.1*float64(i)
		d.add(0.05, 0, d.plain(accent, 0), line(-head-0.08, y, head+0.08, y, 0.05))
	}
	shape := turned(point{0.05, -0.25}, point{upper, d.Range(-0.15, 0)}, point{waist, 0.3}, point{lower, 0.7},
		point{lower * 0.6, 1}, point{0.02, 1.05})
	if d.chance(0.4) { // horns
		tip := d.Range(-0.5, -0.25)
		d.add(0.08, 0.2, d.plain(body, 0), polygon(upper*0.3, 0.1, upper, tip, upper+0.05, 0.2),
			polygon(-upper*0.3, 0.1, -upper-0.05, 0.2, -upper, tip*d.Range(0.5, 1)))
	}
	d.add(0.08, 0.22, d.printed(body, accent, 0.3), shape)
	switch d.IntN(3) {
	case 0:
		d.add(0.1, 0, d.plain(dark, 0), ellipse(0, 0.25, 0.16, 0.16))
	case 1:
		for _, x := range []float64{-waist * 0.6, waist * 0.6} {
			d.add(0.1, 0, d.plain(dark, 0), line(x, 0.15, x*1.2, 0.55, 0.07))
		}
	default:
		d.add(0.1, 0, d.plain(trim, 0), box(-0.2, 0.15, 0.2, 0.27, 0), box(-0.2, 0.4, 0.2, 0.52, 0))
	}
	d.add(0.11, 0, d.plain(dark, 0), line(-0.2, 0.78, 0.2, 0.78, 0.07))
	if d.chance(0.4) {
		d.add(0.1, 0, d.plain(trim, 0), polygon(0.1, 0.3, lower*0.8, 0.5, lower*0.7, 0.8, 0.15, 0.75))
	}
}

func bottle(d *design) {
	neck, wide := d.Range(0.1, 0.22), d.Range(0.28, 0.55)
	shoulder, foot := d.Range(-0.5, 0), d.Range(0.7, 1.05)
	d.add(0.1, 0.2, d.plain(body, 0.9), turned(point{neck, -1}, point{neck, shoulder - 0.3},
		point{wide, shoulder + 0.1}, point{wide * d.Range(0.75, 1.05), 0.45}, point{wide * foot, 0.95}, point{wide * foot, 1}))
	cap := d.Range(0.12, 0.35)
	d.add(0.12, 0.2, d.plain(trim, 0.5), box(-neck-0.04, -1.02-cap*0.3, neck+0.04, -1+cap, d.Range(0, 0.08)))
	top, bottom := shoulder+d.Range(0.12, 0.3), d.Range(0.55, 0.85)
	switch d.IntN(3) {
	case 0:
		d.add(0.15, 0, d.printed(accent, trim, 0.4), box(-wide, top, wide, bottom, 0))
	case 1:
		d.add(0.15, 0, d.printed(accent, dark, 0.4), ellipse(0, (top+bottom)/2, wide*0.85, (bottom-top)/2))
	default:
		d.add(0.15, 0, d.printed(accent, trim, 0.4), polygon(0, top-0.1, wide*0.9, (top+bottom)/2, 0, bottom+0.1, -wide*0.9, (top+bottom)/2))
	}
	d.emblem(0, (top+bottom)/2, d.Range(0.15, 0.25), 0.16, dark)
	switch d.IntN(4) {
	case 0: // trigger
		d.add(0.05, 0.1, d.plain(dark, 0), polygon(-neck, -1, 0.5, -1.1, 0.5, -0.95, neck+0.1, -0.9), line(0.3, -0.95, 0.2, -0.65, 0.09))
	case 1: // handle
		d.add(0, 0.1, d.plain(body, 0), stroke(arc(wide*0.8, shoulder+0.25, 0.3, 0.35, -1.8, 1.8), 0.1, 0.1))
	}
}

func shoe(d *design) {
	shaft, toe := d.Range(-0.9, 0), d.Range(0.2, 0.45)
	sole, heel := d.Range(0.08, 0.2), d.Range(0, 0.3)
	ankle := d.Range(0, 0.25)
	for _, z := range []float64{-0.3, 0.2} { // the pair
		dx := z * 0.6
		upper := append(path{{-0.8, shaft}, {ankle - 0.1, shaft}},
			smooth([]point{{ankle, 0.05}, {0.45, toe}, {0.9, toe + 0.1}, {1.02, 0.6}})...)
		upper = append(upper, point{-0.85, 0.6})
		d.add(z, 0.2, d.plain(trim, 0), polygon(-0.9, 0.58, 1.05, 0.58, 1, 0.6+sole, -0.3, 0.6+sole,
			-0.35, 0.6+sole+heel, -0.88, 0.6+sole+heel).moved(dx, 0))
		d.add(z, 0.2, d.plain(body, 0.2), upper.moved(dx, 0))
	}
	s := d.printed(body, accent, 0.2)
	d.add(0.21, 0, s, polygon(-0.75, max(shaft, -0.2)+0.1, ankle-0.15, 0.1, 0.35, toe+0.08, 0.3, 0.55, -0.8, 0.55).moved(0.12, 0))
	if d.chance(0.5) {
		d.add(0.22, 0, d.plain(accent, 0), polygon(0.6, toe+0.1, 0.95, toe+0.15, 1, 0.56, 0.55, 0.56).moved(0.12, 0))
	}
	for i := range d.IntN(5) {
		x := ankle + 0.08*float64(i)
		y := 0.1 + (toe-0.1)*0.18*float64(i)
		d.add(0.23, 0, d.plain(dark, 0), line(x-0.15, y+0.1, x+0.15, y, 0.05).moved(0.12, 0))
	}
	if d.chance(0.6) {
		d.emblem(-0.25, d.Range(0.1, 0.3), d.Range(0.12, 0.22), 0.23, trim)
	}
	if d.chance(0.4) {
		d.add(0.23, 0, d.plain(trim, 0), line(-0.7, shaft+0.08, ankle, shaft+0.08, 0.12))
	}
}
