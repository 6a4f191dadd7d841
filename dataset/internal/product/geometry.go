package product

import "math"

// point is a place on a part's plane: x to the right, y down, a product spans about -1..1.
type point struct{ x, y float64 }

// path is a closed polygon; an outline is the area its paths enclose, holes running the other way.
type (
	path    []point
	outline []path
)

const curveSteps = 20 // points for a full turn

func polygon(xy ...float64) path {
	p := make(path, 0, len(xy)/2)
	for i := 0; i+1 < len(xy); i += 2 {
		p = append(p, point{xy[i], xy[i+1]})
	}
	return p
}

// box is a rectangle with corners rounded by radius.
func box(x0, y0, x1, y1, radius float64) path {
	radius = min(radius, (x1-x0)/2, (y1-y0)/2)
	if radius <= 0 {
		return polygon(x0, y0, x1, y0, x1, y1, x0, y1)
	}
	var p path
	for corner, c := range []point{{x1 - radius, y0 + radius}, {x1 - radius, y1 - radius},
		{x0 + radius, y1 - radius}, {x0 + radius, y0 + radius}} {
		from := float64(corner-1) * math.Pi / 2
		p = append(p, arc(c.x, c.y, radius, radius, from, from+math.Pi/2)...)
	}
	return p
}

func ellipse(cx, cy, rx, ry float64) path { return arc(cx, cy, rx, ry, 0, 2*math.Pi) }

// arc is an open run of points from angle a to b, clockwise from the x axis.
func arc(cx, cy, rx, ry, a, b float64) path {
	n := max(4, int(math.Ceil(curveSteps*math.Abs(b-a)/(2*math.Pi))))
	p := make(path, n+1)
	for i := range p {
		s, c := math.Sincos(a + (b-a)*float64(i)/float64(n))
		p[i] = point{cx + rx*c, cy + ry*s}
	}
	return p
}

// star has n points between two radii; equal radii give a regular polygon of 2n corners.
func star(n int, cx, cy, outer, inner, phase float64) path {
	p := make(path, 2*n)
	for i := range p {
		r := outer
		if i%2 == 1 {
			r = inner
		}
		s, c := math.Sincos(phase + math.Pi*float64(i)/float64(n))
		p[i] = point{cx + r*c, cy + r*s}
	}
	return p
}

// turned is the silhouette of a body turned on a lathe: half widths x at heights y, smoothed.
func turned(knots ...point) path {
	half := smooth(knots)
	p := make(path, 0, 2*len(half))
	p = append(p, half...)
	for i := len(half) - 1; i >= 0; i-- {
		p = append(p, point{-half[i].x, half[i].y})
	}
	return p
}

// smooth runs a Catmull-Rom curve through the knots.
func smooth(knots []point) path {
	const steps = 6
	at := func(i int) point { return knots[min(max(i, 0), len(knots)-1)] }
	var p path
	for i := 0; i+1 < len(knots); i++ {
		a, b, c, d := at(i-1), at(i), at(i+1), at(i+2)
		for k := range steps {
			t := float64(k) / steps
			p = append(p, point{catmull(a.x, b.x, c.x, d.x, t), catmull(a.y, b.y, c.y, d.y, t)})
		}
	}
	return append(p, knots[len(knots)-1])
}

func catmull(a, b, c, d, t float64) float64 {
	return b + t/2*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
}

// stroke is a line of the given width along the points, from w0 wide to w1 wide.
func stroke(line []point, w0, w1 float64) path {
	n := len(line)
	left, right := make(path, n), make(path, n)
	for i, q := range line {
		a, b := line[max(i-1, 0)], line[min(i+1, n-1)]
		dx, dy := b.x-a.x, b.y-a.y
		length := max(math.Hypot(dx, dy), 1e-9)
		w := (w0 + (w1-w0)*float64(i)/float64(max(n-1, 1))) / 2
		nx, ny := -dy/length*w, dx/length*w
		left[i], right[n-1-i] = point{q.x + nx, q.y + ny}, point{q.x - nx, q.y - ny}
	}
	return append(left, right...)
}

func line(x0, y0, x1, y1, width float64) path {
	return stroke([]point{{x0, y0}, {x1, y1}}, width, width)
}

// hole turns a path round, so that it cuts out of an outline.
func hole(p path) path {
	q := make(path, len(p))
	for i, v := range p {
		q[len(p)-1-i] = v
	}
	return q
}

func (p path) moved(dx, dy float64) path {
	q := make(path, len(p))
	for i, v := range p {
		q[i] = point{v.x + dx, v.y + dy}
	}
	return q
}

// mirrored reflects p at the y axis and keeps its sense of running.
func (p path) mirrored() path {
	q := hole(p)
	for i := range q {
		q[i].x = -q[i].x
	}
	return q
}
