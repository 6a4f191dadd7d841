//go:build !unix

package dataset

import (
	"errors"
	"os"
)

// mapFile fails: images are read one by one.
func mapFile(*os.File, int64) ([]byte, error) {
	return nil, errors.New("files are not mapped on this system")
}

func unmapFile([]byte) error { return nil }
