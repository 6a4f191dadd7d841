// Package run holds the vocabulary that every part of a training run shares: who takes part, in
// which membership, at which step. The types are distinct so that a rank cannot be passed where a
// shard is meant.
package run

// ID names a run. It is part of NATS subjects and file names: letters, digits, '-' and '_' only.
type ID string

// Rank is a worker's position in the ring of one generation, 0 <= Rank < world size.
type Rank int

// Generation numbers the memberships of a run. Every join, leave or loss of a worker makes
// generation g+1; whatever carries an older generation is stale. The first is 1.
type Generation uint64

// Step counts optimizer updates. A run at step s has applied s updates; the next batch is batch s.
type Step int64

// Shard is one of the S parts of the global batch, 0 <= Shard < S. Which worker owns a shard
// changes nothing in a run.
type Shard int

// Shards is a contiguous range of shards [First, First+Count) owned by one worker.
type Shards struct {
	First Shard `json:"first"`
	Count int   `json:"count"`
}

// ValidID reports whether id can name a run: 1 to 64 letters, digits, '-' or '_'.
func ValidID(id ID) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for _, c := range id {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
