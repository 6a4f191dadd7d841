package repo

import (
	"go/ast"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// longestFile is how many lines a file of code may have; beyond it holds more than one idea.
const longestFile = 500

// taught are the packages that carry an idea of their own and explain it in a package comment of
// some length: terms, what always holds, what it costs.
var taught = []string{"metrix", "allreduce", "coordinator", "worker", "engine", "sampler", "model", "recipe",
	"checkpoint", "dataset", "retrieval", "internal/draw"}

// shortestLesson is the length of a package comment, in characters, that can teach something.
const shortestLesson = 300

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	comments := map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		dir := path.Dir(s.path)
		if _, ok := comments[dir]; !ok {
			comments[dir] = ""
		}
		if s.tree.Doc != nil {
			comments[dir] += s.tree.Doc.Text()
		}
	}
	for dir, text := range comments {
		if dir == "internal/deps" {
			continue
		}
		assert.NotEmpty(t, text, "package %s has no package comment", dir)
	}
	for _, dir := range taught {
		if text, there := comments[dir]; there {
			assert.Greater(t, len(text), shortestLesson, "the package comment of %s does not teach its idea", dir)
		}
	}
}

func TestFilesHoldOneIdea(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			assert.LessOrEqual(t, s.lines, longestFile, "%s is long: split it by idea", s.path)
		}
	}
}

func TestTestsWaitForEvents(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		calls(s, func(call *ast.CallExpr, qualifier, name string) {
			assert.False(t, qualifier == "time" && name == "Sleep", "%s: a test sleeps; wait for an event",
				s.set.Position(call.Pos()))
		})
	}
}

// A stream of random numbers makes a run depend on who has been reading it: internal/draw does not.
func TestRandomnessComesFromDraw(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.tree.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			assert.False(t, name == "math/rand" || name == "math/rand/v2", "%s imports %s", s.path, name)
		}
	}
}

func TestLibrariesDoNotEndTheProcess(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.tree.Name.Name == "main" {
			continue
		}
		calls(s, func(call *ast.CallExpr, qualifier, name string) {
			ends := qualifier == "os" && name == "Exit" || qualifier == "log" && strings.HasPrefix(name, "Fatal")
			assert.False(t, ends, "%s: a library ends the process", s.set.Position(call.Pos()))
		})
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.tree.Decls {
			f, ok := decl.(*ast.FuncDecl)
			assert.False(t, ok && f.Recv == nil && f.Name.Name == "init", "%s has an init function", s.path)
		}
	}
}

// calls visits the calls of the form qualifier.name(...).
func calls(s source, visit func(call *ast.CallExpr, qualifier, name string)) {
	ast.Inspect(s.tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok {
				visit(call, x.Name, selector.Sel.Name)
			}
		}
		return true
	})
}
