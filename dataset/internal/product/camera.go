package product

import "math"

// focal is the distance of the camera in product units: smaller is more perspective.
const focal = 4.5

// camera projects product space to pixels: turned by yaw, pitch and roll, then in perspective.
type camera struct {
	r                [3][3]float64 // rotation
	scale            float64       // pixels to a product unit at z = 0
	centreX, centreY float64       // pixels
}

func newCamera(yaw, pitch, roll, scale, cx, cy float64) camera {
	sy, cyaw := math.Sincos(yaw)
	sp, cp := math.Sincos(pitch)
	sr, cr := math.Sincos(roll)
	turn := [3][3]float64{{cyaw, 0, sy}, {0, 1, 0}, {-sy, 0, cyaw}}
	tilt := [3][3]float64{{1, 0, 0}, {0, cp, -sp}, {0, sp, cp}}
	lean := [3][3]float64{{cr, -sr, 0}, {sr, cr, 0}, {0, 0, 1}}
	return camera{multiply(lean, multiply(tilt, turn)), scale, cx, cy}
}

func multiply(a, b [3][3]float64) (c [3][3]float64) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

// plane is the map between the plane at one depth z and pixels.
type plane struct {
	m, inverse       [3][3]float64 // homogeneous, product plane to pixels relative to the centre
	scale            float64
	centreX, centreY float64
}

func (c camera) plane(z float64) plane {
	var m [3][3]float64
	for i := range 2 {
		m[i] = [3]float64{c.r[i][0], c.r[i][1], c.r[i][2] * z}
	}
	m[2] = [3]float64{-c.r[2][0] / focal, -c.r[2][1] / focal, 1 - c.r[2][2]*z/focal}
	return plane{m, invert(m), c.scale, c.centreX, c.centreY}
}

func (p plane) project(q point) point {
	v := apply(p.m, q)
	return point{p.centreX + p.scale*v.x, p.centreY + p.scale*v.y}
}

func (p plane) unproject(x, y float64) point {
	return apply(p.inverse, point{(x - p.centreX) / p.scale, (y - p.centreY) / p.scale})
}

func apply(m [3][3]float64, q point) point {
	w := m[2][0]*q.x + m[2][1]*q.y + m[2][2]
	return point{(m[0][0]*q.x + m[0][1]*q.y + m[0][2]) / w, (m[1][0]*q.x + m[1][1]*q.y + m[1][2]) / w}
}

// invert returns the adjugate, which inverts a homogeneous map; a plane seen edge-on does not occur,
// since yaw and pitch stay well below a quarter turn.
func invert(m [3][3]float64) (out [3][3]float64) {
	for i := range 3 {
		for j := range 3 {
			a, b := (j+1)%3, (j+2)%3
			c, d := (i+1)%3, (i+2)%3
			out[i][j] = m[a][c]*m[b][d] - m[a][d]*m[b][c]
		}
	}
	return out
}
