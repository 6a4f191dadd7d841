package semi

import (
	"fmt"
	"math"
)

// Forms of the loss of a triplet.
const (
	Angular = "angular"
	Margin  = "triplet"
)

// constraint returns the loss of a triplet of rows, and adds scale times its gradient by them to da,
// dp, dn unless those are nil.
type constraint func(da, dp, dn []float64, a, p, n []float32, scale float64) float64

// angular is log(1 + e^m) with
//
//	m = |a - p|^2 - 4 tan^2(alpha) |n - c|^2,   c = (a + p)/2
//
// which asks that a and p are seen from n under an angle of at most 2 alpha (Wang et al., ICCV 2017).
// Its gradient is 1/(1 + e^-m) times
//
//	dm/da = 2(a - p) + 4t (n - c),   dm/dp = 2(p - a) + 4t (n - c),   dm/dn = -8t (n - c),   t = tan^2(alpha)
func angular(degrees float64) constraint {
	tan := math.Tan(degrees * math.Pi / 180)
	t := tan * tan
	return func(da, dp, dn []float64, a, p, n []float32, scale float64) float64 {
		var between, height float64
		for i := range a {
			d, e := float64(a[i])-float64(p[i]), fromCenter(a, p, n, i)
			between += float64(d * d)
			height += float64(e * e)
		}
		m := between - float64(4*t*height)
		if da != nil {
			slope := scale * logistic(m)
			for i := range a {
				d, e := 2*(float64(a[i])-float64(p[i])), 4*t*fromCenter(a, p, n, i)
				da[i] += float64(slope * (d + e))
				dp[i] += float64(slope * (e - d))
				dn[i] -= float64(slope * 2 * e)
			}
		}
		return softplus(m)
	}
}

// fromCenter is coordinate i of n - (a+p)/2.
func fromCenter(a, p, n []float32, i int) float64 {
	return float64(n[i]) - 0.5*(float64(a[i])+float64(p[i]))
}

// softplus is log(1 + e^x), without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// logistic is 1/(1 + e^-x), the derivative of softplus.
func logistic(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// margin is [ |a - p| - |a - n| + m ]+. Rows that coincide have distance 0 without a derivative.
func margin(m float64) constraint {
	return func(da, dp, dn []float64, a, p, n []float32, scale float64) float64 {
		near, far := math.Sqrt(squaredDistance(a, p)), math.Sqrt(squaredDistance(a, n))
		value := near - far + m
		if value <= 0 {
			return 0
		}
		if da != nil {
			push(da, dp, a, p, scale, near)
			push(da, dn, a, n, -scale, far)
		}
		return value
	}
}

// push adds scale times the gradient of |a - x|, which is distance.
func push(da, dx []float64, a, x []float32, scale, distance float64) {
	if distance == 0 {
		return
	}
	for i := range a {
		d := float64(scale * (float64(a[i]) - float64(x[i])) / distance)
		da[i] += d
		dx[i] -= d
	}
}

// newConstraint returns the form that c names.
func newConstraint(c Config) (constraint, error) {
	switch c.Form {
	case Angular:
		if !(c.Angle > 0 && c.Angle < 90) {
			return nil, fmt.Errorf("semi: the angle of the angular loss is %v degrees; it must lie between 0 and 90", c.Angle)
		}
		return angular(c.Angle), nil
	case Margin:
		if !(c.Margin >= 0) || math.IsInf(c.Margin, 1) {
			return nil, fmt.Errorf("semi: the margin of the triplet loss is %v; it must be at least 0 and finite", c.Margin)
		}
		return margin(c.Margin), nil
	}
	return nil, fmt.Errorf("semi: there is no loss form %q for mined triplets; it must be %q or %q", c.Form, Angular, Margin)
}
