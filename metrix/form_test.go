package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// Every scalar function of every row has the derivative it states.
func TestScalarFunctionsStateTheirDerivatives(t *testing.T) {
	const h = 1e-6
	for caseName, c := range cases() {
		f := form(t, c.name, c.params)
		for _, part := range []metrix.Part{f.Positive, f.Negative} {
			for _, s := range []float64{-0.83, -0.2, 0.31, 0.94} {
				up, _ := part.Rho(s + h)
				down, _ := part.Rho(s - h)
				_, dy := part.Rho(s)
				require.InDelta(t, (up-down)/(2*h), dy, 1e-6, caseName)
			}
			for _, x := range []metrix.Sum{{Value: 0.3}, {Value: 7}, {Value: 1.5, Log: -40}, {Value: 2, Log: 30}, {Value: 1, Log: 900}} {
				if !part.Exponential && x.Log != 0 {
					continue
				}
				up, _ := part.Sigma(metrix.Sum{Value: x.Value + h, Log: x.Log})
				down, _ := part.Sigma(metrix.Sum{Value: x.Value - h, Log: x.Log})
				y, dy := part.Sigma(x)
				require.InDelta(t, (up-down)/(2*h), dy, 1e-6*(1+abs(y)), caseName)
			}
			y, _ := part.Sigma(metrix.Sum{})
			require.Zero(t, y, "%s: a missing part must add nothing", caseName)
		}
	}
}

func TestNewFormNamesWhatIsWrong(t *testing.T) {
	require.Equal(t, []string{"contrastive", "multi_similarity", "binomial_deviance", "lifted_structure", "nca", "proxy_anchor", "proxy_nca", "triplet", "nt_xent", "supcon", "recall_at_k"}, metrix.Forms())
	_, err := metrix.NewForm("triplets", nil)
	require.ErrorContains(t, err, `no loss form "triplets"; choose one of contrastive, multi_similarity,`)
	_, err = metrix.NewForm("multi_similarity", map[string]float64{"alpha": 2})
	require.ErrorContains(t, err, `has no parameter "alpha"; it has beta (18), gamma (75), margin (0.77), miner (0), epsilon (0.1)`)
	_, err = metrix.NewForm("multi_similarity", map[string]float64{"beta": 0})
	require.ErrorContains(t, err, "parameter beta of loss form multi_similarity is 0; it must lie in")
	for _, name := range metrix.Forms() {
		f := form(t, name, nil)
		require.Equal(t, name, f.Name)
		require.Equal(t, name == "proxy_anchor" || name == "proxy_nca", f.UsesProxies())
	}
}

func TestNewRefusesIncompleteForms(t *testing.T) {
	_, err := metrix.New(metrix.Form{Name: "mine"}, 1)
	require.ErrorContains(t, err, `form "mine": the positive part lacks Rho or Sigma`)
	f := form(t, "contrastive", nil)
	_, err = metrix.New(f, 0)
	require.ErrorContains(t, err, "threads is 0")
	f.Anchors, f.Candidates = metrix.Proxy, metrix.Proxy
	_, err = metrix.New(f, 1)
	require.ErrorContains(t, err, "compares proxies with proxies")
	f = form(t, "multi_similarity", nil)
	f.Reduction = metrix.MeanOverNonZero
	_, err = metrix.New(f, 1)
	require.ErrorContains(t, err, "plain sums over pairs")
}

// Constants are those that forms are made of: what was chosen, what was left out, what a reduction implies.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		form, reduction string
		params, want    map[string]float64
	}{
		{"multi_similarity", "", map[string]float64{"beta": 2}, map[string]float64{"beta": 2, "gamma": 75, "margin": 0.77, "miner": 0, "epsilon": 0.1}},
		{"contrastive", "", nil, map[string]float64{"margin": 0.5, "positive_margin": 0, "nonzero": 0}},
		{"contrastive", "mean", nil, map[string]float64{"margin": 0.5, "positive_margin": 1, "nonzero": 1}},
	} {
		got, err := metrix.Constants(c.form, c.params, c.reduction)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	_, err := metrix.Constants("nca", map[string]float64{"margin": 1}, "")
	require.ErrorContains(t, err, `no parameter "margin"`)
}
