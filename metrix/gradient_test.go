package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Value and gradient of every form with every way of mixing, against the materialised float64
// reference and its central differences. Class 3 has one example (no positive), class 4 only a
// proxy, and the batch is not sorted by class.
func TestMatchesPaperAndFiniteDifferences(t *testing.T) {
	p := random(5, []int32{0, 1, 0, 2, 1, 0, 3, 2, 2, 1}, 5, 6)
	var worstValue, worstGradient float64
	for caseName, c := range cases() {
		f := form(t, c.name, c.params)
		l := loss(t, f, 2)
		for kind, mix := range kinds() {
			row := paper(c.name, c.params)
			anchors := len(p.x)
			if c.name == "proxy_anchor" {
				anchors = len(p.proxies)
			}
			clean, mixed := p.loss(row, mix, 0, anchors)
			v, byRaw, byProxy := evaluate(t, l, p, mix)
			require.InEpsilon(t, 1+clean, 1+v.Clean, 1e-5, "%s, %s", caseName, kind)
			require.InDelta(t, mixed, v.Mixed, 1e-5*(1+abs(mixed)), "%s, %s", caseName, kind)
			require.InDelta(t, v.Clean+mix.Weight*v.Mixed, v.Total, 1e-12)
			worstValue = max(worstValue, abs(v.Total-clean-mix.Weight*mixed)/(1+abs(clean)))

			wantX, wantProxies := p.gradient(row, mix)
			d := distance(join(wantX), byRaw)
			if wantProxies != nil {
				d = max(d, distance(join(wantProxies), byProxy))
			}
			require.Less(t, d, 2e-5, "%s, %s", caseName, kind)
			worstGradient = max(worstGradient, d)
		}
	}
	t.Logf("largest relative difference: value %.1e, gradient %.1e", worstValue, worstGradient)
}

func abs(x float64) float64 { return max(x, -x) }
