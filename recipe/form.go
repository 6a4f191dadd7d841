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
	if _, err := l.NewForm(); err != nil {
		return &problem{[]string{"loss.reduction", "loss.form"}, fmt.Sprintf("loss.reduction is %s: %s", l.Reduction, strings.TrimPrefix(err.Error(), "metrix: "))}
	}
	return nil
}

// form is the row of the table that the recipe names, which lossExists has found.
func (r *Recipe) form() metrix.Form {
	f, _ := r.Loss.NewForm()
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
	m := &r.Mix
	c := m.Config()
	at := "mix"
	if m.Level != "none" && m.Level != "random" {
		at = "mix." + m.Level
	}
	keys := []string{at + ".pairs", "mix.pairs", at + ".hardest", "mix.hardest", "mix.level", "loss.form"}
	for _, err := range []error{c.Validate(), metrix.CheckMix(r.form(), c)} {
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return &problem{keys, "mix does not go with the rest: " + strings.TrimPrefix(first, "metrix: ")}
		}
	}
	for level, own := range m.levels() {
		if m.Level != level && m.Level != "random" || level == "embed" {
			continue
		}
		negatives := (r.Batch.Classes - 1) * r.Batch.Images
		if m.Partners == "shard" {
			negatives = (r.Batch.Classes/r.Batch.Shards - 1) * r.Batch.Images
		}
		if own.Hardest > negatives {
			return &problem{[]string{"mix." + level + ".hardest", "mix.hardest", "mix.partners"}, fmt.Sprintf(
				"mix.%s.hardest is %d; a row has only %d negatives among its partners", level, own.Hardest, negatives)}
		}
	}
	return nil
}

func memoryIsPossible(r *Recipe) *problem {
	f := r.form()
	if r.Memory.Size > 0 && f.Candidates == metrix.Proxy {
		return &problem{[]string{"memory.size", "loss.form"}, fmt.Sprintf("memory.size is %d; loss.form %s compares with proxies and needs no memory", r.Memory.Size, r.Loss.Form)}
	}
	if r.Mix.Memory == "yes" && r.Memory.Size == 0 {
		return &problem{[]string{"mix.memory"}, "mix.memory is yes; it needs memory.size above 0"}
	}
	return nil
}
