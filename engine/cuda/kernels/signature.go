package kernels

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed kernels.h
var header string

// Parameter is one parameter of a kernel: its C type without const ("float*", "int", "LossForm") and its name.
type Parameter struct{ Type, Name string }

// IsPointer reports whether the parameter is a device pointer.
func (p Parameter) IsPointer() bool { return strings.HasSuffix(p.Type, "*") }

var declaration = regexp.MustCompile(`(?m)^KERNEL(_T)?\((\w+), \((.*)\)\)$`)

// Signatures returns the parameters of every kernel by name, as kernels.h declares them.
func Signatures() map[string][]Parameter {
	all := map[string][]Parameter{}
	for _, m := range declaration.FindAllStringSubmatch(header, -1) {
		if m[1] == "" {
			all[m[2]] = parameters(m[3], "")
			continue
		}
		all[m[2]+"_f32"] = parameters(m[3], "float")
		all[m[2]+"_bf16"] = parameters(m[3], "bf16")
	}
	return all
}

// parameters splits a list, with the type of activations in place of T.
func parameters(list, activation string) []Parameter {
	var all []Parameter
	for _, p := range strings.Split(list, ", ") {
		p = strings.TrimPrefix(p, "const ")
		i := strings.LastIndexByte(p, ' ')
		kind := p[:i]
		if strings.TrimSuffix(kind, "*") == "T" {
			kind = activation + strings.TrimPrefix(kind, "T")
		}
		all = append(all, Parameter{kind, p[i+1:]})
	}
	return all
}
