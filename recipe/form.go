package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/metrixml/metrix/metrix"
)

// lossExists checks the loss's name and constants against the table of losses.
func lossExists(r *Recipe) *problem {
	l := r.Loss
	if !slices.Contains(metrix.Forms(), l.Form) {
		return &problem{[]string{"loss.form"}, fmt.Sprintf("loss.form is %s; it must be one of %s%s",
			quote(l.Form), strings.Join(metrix.Forms(), ", "), suggestion(l.Form, metrix.Forms()))}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Params)) { // one at a time, to know whose the error is
		if _, err := metrix.NewForm(l.Form, map[string]float64{name: l.Params[name]}); err != nil {
			key := join("loss.params", name)
			return &problem{[]string{key, "loss.params", "loss.form"}, fmt.Sprintf("%s is %s: %s",
				key, number(l.Params[name]), strings.TrimPrefix(err.Error(), "metrix: "))}
		}
	}
	if _, err := metrix.NewForm(l.Form, l.Params); err != nil {
		return &problem{[]string{"loss.params", "loss.form"}, "loss.params: " + strings.TrimPrefix(err.Error(), "metrix: ")}
	}
	return nil
}

// form is the row of the table that the recipe names, which lossExists has found.
func (r *Recipe) form() metrix.Form {
	f, _ := metrix.NewForm(r.Loss.Form, r.Loss.Params)
	return f
}

func batchHasPairs(r *Recipe) *problem {
	if r.Batch.Images < 2 && !r.form().UsesProxies() {
		return &problem{[]string{"batch.images", "loss.form"}, fmt.Sprintf(
			"batch.images is %d; it must be at least 2 for loss.form %s, whose positives are other images of the batch", r.Batch.Images, r.Loss.Form)}
	}
	return nil
}

func mixIsPossible(r *Recipe) *problem {
	m := r.Mix
	err := metrix.CheckMix(r.form(), metrix.MixConfig{
		Level: m.Level, Weight: m.Weight, Alpha: m.Alpha, Pairs: m.Pairs, Per: m.Per, Hardest: m.Hardest,
	})
	if err != nil {
		return &problem{[]string{"mix.pairs", "loss.form"}, fmt.Sprintf(
			"mix.pairs is %s; it must be positive_negative or both for loss.form %s, which compares with proxies and mixes positives with negatives only",
			m.Pairs, r.Loss.Form)}
	}
	return nil
}
