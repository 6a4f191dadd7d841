package recipe

import (
	"fmt"
	"io"
	"os"
)

// Parse reads a recipe and applies overrides of the form "key.path=value" to it, in order. File is
// the name that errors use. What is not given has the value of Default; the result is valid.
//
// Every error is one sentence that starts with "file:line:" or with the override it is about, and
// names the key, the offending value and what the value may be.
func Parse(file string, src []byte, set []string) (*Recipe, error) {
	root, err := parseYAML(file, src)
	if err != nil {
		return nil, err
	}
	if root.kind != mapping {
		return nil, fmt.Errorf("%s: a recipe must be a mapping of keys to values, not %s", root.where, root)
	}
	for _, s := range set {
		if err := override(root, s); err != nil {
			return nil, err
		}
	}
	r := Default()
	d := decoder{given: map[string]string{}}
	if err := d.section(r, "", root); err != nil {
		return nil, err
	}
	r.fillDependent(func(path string) bool { return d.given[path] != "" })
	if p := r.problem(); p != nil {
		return nil, fmt.Errorf("%s: %s", p.place(file, d.given), p.text)
	}
	return r, nil
}

// Load is Parse of the file at path.
func Load(path string, set ...string) (*Recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: open: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	src, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("recipe: read %s: %w", path, err)
	}
	return Parse(path, src, set)
}
