package dataset

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenFolderSplitsClassesInHalf(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"003.c/x.jpg", "001.a/2.jpg", "001.a/1.PNG", "002.b/deep/y.JPEG",
		"002.b/z.jpg", "005.e/1.png", "004.d/1.jpg", "README.txt", ".git/a.jpg", "empty/note.txt",
		"__MACOSX/a.jpg", "001.a/.DS_Store", "001.a/Thumbs.db"} {
		write(t, dir, name, "not looked at")
	}
	write(t, dir, "001.a/3", "\x89PNG\r\n\x1a\n...") // no extension: told by content
	set, err := Open(dir, LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, LayoutFolder, set.Layout)
	require.Equal(t, []string{"001.a", "002.b", "003.c"}, set.Train.Classes, "the larger half trains")
	require.Equal(t, []Image{{1, "001.a/1.PNG", 0, 0}, {2, "001.a/2.jpg", 0, 0}, {3, "001.a/3", 0, 0},
		{4, "002.b/deep/y.JPEG", 1, 0}, {5, "002.b/z.jpg", 1, 0}, {6, "003.c/x.jpg", 2, 0}}, set.Train.Images)
	require.Equal(t, []string{"004.d", "005.e"}, set.Test.Classes)
	require.Equal(t, []Image{{7, "004.d/1.jpg", 0, 0}, {8, "005.e/1.png", 1, 0}}, set.Test.Images)
}

func TestOpenFolderTrainAndTest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg", "elsewhere/d.jpg"} {
		write(t, dir, name, "not looked at")
	}
	set, err := Open(dir, LayoutFolder)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, set.Train.Classes)
	require.Equal(t, []Image{{3, "c/1.jpg", 0, 0}}, set.Test.Images)
	require.Equal(t, filepath.Join(dir, "test", "c", "1.jpg"), set.Test.File(0))

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "test", "c")))
	_, err = Open(dir, LayoutFolder)
	require.ErrorContains(t, err, "test holds no folder with JPEG or PNG images")
	require.NoError(t, os.Remove(filepath.Join(dir, "test")))
	_, err = Open(dir, LayoutFolder)
	require.ErrorContains(t, err, "test is missing")
}

func TestOpenFolderFollowsLinksButNotInCircles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "elsewhere/a/1.jpg", "")
	write(t, dir, "set/b/1.jpg", "")
	require.NoError(t, os.Symlink(filepath.Join(dir, "elsewhere", "a"), filepath.Join(dir, "set", "a")))
	set, err := Open(filepath.Join(dir, "set"), LayoutAuto)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, set.Train.Classes)
	require.NoError(t, os.Symlink(filepath.Join(dir, "set"), filepath.Join(dir, "set", "b", "loop")))
	_, err = Open(filepath.Join(dir, "set"), LayoutAuto)
	require.ErrorContains(t, err, "remove the link that leads in a circle")
}
