package product

import "math"

func vase(d *design) {
	neck, belly, foot := d.Range(0.12, 0.4), d.Range(0.4, 0.8), d.Range(0.2, 0.5)
	lip, at := d.Range(0.15, 0.55), d.Range(-0.1, 0.5)
	shape := turned(point{lip, -1}, point{neck, d.Range(-0.8, -0.4)}, point{belly, at},
		point{foot, 0.88}, point{foot, 1})
	if n := d.IntN(3); n > 0 {
		w, y := d.Range(0.06, 0.13), d.Range(-0.5, 0)
		handle := stroke(arc(belly*0.7, y, d.Range(0.25, 0.45), d.Range(0.25, 0.5), -2.2, 2.2), w, w)
		d.add(0, 0.1, d.plain(trim, 0), handle)
		if n == 2 {
			d.add(0, 0.1, d.plain(trim, 0), handle.mirrored())
		}
	}
	d.add(0.1, 0.2, d.printed(body, accent, 0.8), shape)
	for range d.IntN(3) {
		y := d.Range(-0.6, 0.9)
		d.add(0.12, 0, d.plain(trim, 0.5), line(-belly*0.6, y, belly*0.6, y, d.Range(0.05, 0.15)))
	}
}

func mug(d *design) {
	top, bottom, high := d.Range(0.45, 0.75), d.Range(0.35, 0.75), d.Range(0.5, 0.95)
	bulge := d.Range(-0.12, 0.15)
	w := d.Range(0.09, 0.2)
	x := (top + bottom) / 2
	if d.chance(0.3) { // square handle
		d.add(0, 0.12, d.plain(trim, 0), box(x-0.1, -high*0.6, x+0.45, high*0.6, 0.05),
			hole(box(x-0.1, -high*0.6+w, x+0.45-w, high*0.6-w, 0.05)))
	} else {
		d.add(0, 0.12, d.plain(trim, 0),
			stroke(arc(x-0.05, d.Range(-0.2, 0.2), d.Range(0.3, 0.55), high*d.Range(0.4, 0.7), -1.6, 1.6), w, w))
	}
	d.add(0.1, 0.3, d.printed(body, accent, 0.7), turned(point{top, -high},
		point{(top+bottom)/2 + bulge, 0}, point{bottom, high}))
	d.add(0.1, 0, d.plain(dark, 0), ellipse(0, -high, top, d.Range(0.06, 0.16)))
	if d.chance(0.7) {
		d.emblem(d.Range(-0.15, 0.15), d.Range(-0.1, 0.25), d.Range(0.18, 0.32), 0.13, trim)
	}
}

func teapot(d *design) {
	wide, high := d.Range(0.5, 0.75), d.Range(0.4, 0.7)
	w := d.Range(0.08, 0.16)
	d.add(0, 0.1, d.plain(accent, 0), stroke(smooth([]point{{wide * 0.7, 0.3}, {wide + 0.2, 0.15},
		{wide + 0.25, d.Range(-0.5, 0)}, {wide + d.Range(0.35, 0.6), d.Range(-0.7, -0.3)}}), w*2.2, w))
	if d.chance(0.5) { // handle over the top or at the back
		d.add(-0.02, 0.1, d.plain(trim, 0), stroke(arc(0, -high*0.6, wide*0.8, d.Range(0.6, 0.9), math.Pi, 2*math.Pi), w, w))
	} else {
		d.add(0, 0.1, d.plain(trim, 0), stroke(arc(-wide*0.8, 0, d.Range(0.3, 0.5), high*0.8, 1.5, 4.8), w, w))
	}
	d.add(0.1, 0.3, d.printed(body, accent, 0.8), turned(point{wide * d.Range(0.3, 0.7), -high},
		point{wide, d.Range(-0.15, 0.25)}, point{wide * d.Range(0.5, 0.95), high}))
	lid := wide * d.Range(0.4, 0.65)
	d.add(0.12, 0.1, d.plain(trim, 0.6), turned(point{0.02, -high - d.Range(0.1, 0.25)}, point{lid, -high}))
	knob := d.Range(0.06, 0.13)
	d.add(0.12, 0, d.plain(accent, 0), ellipse(0, -high-0.25, knob, knob*d.Range(0.7, 1.6)))
	if d.chance(0.4) {
		d.add(0, 0.1, d.plain(dark, 0), box(-wide*0.6, high-0.05, -wide*0.4, high+0.2, 0),
			box(wide*0.4, high-0.05, wide*0.6, high+0.2, 0))
	}
}

