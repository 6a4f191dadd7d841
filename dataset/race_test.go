//go:build race

package dataset

// raceEnabled lets tests that only measure draw less under the race detector, which is ten times
// slower.
const raceEnabled = true
