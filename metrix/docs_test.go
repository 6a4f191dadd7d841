package metrix_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// docs/method.md names every form, and every name in it is one that the sources of this package or
// of packages retrieval, recipe and worker hold.
func TestMethodPageNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("../docs/method.md")
	require.NoError(t, err)
	for _, name := range metrix.Forms() {
		require.Contains(t, string(page), "`"+name+"`")
	}
	var sources strings.Builder
	for _, dir := range []string{".", "../retrieval", "../recipe", "../worker"} {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".go") {
				raw, err := os.ReadFile(dir + "/" + e.Name())
				require.NoError(t, err)
				sources.WriteString(e.Name())
				sources.Write(raw)
			}
		}
	}
	for _, quoted := range regexp.MustCompile("`([A-Za-z_.]+)`").FindAllStringSubmatch(string(page), -1) {
		for _, word := range strings.Split(quoted[1], ".") {
			require.True(t, strings.Contains(sources.String(), word), "docs/method.md names %s", quoted[1])
		}
	}
}

// The new form on the page is the one of the compiled example, and under 30 lines; the numbers on the page
// are the recorded ones.
func TestMethodPageIsTrue(t *testing.T) {
	raw, err := os.ReadFile("../docs/method.md")
	require.NoError(t, err)
	page := string(raw)
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, code, ok := strings.Cut(page, "```go\n")
	require.True(t, ok)
	code, _, _ = strings.Cut(code, "```")
	require.Less(t, strings.Count(code, "\n"), 30)
	for line := range strings.Lines(code) {
		require.Contains(t, string(example), strings.TrimSpace(line))
	}
	for _, name := range []string{"contrastive_cosine", "ms_default", "ms_default_miner_0.1", "proxyanchor_4", "triplet_default", "ntxent_0.07"} {
		require.Contains(t, page, fmt.Sprintf(" %.6f |", recorded[name]), name)
	}
	for _, name := range []string{"multi-similarity", "proxy anchor"} {
		require.Contains(t, page, fmt.Sprintf(" %.6f |", recordedTerms()[name]["positive-negative"]), name)
	}
}