func lamp(d *design) {
	top, bottom := d.Range(0.15, 0.6), d.Range(0.4, 0.8)
	low := d.Range(-0.35, 0.1)
	base, stem := d.Range(0.25, 0.6), d.Range(0.05, 0.14)
	switch d.IntN(3) {
	case 0: // straight
		d.add(0, 0.05, d.plain(trim, 0.3), box(-stem, low-0.1, stem, 0.95, 0))
	case 1: // turned
		d.add(0, 0.1, d.printed(trim, accent, 0.7), turned(point{stem, low - 0.1},
			point{d.Range(0.1, 0.45), d.Range(0.1, 0.4)}, point{d.Range(0.05, 0.35), d.Range(0.5, 0.75)},
			point{stem, 0.95}))
	default: // tripod
		for _, x := range []float64{-base, 0, base} {
			d.add(0, 0.05, d.plain(trim, 0), line(0, low-0.1, x, 1, stem))
		}
	}
	d.add(0, 0.15, d.plain(dark, 0.2), box(-base, 0.9, base, 1, d.Range(0, 0.06)))
	shade := turned(point{top, -1}, point{(top+bottom)/2 + d.Range(-0.1, 0.2), (low - 1) / 2}, point{bottom, low})
	d.add(0.15, 0.3, d.printed(body, accent, 0.6), shade)
	if d.chance(0.5) {
		d.add(0.16, 0, d.plain(trim, 0), line(-bottom, low-0.05, bottom, low-0.05, d.Range(0.06, 0.14)))
	}
}

func chair(d *design) {
	half, seat := d.Range(0.4, 0.62), d.Range(0, 0.3)
	leg, splay := d.Range(0.05, 0.13), d.Range(-0.1, 0.2)
	for _, z := range []float64{-0.45, 0.35} { // back legs, then front legs
		d.add(z, 0.1, d.plain(trim, 0), line(-half+leg, seat, -half-splay+leg, 1, leg),
			line(half-leg, seat, half+splay-leg, 1, leg))
	}
	back := box(-half, -1, half, seat-0.1, d.Range(0, 0.45))
	switch d.IntN(4) {
	case 0: // slats
		var bars []path
		n := 2 + d.IntN(4)
		for i := range n {
			x := -half + 2*half*(float64(i)+0.5)/float64(n)
			bars = append(bars, box(x-half*0.45/float64(n), -0.95, x+half*0.45/float64(n), seat, 0))
		}
		bars = append(bars, box(-half, -1, half, -0.8, 0.08))
		d.add(-0.4, 0.08, d.plain(body, 0), bars...)
	case 1: // frame with a panel
		d.add(-0.4, 0.08, d.plain(trim, 0), back, hole(box(-half+0.12, -0.88, half-0.12, seat-0.2, 0.1)))
		d.add(-0.4, 0.02, d.printed(body, accent, 0), box(-half*0.6, -0.75, half*0.6, seat-0.3, d.Range(0, 0.3)))
	case 2: // oval
		d.add(-0.4, 0.08, d.printed(body, accent, 0), ellipse(0, -0.5, half, 0.5), box(-0.08, -0.2, 0.08, seat, 0))
	default:
		d.add(-0.4, 0.12, d.printed(body, accent, 0.2), back)
	}
	thick := d.Range(0.1, 0.28)
	d.add(0.4, 0.8, d.printed(accent, body, 0), box(-half-0.03, seat, half+0.03, seat+thick, d.Range(0, 0.12)))
	if d.chance(0.35) {
		y := seat - d.Range(0.25, 0.45)
		for _, s := range []float64{-1, 1} {
			d.add(0.3, 0.6, d.plain(trim, 0), line(s*half, y, s*half, seat, leg), line(s*half-0.06, y, s*half+0.06, y, 0.1))
		}
	}
}

func cabinet(d *design) {
	w, top := d.Range(0.45, 0.9), d.Range(-0.95, -0.4)
	feet := d.Range(0.02, 0.3)
	d.add(0.1, 0.3, d.plain(dark, 0), box(-w*0.9, 0.9-feet, -w*0.9+0.12, 1, 0), box(w*0.9-0.12, 0.9-feet, w*0.9, 1, 0))
	d.add(0.2, 0.55, d.plain(body, 0.1), box(-w, top, w, 1-feet, d.Range(0, 0.1)))
	d.add(0.23, 0.6, d.plain(trim, 0), box(-w-0.05, top-0.08, w+0.05, top+0.03, 0))
	columns, rows := 1+d.IntN(3), 1+d.IntN(4)
	front := d.printed(accent, body, 0)
	if d.chance(0.5) {
		front = d.plain(accent, 0)
	}
	knobs, gap := d.IntN(3), d.Range(0.03, 0.07)
	skip := d.IntN(3 * columns * rows) // sometimes one field is an open shelf
	for i := range columns * rows {
		cw, ch := 2*w/float64(columns), (1-feet-top-0.1)/float64(rows)
		x, y := -w+cw*float64(i%columns), top+0.08+ch*float64(i/columns)
		s := front
		if i == skip {
			s = d.plain(dark, 0)
		}
		d.add(0.22, 0, s, box(x+gap, y+gap, x+cw-gap, y+ch-gap, 0.03))
		cx, cy := x+cw/2, y+ch/2
		switch knobs {
		case 0:
			d.add(0.27, 0.04, d.plain(trim, 0), ellipse(cx, cy, 0.06, 0.06))
		case 1:
			d.add(0.27, 0.04, d.plain(trim, 0), line(cx-cw*0.2, cy, cx+cw*0.2, cy, 0.06))
		default:
			d.add(0.27, 0.04, d.plain(dark, 0), line(x+cw*0.8, cy-ch*0.2, x+cw*0.8, cy+ch*0.2, 0.06))
		}
	}
}
