package repo

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/recipe"
)

// documents returns the text of every Markdown file, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	return files(t, func(name string) bool { return path.Ext(name) == ".md" })
}

// files reads the files that match, by path relative to the repository.
func files(t *testing.T, match func(name string) bool) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, walk(func(name string) error {
		if !match(name) {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		found[name] = string(text)
		return err
	}))
	return found
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}

var (
	recipePath = regexp.MustCompile(`\brecipes/[A-Za-z0-9_/.-]+\.yaml\b`)
	link       = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	makeTarget = regexp.MustCompile("(?m)(?:^ {4}|`)make ([a-z-]+)")
	rule       = regexp.MustCompile(`(?m)^([a-z-]+):`)
)

func TestDocumentsNameRecipesThatExist(t *testing.T) {
	for name, text := range documents(t) {
		for _, mentioned := range recipePath.FindAllString(text, -1) {
			assert.True(t, exists(mentioned), "%s names %s, which is not there", name, mentioned)
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target := path.Join(path.Dir(name), match[1])
			assert.True(t, exists(target), "%s links to %s, which is not there", name, match[1])
		}
	}
}

func TestDocumentsNameMakeTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	targets := map[string]bool{}
	for _, match := range rule.FindAllStringSubmatch(string(makefile), -1) {
		targets[match[1]] = true
	}
	for name, text := range documents(t) {
		for _, match := range makeTarget.FindAllStringSubmatch(text, -1) {
			assert.True(t, targets[match[1]], "%s says 'make %s', which is no target", name, match[1])
		}
	}
}

// Every recipe that the project ships is accepted, and its header says what it trains, the
// score, how long it takes and the command.
func TestRecipesAreAcceptedAndExplainThemselves(t *testing.T) {
	for name, text := range files(t, func(name string) bool {
		return strings.HasPrefix(name, "recipes/") && path.Ext(name) == ".yaml"
	}) {
		t.Run(name, func(t *testing.T) {
			_, err := recipe.Parse(name, []byte(text), nil)
			require.NoError(t, err)
			var header []string
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, "#") {
					break
				}
				header = append(header, line)
			}
			said := strings.ToLower(strings.Join(header, ""))
			for _, item := range []string{"# trains:", "# score:", "# time:", "# command:", "metrix train " + name} {
				assert.True(t, strings.Contains(said, item), "the header of %s has no %q", name, item)
			}
		})
	}
}

func TestProjectFilesAreThere(t *testing.T) {
	for _, name := range []string{"LICENSE", "CONTRIBUTING.md", "Makefile", ".ci/run", "docs/kubernetes.md"} {
		assert.True(t, exists(name), name)
	}
	for _, name := range []string{".ci/run", "scripts/setup.sh", "scripts/check.sh", "scripts/fuzz.sh", "scripts/test.sh", "scripts/gpu-test.sh", "scripts/gpu-check.sh"} {
		info, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		assert.NotZero(t, info.Mode()&0o111, "%s cannot be executed", name)
	}
}
