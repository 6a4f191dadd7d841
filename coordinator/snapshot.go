package coordinator

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/metrixml/metrix/coordinator/api"
)

// snapshotFormat is raised when an older program could not read the snapshot.
const snapshotFormat = 1

// snapshot is the state as it is stored.
type snapshot struct {
	Format int       `json:"format"`
	Count  uint64    `json:"count"`
	Runs   []*record `json:"runs"`
	Seen   []answer  `json:"seen"`
}

// Snapshot writes the whole state. Equal states give equal bytes.
func (s *State) Snapshot() ([]byte, error) {
	b, err := json.Marshal(snapshot{Format: snapshotFormat, Count: s.count, Runs: s.runs, Seen: s.seen.list()})
	if err != nil {
		return nil, fmt.Errorf("coordinator: write snapshot: %w", err)
	}
	return b, nil
}

// Restore replaces the state by what Snapshot wrote; on an error the state is unchanged.
func (s *State) Restore(b []byte) error {
	var snap snapshot
	if err := json.Unmarshal(b, &snap); err != nil {
		return fmt.Errorf("coordinator: read snapshot: %w", err)
	}
	if snap.Format != snapshotFormat {
		return fmt.Errorf("coordinator: read snapshot: it has format %d, this program reads %d: use the program that wrote it, or a newer one",
			snap.Format, snapshotFormat)
	}
	fresh := State{count: snap.Count, runs: snap.Runs}
	for i, r := range snap.Runs {
		if r == nil {
			return fmt.Errorf("coordinator: read snapshot: run %d is missing", i)
		}
		create := Command{ID: "snapshot", Op: api.OpCreate, Run: r.Spec.Run, Spec: &r.Spec}
		if err := create.Validate(); err != nil {
			return fmt.Errorf("coordinator: read snapshot: run %d: %w", i, err)
		}
	}
	if !slices.IsSortedFunc(snap.Runs, func(a, b *record) int { return byID(a, b.Spec.Run) }) {
		return fmt.Errorf("coordinator: read snapshot: the runs are not in order of their ids")
	}
	for _, a := range snap.Seen {
		fresh.seen.remember(a.ID, a.Err)
	}
	*s = fresh
	return nil
}
