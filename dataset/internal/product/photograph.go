package product

import (
	"image"
	"math"

	random "github.com/metrixml/metrix/internal/draw"
)

// Photograph draws the product once, side x side pixels. Everything that differs between images of
// one product is drawn from r.
func (p *Product) Photograph(side int, r *random.Rand) *image.RGBA {
	s := &scene{canvas: newCanvas(side), r: r, unit: float64(side * oversample)}
	s.light()
	s.backdrop()
	cam := s.frame(p)
	s.shadow(p, cam)
	turn, saturation := r.Range(-hueTurn, hueTurn), r.Range(0.75, 1.15)
	inks := make([]rgb, len(p.inks))
	for i, k := range p.inks {
		inks[i] = k.rgb(turn, saturation)
	}
	for i := range p.parts {
		s.part(&p.parts[i], cam, inks)
	}
	s.occlude()
	pix := s.canvas.shrink()
	s.expose(pix, side)
	return toImage(pix, side)
}

// How far images of one product may differ.
const (
	maxYaw   = 0.75 // radians
	maxPitch = 0.4
	maxRoll  = 0.3
	hueTurn  = 0.2 // turns of the circle of hues, either way
)

// scene is one photograph in the making. Lengths are in pixels of the canvas; unit is its side.
type scene struct {
	canvas       *canvas
	r            *random.Rand
	unit         float64
	tint         rgb
	lightX       float64 // the light comes from this direction of the picture
	lightY       float64
	lightFalloff float64
}

func (s *scene) chance(p float64) bool { return s.r.Float64() < p }

func (s *scene) light() {
	warm := s.r.Range(-0.16, 0.16)
	s.tint = rgb{1, 1, 1}.times(float32(s.r.Range(0.85, 1.15)))
	s.tint[0] *= float32(1 + warm)
	s.tint[1] *= float32(1 + s.r.Range(-0.06, 0.06))
	s.tint[2] *= float32(1 - warm)
	s.lightX, s.lightY = math.Cos(s.r.Range(0, 2*math.Pi)), s.r.Range(-1, 0.2)
	s.lightFalloff = s.r.Range(0, 0.3)
}

// frame draws the viewpoint and fits the turned product into the picture.
func (s *scene) frame(p *Product) camera {
	cam := newCamera(s.r.Range(-maxYaw, maxYaw), s.r.Range(-maxPitch, maxPitch), s.r.Range(-maxRoll, maxRoll), 1, 0, 0)
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, part := range p.parts {
		for _, q := range s.project(part.shape, cam.plane(part.z)) {
			for _, v := range q {
				x0, x1, y0, y1 = min(x0, v.x), max(x1, v.x), min(y0, v.y), max(y1, v.y)
			}
		}
	}
	fill := s.r.Range(0.6, 0.92)
	cam.scale = fill * s.unit / max(x1-x0, y1-y0)
	free := (1 - fill) / 2 * s.unit
	cam.centreX = s.unit/2 - cam.scale*(x0+x1)/2 + s.r.Range(-free, free)
	cam.centreY = s.unit/2 - cam.scale*(y0+y1)/2 + s.r.Range(-free, free)
	return cam
}

func (s *scene) project(shape outline, pl plane) []path {
	out := make([]path, len(shape))
	for i, p := range shape {
		out[i] = make(path, len(p))
		for k, q := range p {
			out[i][k] = pl.project(q)
		}
	}
	return out
}

// part draws the extruded sides from the back, then the face.
func (s *scene) part(p *part, cam camera, inks []rgb) {
	const layers = 5
	side := inks[p.skin.base].times(0.62)
	if p.thick > 0 {
		for k := range layers {
			z := p.z - p.thick*(1-float64(k)/layers)
			s.canvas.fill(s.project(p.shape, cam.plane(z)), 1, func(x, y float64) rgb { return side })
		}
	}
	pl := cam.plane(p.z)
	half := halfWidth(p.shape)
	base, second := inks[p.skin.base], inks[p.skin.second]
	s.canvas.fill(s.project(p.shape, pl), 1, func(x, y float64) rgb {
		q := pl.unproject(x, y)
		c := base.mix(second, p.skin.at(q))
		lit := 1 + 0.12*(s.lightX*q.x+s.lightY*q.y)
		if p.skin.round > 0 {
			e := min(max(q.x/half, -1), 1)
			lit *= 1 - p.skin.round*(0.45*e*e-0.2*s.lightX*e)
		}
		return c.times(float32(lit))
	})
}

// halfWidth is the largest distance of the shape from the y axis.
func halfWidth(shape outline) float64 {
	w := 1e-6
	for _, p := range shape {
		for _, q := range p {
			w = max(w, math.Abs(q.x))
		}
	}
	return w
}

// shadow lies under the product, or behind it on a wall.
func (s *scene) shadow(p *Product, cam camera) {
	if s.chance(0.3) {
		return
	}
	foot := cam.plane(-0.1).project(point{(p.left + p.right) / 2, p.bottom})
	rx := cam.scale * (p.right - p.left) / 2 * s.r.Range(0.8, 1.2)
	ry := rx * s.r.Range(0.12, 0.3)
	strength := float32(s.r.Range(0.05, 0.14))
	for k := range 5 {
		f := 1 - 0.15*float64(k)
		s.canvas.fill([]path{ellipse(foot.x-s.lightX*rx*0.2, foot.y, rx*f, ry*f)}, strength, func(x, y float64) rgb { return rgb{} })
	}
}

// expose applies contrast, light and noise to the n x n pixels.
func (s *scene) expose(pix []rgb, n int) {
	noise, contrast := s.r.Range(0, 0.03), float32(s.r.Range(0.8, 1.15))
	for i := range pix {
		u, v := 2*(float64(i%n)+0.5)/float64(n)-1, 2*(float64(i/n)+0.5)/float64(n)-1
		lit := float32(1 + s.lightFalloff*(s.lightX*u+s.lightY*v))
		grain := float32(noise * (s.r.Float64() + s.r.Float64() - 1))
		for k, c := range pix[i] {
			pix[i][k] = ((c-0.5)*contrast+0.5)*s.tint[k]*lit + grain
		}
	}
}
