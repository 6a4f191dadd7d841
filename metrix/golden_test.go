package metrix_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// formula is the input of the recorded cases: e[i][j] = sin(0.7 i + 1.3 j + 0.1 i j), 8 rows of 4,
// and proxies p[c][j] = cos(0.5 c + 0.9 j).
func formula(classes int) problem {
	p := problem{labels: []int32{0, 0, 1, 1, 2, 2, 2, 3}}
	for i := range 8 {
		row := make([]float64, 4)
		for j := range row {
			row[j] = math.Sin(0.7*float64(i) + 1.3*float64(j) + 0.1*float64(i*j))
		}
		p.x = append(p.x, row)
	}
	for c := range classes {
		row := make([]float64, 4)
		for j := range row {
			row[j] = math.Cos(0.5*float64(c) + 0.9*float64(j))
		}
		p.proxies = append(p.proxies, row)
	}
	return p
}

// euclidean is a loss of a user's own: the contrastive loss on Euclidean distance between unit
// rows, d = sqrt(2 - 2s), as pytorch-metric-learning has it by default.
func euclidean(margin float64) metrix.Form {
	distance := func(s float64) (float64, float64) {
		d := math.Sqrt(max(2-2*s, 1e-12))
		return d, -1 / d
	}
	return metrix.Form{
		Name:     "contrastive, Euclidean",
		Positive: metrix.Part{Rho: distance, Sigma: metrix.Identity},
		Negative: metrix.Part{Sigma: metrix.Identity, Rho: func(s float64) (float64, float64) {
			d, dd := distance(s)
			if d >= margin {
				return 0, 0
			}
			return margin - d, -dd
		}},
		Reduction: metrix.MeanOverNonZero,
	}
}

// shared are the recorded cases whose definition is ours. Not shared: the proxy anchor case with
// mined pairs (proxyanchor_4_with_tuple), whose weights enter in the exponent.
func shared(t *testing.T) map[string]metrix.Form {
	ms := func(b, g, m float64) metrix.Form {
		return form(t, "multi_similarity", map[string]float64{"beta": b, "gamma": g, "margin": m})
	}
	mined := func(epsilon float64) metrix.Form {
		return form(t, "multi_similarity", map[string]float64{"beta": 2, "gamma": 50, "margin": 0.5, "miner": 1, "epsilon": epsilon})
	}
	triplet := func(margin float64, flags ...string) metrix.Form {
		params := map[string]float64{"margin": margin}
		for _, f := range flags {
			params[f] = 1
		}
		return form(t, "triplet", params)
	}
	mean := euclidean(1)
	mean.Reduction = metrix.MeanOverTerms
	anchor := form(t, "proxy_anchor", map[string]float64{"alpha": 32, "delta": 0.1})
	return map[string]metrix.Form{
		"contrastive_default":      euclidean(1),
		"contrastive_metrix":       euclidean(0.5),
		"contrastive_cosine":       form(t, "contrastive", map[string]float64{"nonzero": 1, "margin": 0}),
		"contrastive_mean":         mean,
		"triplet_default":          triplet(0.05),
		"triplet_0.2":              triplet(0.2),
		"triplet_swap_0.2":         triplet(0.2, "swap"),
		"triplet_smooth":           triplet(0.05, "smooth"),
		"triplet_cosine":           triplet(0.05, "cosine"),
		"ms_default":               ms(2, 50, 0.5),
		"ms_metrix":                ms(17.97, 75.66, 0.77),
		"ms_default_miner_0.1":     mined(0.1),
		"ms_default_miner_0.39":    mined(0.39),
		"proxyanchor_4":            anchor,
		"proxyanchor_5_one_absent": anchor,
		"ntxent_0.07":              form(t, "nt_xent", nil),
		"supcon_0.1":               form(t, "supcon", nil),
	}
}

func classesOf(name string) int {
	if name == "proxyanchor_5_one_absent" {
		return 5
	}
	return 4
}

// recorded are the values of the shared cases, so that the check stands without the file.
var recorded = map[string]float64{
	"contrastive_default":      1.2837192240110773,
	"contrastive_metrix":       1.0225992481775277,
	"contrastive_cosine":       1.1604958118493656,
	"contrastive_mean":         1.0680114178877103,
	"triplet_default":          0.33249875683219204,
	"triplet_0.2":              0.4449610636353794,
	"triplet_swap_0.2":         0.4449610636353794,
	"triplet_smooth":           0.507147345752743,
	"triplet_cosine":           0.3757062974108173,
	"ms_default_miner_0.1":     0.5467068673972294,
	"ms_default_miner_0.39":    0.5467068674185546,
	"ntxent_0.07":              3.9618459033182853,
	"supcon_0.1":               2.499413929537389,
	"ms_default":               0.6419610397144084,
	"ms_metrix":                0.36538459787725036,
	"proxyanchor_4":            35.37306816106032,
	"proxyanchor_5_one_absent": 33.53971430024684,
}

func TestValuesOfPytorchMetricLearning(t *testing.T) {
	for name, f := range shared(t) {
		v, _, _ := evaluate(t, loss(t, f, 1), formula(classesOf(name)), metrix.Mix{})
		require.InEpsilon(t, recorded[name], v.Total, 1e-6, name)
	}
}

// Values and full gradients recorded from pytorch-metric-learning 2.8.1 in float64.
func TestGoldenFileOfPytorchMetricLearning(t *testing.T) {
	dir := os.Getenv("METRIX_SHARED")
	if dir == "" {
		t.Skip("METRIX_SHARED is not set: it names the directory with golden/pml_losses_metrics.json")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "golden", "pml_losses_metrics.json"))
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			Name      string
			Value     float64
			Grad      [][]float64
			ProxyGrad [][]float64 `json:"proxy_grad"`
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	forms, checked := shared(t), 0
	for _, c := range file.Cases {
		f, ok := forms[c.Name]
		if !ok {
			continue
		}
		checked++
		v, byRaw, byProxy := evaluate(t, loss(t, f, 2), formula(classesOf(c.Name)), metrix.Mix{})
		require.InEpsilon(t, c.Value, v.Total, 1e-6, c.Name)
		d := distance(join(c.Grad), byRaw)
		if c.ProxyGrad != nil {
			d = max(d, distance(join(c.ProxyGrad), byProxy))
		}
		require.Less(t, d, 2e-5, c.Name)
		t.Logf("%-26s value %.9f, largest relative difference of the gradient %.1e", c.Name, v.Total, d)
	}
	require.Equal(t, len(forms), checked, "the file lacks a case that is ours")
}
