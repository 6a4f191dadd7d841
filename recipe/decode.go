package recipe

import (
	"fmt"
	"strconv"
	"strings"
)

// decoder fills sections from nodes and remembers where each value was given.
type decoder struct {
	given map[string]string // path of a key -> where
}

// section decodes the mapping n into s. Path is the section's own path, "" for the whole recipe.
func (d *decoder) section(s section, path string, n *node) error {
	if n.kind != mapping {
		return fmt.Errorf("%s: %s must be a mapping of keys to values, not %s", n.where, orRecipe(path), n)
	}
	fields := s.fields()
	for _, e := range n.entries {
		f, ok := find(fields, e.key)
		if !ok {
			return fmt.Errorf("%s: %s has no key %s%s; its keys are %s",
				e.where, orRecipe(path), quote(e.key), suggestion(e.key, keys(fields)), strings.Join(keys(fields), ", "))
		}
		if err := d.value(f, join(path, e.key), e); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) value(f field, path string, e entry) error {
	d.given[path] = e.where
	if e.value.kind == null {
		return fmt.Errorf("%s: %s has no value; give one or leave the key out", e.where, path)
	}
	if s, ok := f.value.(section); ok {
		return d.section(s, path, e.value)
	}
	if m, ok := f.value.(*map[string]float64); ok {
		return d.params(m, f, path, e.value)
	}
	if !assign(f.value, e.value) {
		return fmt.Errorf("%s: %s is %s; it must be %s%s", e.value.where, path, e.value, f.valid, hint(f.value, e.value))
	}
	if f.ok != nil && !f.ok() {
		return fmt.Errorf("%s: %s is %s; it must be %s%s", e.value.where, path, e.value, f.valid, nearest(f, e.value))
	}
	return nil
}

func (d *decoder) params(m *map[string]float64, f field, path string, n *node) error {
	if n.kind != mapping {
		return fmt.Errorf("%s: %s is %s; it must be %s", n.where, path, n, f.valid)
	}
	if *m == nil {
		*m = map[string]float64{}
	}
	for _, e := range n.entries {
		x, ok := parseNumber(e.value)
		if !ok {
			return fmt.Errorf("%s: %s is %s; it must be a number", e.where, join(path, e.key), e.value)
		}
		(*m)[e.key] = x
		d.given[join(path, e.key)] = e.where
	}
	return nil
}

// assign stores n in the variable that to points to, if it has that type.
func assign(to any, n *node) bool {
	var ok bool
	switch v := to.(type) {
	case *string:
		if ok = isText(n); ok {
			*v = n.text
		}
	case *int:
		var x int64
		if x, ok = parseInt(n); ok && int64(int(x)) == x {
			*v = int(x)
		}
	case *int64:
		var x int64
		if x, ok = parseInt(n); ok {
			*v = x
		}
	case *uint64:
		var x uint64
		if x, ok = parseUint(n); ok {
			*v = x
		}
	case *float64:
		var x float64
		if x, ok = parseNumber(n); ok {
			*v = x
		}
	case *[]float64:
		ok = assignList(v, n, parseNumber)
	case *[]int:
		ok = assignList(v, n, func(n *node) (int, bool) {
			x, ok := parseInt(n)
			return int(x), ok
		})
	}
	return ok
}

func assignList[T any](to *[]T, n *node, parse func(*node) (T, bool)) bool {
	if n.kind != sequence || len(n.items) > 64 {
		return false
	}
	list := make([]T, 0, len(n.items))
	for _, item := range n.items {
		x, ok := parse(item)
		if !ok {
			return false
		}
		list = append(list, x)
	}
	*to = list
	return true
}

// isText reports whether a scalar is text: quoted, or not what YAML reads as something else.
func isText(n *node) bool {
	if n.kind != scalar {
		return false
	}
	if n.quoted || n.literal {
		return true
	}
	switch strings.ToLower(n.text) {
	case "true", "false", ".inf", "-.inf", "+.inf", ".nan":
		return false
	}
	_, isNumber := parseNumber(n)
	return !isNumber
}

// plain reports whether n is an unquoted scalar of the given characters only, without a leading
// zero that YAML 1.1 would read as octal.
func plain(n *node, chars string) bool {
	if n.kind != scalar || n.quoted || n.text == "" || len(n.text) > 64 || strings.Trim(n.text, chars) != "" {
		return false
	}
	digits := strings.TrimLeft(n.text, "+-")
	return len(digits) < 2 || digits[0] != '0' || digits[1] < '0' || digits[1] > '9'
}

func parseInt(n *node) (int64, bool) {
	if !plain(n, "+-0123456789") {
		return 0, false
	}
	x, err := strconv.ParseInt(n.text, 10, 64)
	return x, err == nil
}

func parseUint(n *node) (uint64, bool) {
	if !plain(n, "0123456789") {
		return 0, false
	}
	x, err := strconv.ParseUint(n.text, 10, 64)
	return x, err == nil
}

func parseNumber(n *node) (float64, bool) {
	if !plain(n, "+-.eE0123456789") {
		return 0, false
	}
	x, err := strconv.ParseFloat(n.text, 64)
	return x, err == nil
}

// hint explains the commonest mistake of type: text that looks like a number.
func hint(to any, n *node) string {
	if _, ok := to.(*string); ok && n.kind == scalar {
		return fmt.Sprintf(", so write it in quotes: %q", clip(n.text))
	}
	return ""
}

func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func keys(fields []field) []string {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.key)
	}
	return names
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orRecipe(path string) string {
	if path == "" {
		return "a recipe"
	}
	return path
}
