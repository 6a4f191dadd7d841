package product

import (
	"math"

	random "github.com/metrixml/metrix/internal/draw"
)

// Product is what the images of one class share. It is not changed after New and is safe for
// concurrent use.
type Product struct {
	parts                    []part // back to front
	inks                     []ink
	left, top, right, bottom float64
}

// part is a flat shape at depth z, extruded backwards by thick.
type part struct {
	shape outline
	z     float64
	thick float64
	skin  skin
}

// Kinds returns the names of the kinds of product; a kind is known by its index.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// New designs a product of the given kind, 0 <= kind < len(Kinds()).
func New(kind int, r *random.Rand) *Product {
	d := &design{Rand: r, patterns: patterns()}
	d.inks = d.palette()
	kinds()[kind].draw(d)
	p := &Product{parts: d.parts, inks: d.inks}
	p.bounds()
	return p
}

func (p *Product) bounds() {
	p.left, p.top, p.right, p.bottom = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, part := range p.parts {
		for _, path := range part.shape {
			for _, q := range path {
				p.left, p.right = min(p.left, q.x), max(p.right, q.x)
				p.top, p.bottom = min(p.top, q.y), max(p.bottom, q.y)
			}
		}
	}
}

// The inks of a product.
const (
	body = iota
	accent
	trim
	dark
)

// design collects the parts of a product while its kind lays them out.
type design struct {
	*random.Rand
	patterns []pattern
	inks     []ink
	parts    []part
}

// palette draws inks by their relation: hues at set distances, one light and one dark.
func (d *design) palette() []ink {
	hue := d.Float64()
	steps := []float64{0.08, 0.17, 0.33, 0.5, 0.67, 0.85}
	value := [2]float64{d.Range(0.25, 0.6), d.Range(0.75, 1)}
	if d.chance(0.5) {
		value[0], value[1] = value[1], value[0]
	}
	saturation := func() float64 {
		if d.chance(0.2) {
			return d.Range(0, 0.12) // white, gray or black
		}
		return d.Range(0.35, 0.95)
	}
	return []ink{
		{hue, saturation(), value[0]},
		{hue + steps[d.IntN(len(steps))], saturation(), value[1]},
		{hue + steps[d.IntN(len(steps))], saturation(), d.Range(0.3, 0.95)},
		{hue + d.Range(-0.1, 0.1), d.Range(0, 0.4), d.Range(0.08, 0.3)},
	}
}

func (d *design) chance(p float64) bool { return d.Float64() < p }

// plain is a surface of one ink.
func (d *design) plain(ink int, round float64) skin {
	return skin{base: ink, second: ink, round: round}
}

// printed is a surface with a pattern of two inks.
func (d *design) printed(base, second int, round float64) skin {
	return skin{
		base: base, second: second, round: round,
		pattern:   d.patterns[d.IntN(len(d.patterns))],
		frequency: d.Range(1.1, 3),
		angle:     float64(d.IntN(8)) * math.Pi / 8,
		phase:     d.Float64(),
	}
}

func (d *design) add(z, thick float64, s skin, paths ...path) {
	d.parts = append(d.parts, part{shape: paths, z: z, thick: thick, skin: s})
}

// emblem puts a small sign on the product.
func (d *design) emblem(x, y, size, z float64, ink int) {
	n := 3 + d.IntN(4)
	phase := d.Float64() * math.Pi
	s := d.plain(ink, 0)
	switch d.IntN(6) {
	case 0:
		d.add(z, 0, s, star(n, x, y, size, size*d.Range(0.35, 0.6), phase))
	case 1:
		d.add(z, 0, s, ellipse(x, y, size, size), hole(ellipse(x, y, size*0.5, size*0.5)))
	case 2:
		d.add(z, 0, s, line(x-size, y, x+size, y, size*0.5), line(x, y-size, x, y+size, size*0.5))
	case 3:
		d.add(z, 0, s, star(n, x, y, size, size, phase))
	case 4: // crescent
		d.add(z, 0, s, ellipse(x, y, size, size), hole(ellipse(x+size*0.4, y, size*0.6, size*0.7)))
	default: // bars
		for i := range n - 1 {
			at := y - size + 2*size*float64(i)/float64(max(n-2, 1))
			d.add(z, 0, s, line(x-size*d.Range(0.3, 1), at, x+size, at, size*0.25))
		}
	}
}
