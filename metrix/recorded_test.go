package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// recordedTerms are mean l(a) ("clean") and mean lm(a) (the ways of mixing of kinds) of every form
// on the rows of formula(5), recorded from the float64 reference of naive_test.go. They hold the
// reference and the package to what they were.
func recordedTerms() map[string]map[string]float64 {
	return map[string]map[string]float64{
		"NCA": {
			"anchor-negative":            -0.619039103607,
			"hardest 2":                  -0.175586900674,
			"hardest 3, anchor-negative": 0.405465083273,
			"per pair":                   0.0253933031233,
			"per pair, anchor-negative":  -0.0861396101821,
			"positive-negative":          0.741385578168,
			"clean":                      0.939605139143,
		},
		"NCA, all": {
			"anchor-negative":            0.430782952772,
			"hardest 2":                  0.523107356696,
			"hardest 3, anchor-negative": 0.916290716973,
			"per pair":                   0.621957595113,
			"per pair, anchor-negative":  0.588365249134,
			"positive-negative":          1.05347616902,
			"clean":                      1.14356259474,
		},
		"ProxyNCA": {
			"anchor-negative":            -0.619039103607,
			"hardest 2":                  -0.200670743628,
			"hardest 3, anchor-negative": 0.405465083273,
			"per pair":                   -0.291563877615,
			"per pair, anchor-negative":  -0.291563877615,
			"positive-negative":          0.847297803621,
			"clean":                      2.28992670045,
		},
		"ProxyNCA++": {
			"anchor-negative":            0.430782952772,
			"hardest 2":                  0.597836979081,
			"hardest 3, anchor-negative": 0.916290716973,
			"per pair":                   0.646447967696,
			"per pair, anchor-negative":  0.646447967696,
			"positive-negative":          1.20397276459,
			"clean":                      2.8907006277,
		},
		"binomial deviance": {
			"anchor-negative":            9.88657464781,
			"hardest 2":                  8.35419143899,
			"hardest 3, anchor-negative": 7.3745938689,
			"per pair":                   9.10359871243,
			"per pair, anchor-negative":  9.80775492887,
			"positive-negative":          8.44327696179,
			"clean":                      4.91271799887,
		},
		"contrastive": {
			"anchor-negative":            -1.74492208152,
			"hardest 2":                  -0.218506835334,
			"hardest 3, anchor-negative": 0.212664928238,
			"per pair":                   0.229675815518,
			"per pair, anchor-negative":  -0.480916189373,
			"positive-negative":          1.06857534412,
			"clean":                      0.198264290264,
		},
		"lifted structure": {
			"anchor-negative":            1.50618223294,
			"hardest 2":                  0.415607224692,
			"hardest 3, anchor-negative": 0.31322785821,
			"per pair":                   1.98429886184,
			"per pair, anchor-negative":  1.57013222977,
			"positive-negative":          2.01728299346,
			"clean":                      1.00895778214,
		},
		"multi-similarity": {
			"anchor-negative":            0.198722750151,
			"hardest 2":                  0.578706696546,
			"hardest 3, anchor-negative": 0.431344356634,
			"per pair":                   1.31026065345,
			"per pair, anchor-negative":  1.18607392916,
			"positive-negative":          1.46945102254,
			"clean":                      0.36538720492,
		},
		"multi-similarity, gentle": {
			"anchor-negative":            1.12146136003,
			"hardest 2":                  0.84504618946,
			"hardest 3, anchor-negative": 0.815185465274,
			"per pair":                   1.44351911945,
			"per pair, anchor-negative":  1.26170318985,
			"positive-negative":          1.48923765203,
			"clean":                      0.776613261756,
		},
		"proxy anchor": {
			"anchor-negative":            28.6072601936,
			"hardest 2":                  23.1654777084,
			"hardest 3, anchor-negative": 25.7766596335,
			"per pair":                   45.9964763491,
			"per pair, anchor-negative":  45.9964763491,
			"positive-negative":          43.3722496195,
			"clean":                      33.5397143002,
		},
	}
}

func TestRecordedTerms(t *testing.T) {
	p := formula(5)
	for caseName, kindsOf := range recordedTerms() {
		c := cases()[caseName]
		for kind, want := range kindsOf {
			mix := kinds()[kind]
			v, _, _ := evaluate(t, loss(t, form(t, c.name, c.params), 1), p, mix)
			got := v.Mixed
			if kind == "clean" {
				got = v.Clean
			}
			require.InDelta(t, want, got, 2e-6*(1+abs(want)), "%s, %s", caseName, kind)
		}
	}
}
