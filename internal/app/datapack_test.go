package app

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/internal/cli"
)

// runPack runs `metrix data pack` in this process.
func runPack(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := newDataPack()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func TestDataPack(t *testing.T) {
	dir := t.TempDir()
	files, pack := filepath.Join(dir, "files"), filepath.Join(dir, "pack")
	require.NoError(t, dataset.Synth(files, dataset.SynthConfig{Classes: 2, Images: 3, Side: 32, Seed: 1}, nil))
	out, err := runPack(t.Context(), files, pack, "--side", "24")
	require.NoError(t, err)
	require.Contains(t, out, "data.store: 24 and data.decoder: go")
	set, err := dataset.Open(pack, "auto")
	require.NoError(t, err)
	made, packed := set.Packed()
	require.True(t, packed)
	require.Equal(t, dataset.Delivery{Store: 24, Decoder: dataset.DecoderGo}, made)
	require.NoError(t, set.Close())

	_, err = runPack(t.Context(), files, pack)
	require.ErrorContains(t, err, "is there already; remove it or give another folder")
	for want, args := range map[string][]string{
		"store is -1":                          {files, pack + "2", "--side", "-1"},
		`unknown decoder "fast"`:               {files, pack + "2", "--decoder", "fast"},
		"does not exist":                       {filepath.Join(dir, "none"), pack + "2"},
		"is packed with side 24, but the reci": {pack, pack + "2"},
		"is a pack already":                    {pack, pack + "2", "--side", "24"},
	} {
		_, err := runPack(t.Context(), args...)
		require.ErrorContains(t, err, want)
		if want != "is a pack already" {
			require.Equal(t, cli.ExitUsage, cli.ExitCode(err), want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = runPack(ctx, files, pack+"2")
	require.Equal(t, cli.ExitInterrupted, cli.ExitCode(err))
}
