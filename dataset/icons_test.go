package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// icons unpacks the shared set of real images.
func icons(t *testing.T) string {
	shared := os.Getenv("METRIX_SHARED")
	if shared == "" {
		t.Skip("METRIX_SHARED is not set; set it to the folder that holds data/icons.tgz to run this on real images")
	}
	f, err := os.Open(filepath.Join(shared, "data", "icons.tgz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			write(t, dir, h.Name, string(data))
		}
	}
}

func TestIcons(t *testing.T) {
	set, err := Open(filepath.Join(icons(t), "icons"), LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, LayoutSOP, set.Layout)
	r, err := Verify(t.Context(), set, VerifyOptions{})
	require.NoError(t, err)
	require.True(t, r.OK, r.String())
	require.Equal(t, 200, r.Train.Classes)
	require.Equal(t, 200, r.Test.Classes)
	require.Equal(t, 1252, r.Train.Images)
	require.Equal(t, 1303, r.Test.Images)
	require.Empty(t, r.Duplicates)
	require.Empty(t, r.Train.Single)
	require.Equal(t, Spread{4, 6.26, 19}, r.Train.PerClass)
}

// TestIconsPacked packs real images and demands the bits of the files.
func TestIconsPacked(t *testing.T) {
	set, err := Open(filepath.Join(icons(t), "icons"), LayoutAuto)
	require.NoError(t, err)
	d := Delivery{Store: 48}
	packed, _ := packOf(t, set, d)
	files, err := set.With(d)
	require.NoError(t, err)
	for i := range set.Test.Images {
		want, err := files.Test.Decode(i, Limits{})
		require.NoError(t, err)
		got, err := packed.Test.Decode(i, Limits{})
		require.NoError(t, err)
		require.True(t, bytes.Equal(want.Pix, got.Pix), set.Test.File(i))
	}
}
