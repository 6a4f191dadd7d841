package repo

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/metrixml/metrix"

// root is the repository, seen from this package's folder, where go test runs.
const root = "../.."

// pkg is what go list knows of a package. Names of our own packages are relative to the module:
// "engine/gorgonia".
type pkg struct {
	name      string
	isCommand bool
	dir       string
	imports   []string // of the package itself
	deps      []string // of everything it links, standard library left out
}

var listed = sync.OnceValues(listPackages)

// packages returns the packages of this module by name.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	all, err := listed()
	require.NoError(t, err)
	return all
}

// listPackages asks the go command, with the build tags of a plain build.
func listPackages() (map[string]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,Imports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Name, Dir string
			Imports, Deps         []string
		}
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		name := relative(p.ImportPath)
		all[name] = pkg{name, p.Name == "main", p.Dir, outside(p.Imports), outside(p.Deps)}
	}
	return all, nil
}

// outside drops the standard library and names our own packages relative to the module.
func outside(paths []string) []string {
	var list []string
	for _, path := range paths {
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
			list = append(list, relative(path))
		}
	}
	return list
}

func relative(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// below reports whether the package is one of the folders or lies in one.
func below(name string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return name == folder || strings.HasPrefix(name, folder+"/")
	})
}

// source is one parsed Go file.
type source struct {
	path  string // relative to the repository, with slashes
	lines int
	test  bool
	tree  *ast.File
	set   *token.FileSet
}

var parsed = sync.OnceValues(parseSources)

// sources returns every Go file of the repository, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func parseSources() ([]source, error) {
	var all []source
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{path, bytes.Count(text, []byte("\n")), strings.HasSuffix(path, "_test.go"), tree, set})
		return nil
	})
	return all, err
}

// walk calls visit with every file of the repository, relative to it, leaving out what git ignores
// or keeps for itself.
func walk(visit func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name == ".git" || name == ".cache" || name == ".gpu" || name == "bin" || name == "runs" || name == "bench/out" {
				return filepath.SkipDir
			}
			return nil
		}
		return visit(name)
	})
}
