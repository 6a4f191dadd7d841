package metrix_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// docs/method.md names every form, and every name in it is one that the sources of this package or
// of package retrieval hold.
func TestMethodPageNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("../docs/method.md")
	require.NoError(t, err)
	for _, name := range metrix.Forms() {
		require.Contains(t, string(page), "`"+name+"`")
	}
	var sources strings.Builder
	for _, dir := range []string{".", "../retrieval"} {
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
			require.Contains(t, sources.String(), word, "docs/method.md names %s", quoted[1])
		}
	}
}
