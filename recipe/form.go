package recipe

import (
	"fmt"
	"slices"
	"strings"
)

func formNames() []string {
	return []string{"contrastive", "multi_similarity", "binomial_deviance", "lifted_structure", "nca", proxyAnchor, "proxy_nca"}
}

// usesProxies reports whether the loss compares examples with learned proxies.
func (r *Recipe) usesProxies() bool { return strings.HasPrefix(r.Loss.Form, "proxy_") }

// lossExists checks the loss's name and constants.
func lossExists(r *Recipe) *problem {
	if !slices.Contains(formNames(), r.Loss.Form) {
		return &problem{[]string{"loss.form"}, fmt.Sprintf("loss.form is %s; it must be one of %s%s",
			quote(r.Loss.Form), strings.Join(formNames(), ", "), suggestion(r.Loss.Form, formNames()))}
	}
	return nil
}
