package recipe

import (
	"fmt"
	"strings"
)

const overridePrefix = "--set "

// isOverride reports whether a place is an override's.
func isOverride(where string) bool { return strings.HasPrefix(where, overridePrefix) }

// override applies one "key.path=value" to the tree, which must be a mapping. Unknown keys are
// found later, by the decoder, which names the override as their place.
//
// A value that starts like YAML's lists, mappings or quotes is read as YAML; anything else is one
// scalar as it stands, so that paths and names need no quoting.
func override(root *node, set string) error {
	where := overridePrefix + clip(set)
	path, text, ok := strings.Cut(set, "=")
	if !ok {
		return fmt.Errorf("%s: an override is written key.path=value, such as optimizer.lr=1e-3", where)
	}
	value, err := overrideValue(where, strings.TrimSpace(text))
	if err != nil {
		return err
	}
	parts := strings.Split(strings.TrimSpace(path), ".")
	if len(parts) > maxDepth {
		return fmt.Errorf("%s: no key of a recipe is that deep", where)
	}
	at := root
	for i, p := range parts {
		if p == "" || len(p) > maxKey {
			return fmt.Errorf("%s: an override is written key.path=value, such as optimizer.lr=1e-3", where)
		}
		if at.kind != mapping {
			return fmt.Errorf("%s: %s is not a mapping, so it has no key %s", where, strings.Join(parts[:i], "."), quote(p))
		}
		if i == len(parts)-1 {
			at.put(p, where, value)
			return nil
		}
		at = at.child(p, where)
	}
	return nil
}

func overrideValue(where, text string) (*node, error) {
	if text == "" {
		return &node{kind: scalar, where: where, literal: true}, nil
	}
	if !strings.ContainsRune(`[{"'`, rune(text[0])) {
		return &node{kind: scalar, where: where, text: text, literal: true}, nil
	}
	value, err := parseYAML(where, []byte(text))
	if err != nil {
		return nil, err
	}
	value.relocate(where)
	return value, nil
}

// relocate makes every value of the tree stand at where: lines mean nothing in an override.
func (n *node) relocate(where string) {
	n.where = where
	for _, item := range n.items {
		item.relocate(where)
	}
	for i := range n.entries {
		n.entries[i].where = where
		n.entries[i].value.relocate(where)
	}
}

func (n *node) put(key, where string, value *node) {
	for i := range n.entries {
		if n.entries[i].key == key {
			n.entries[i] = entry{key, where, value}
			return
		}
	}
	n.entries = append(n.entries, entry{key, where, value})
}

// child returns the mapping under key, made if there is none.
func (n *node) child(key, where string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	value := &node{kind: mapping, where: where}
	n.put(key, where, value)
	return value
}
