//go:build !race

package onednn

// underRace says whether the race detector makes long loops in Go ten times slower.
const underRace = false
