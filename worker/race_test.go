//go:build race

package worker

// raceEnabled lets tests of many runs make fewer under the race detector, which is ten times slower.
const raceEnabled = true
