package app

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/experiments"
)

// Every recipe of the experiments starts and steps on the fixture of its data set, with its own loss,
// mixing and schedule, and is evaluated: In-Shop's by its queries.
func TestEveryExperimentStepsOnItsFixture(t *testing.T) {
	for _, set := range experiments.Sets() {
		dir := filepath.Join(t.TempDir(), set.Folder)
		require.NoError(t, dataset.Synth(dir, experiments.Fixture(set), nil))
		opened, err := dataset.Open(dir, set.Layout)
		require.NoError(t, err)
		for _, e := range experiments.All() {
			if e.Set.Folder != set.Folder {
				continue
			}
			t.Run(e.Name(), func(t *testing.T) {
				t.Parallel()
				args := []string{"train", "../../" + e.File, "--data", dir, "--json", "--out", t.TempDir() + "/run", "--set", "engine.name=gorgonia"}
				for _, kv := range experiments.Small() {
					args = append(args, "--set", kv)
				}
				out, errs, _, err := execute(NewMetrix(), args...)
				require.NoError(t, err, errs)
				var r trainReport
				require.NoError(t, json.Unmarshal([]byte(out), &r), out)
				require.Equal(t, opened.Test.Queries(), r.Final.Metrics.Queries+r.Final.Metrics.Skipped)
			})
		}
	}
}
