package repo

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pure packages compute; they know nothing of files, networks or engines of ours.
var pure = []string{"run", "internal/draw", "metrix", "sampler", "model", "retrieval", "semi", "optim"}

// composers put a program together: only they may name an engine, and nobody imports them.
var composers = []string{"cmd", "internal/app", "examples", "bench"}

// They may ask the processor what it can do.
func TestPurePackagesImportOnlyTheVocabularyAndTheRandomness(t *testing.T) {
	all := packages(t)
	for _, name := range pure {
		for _, imported := range all[name].imports {
			assert.Contains(t, []string{"run", "internal/draw", "golang.org/x/sys/cpu"}, imported, "%s imports it", name)
		}
	}
	require.Contains(t, all, "run", "the list of packages is empty")
}

func TestWorkersDoNotLinkRaftOrAnEngine(t *testing.T) {
	for _, dep := range packages(t)["worker"].deps {
		assert.False(t, below(dep, "github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb", "coordinator") &&
			dep != "coordinator/api", "worker links %s", dep)
		assert.False(t, isEngine(dep), "worker links %s", dep)
	}
}

func TestCoordinatorDoesNotLinkAnEngine(t *testing.T) {
	all := packages(t)
	for name, p := range all {
		if !below(name, "coordinator") {
			continue
		}
		for _, dep := range p.deps {
			assert.False(t, below(dep, "engine", "gorgonia.org/gorgonia"), "%s links %s", name, dep)
		}
	}
}

// What crosses the wire must not bring the machine behind it along.
func TestCoordinatorAPIDoesNotLinkRaft(t *testing.T) {
	for _, dep := range packages(t)["coordinator/api"].deps {
		assert.False(t, below(dep, "github.com/hashicorp/raft") || dep == "coordinator", "coordinator/api links %s", dep)
	}
}

func TestOnlyComposersNameAnEngine(t *testing.T) {
	for name, p := range packages(t) {
		for _, imported := range p.imports {
			if !isEngine(imported) || below(name, composers...) {
				continue
			}
			assert.True(t, isEngine(name) && below(imported, name), "%s imports %s", name, imported)
		}
	}
}

// An engine knows networks and the seam it implements, nothing of training.
func TestEnginesKnowOnlyModelsAndTheirSeam(t *testing.T) {
	for name, p := range packages(t) {
		if !isEngine(name) && name != "engine" {
			continue
		}
		for _, imported := range p.imports {
			if !isOurs(t, imported) {
				continue
			}
			assert.True(t, below(imported, "model", "engine", "run", "internal") || below(imported, name),
				"%s imports %s", name, imported)
		}
	}
}

func TestTheRingDoesNotKnowWhatItCarries(t *testing.T) {
	for _, dep := range packages(t)["allreduce"].deps {
		if isOurs(t, dep) {
			assert.True(t, below(dep, "run", "internal"), "allreduce links %s", dep)
		}
	}
}

func TestNobodyImportsAProgram(t *testing.T) {
	for name, p := range packages(t) {
		for _, imported := range p.imports {
			if below(imported, "cmd", "internal/app", "examples") {
				assert.True(t, below(name, "cmd", "internal/app", "examples"), "%s imports %s", name, imported)
			}
		}
	}
}

// gorgonia.org/cu ends the process at its start on a machine without a driver, so only binaries
// built for GPUs (tag gpu) may link it.
func TestPlainBuildsDoNotLinkCUDA(t *testing.T) {
	for name, p := range packages(t) {
		for _, dep := range p.deps {
			assert.False(t, below(dep, "gorgonia.org/cu"), "%s links %s without the tag gpu", name, dep)
		}
	}
}

// isEngine reports whether the package is an implementation of the engine seam or part of one.
func isEngine(name string) bool {
	return below(name, "engine") && !below(name, "engine/enginetest") && name != "engine"
}

func isOurs(t *testing.T, name string) bool {
	t.Helper()
	_, ours := packages(t)[name]
	return ours
}
