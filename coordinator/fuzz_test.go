package coordinator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

// FuzzApply feeds the state whatever can be read as a command: it answers, keeps its invariants and
// survives a snapshot.
func FuzzApply(f *testing.F) {
	for _, cmd := range seedCommands() {
		b, err := api.Encode(cmd)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := api.DecodeCommand(data)
		if err != nil {
			return
		}
		var s State
		for _, seed := range seedCommands() {
			s.Apply(seed)
		}
		before, _ := s.Plan("demo")
		result := s.Apply(cmd)
		if after, ok := s.Plan("demo"); ok && after.Revision != before.Revision {
			checkPlan(t, &s, "demo", before)
		}
		if result.Err != nil {
			require.Empty(t, result.Changed)
		}
		again := throughSnapshot(t, &s)
		first, err := s.Snapshot()
		require.NoError(t, err)
		second, err := again.Snapshot()
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

func seedCommands() []Command {
	return []Command{
		{ID: "1", Op: api.OpCreate, Run: "demo", Spec: &api.Spec{Run: "demo", Hash: "h", Recipe: []byte("r"), Shards: 3}},
		{ID: "2", Op: api.OpJoin, Run: "demo", Member: &api.Member{Worker: "a", Weight: 2}},
		{ID: "3", Op: api.OpJoin, Run: "demo", Member: &api.Member{Worker: "b"}},
		{ID: "4", Op: api.OpCommit, Run: "demo", Checkpoint: &api.Checkpoint{Step: 3, Path: "/out"}},
		{ID: "5", Op: api.OpScore, Run: "demo", Score: &api.Score{Step: 3, RecallAt1: 0.5, Metrics: []byte(`{"a": "<"}`)}},
		{ID: "6", Op: api.OpRegroup, Run: "demo", Worker: "a", Generation: 2, Reason: "stalled"},
		{ID: "7", Op: api.OpExpire, Leases: []api.Lease{{Run: "demo", Worker: "a", Joined: 2}}},
	}
}

// FuzzRestore reads snapshots: an error or a state, never a panic.
func FuzzRestore(f *testing.F) {
	var s State
	for _, cmd := range seedCommands() {
		s.Apply(cmd)
	}
	b, err := s.Snapshot()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"format":1,"runs":[{"spec":{"run":"demo","hash":"h","shards":3},"phase":"running","members":[{"worker":"a","rank":7,"weight":-1}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s State
		if s.Restore(data) != nil {
			return
		}
		for _, cmd := range seedCommands() {
			cmd.ID = "again" + cmd.ID
			s.Apply(cmd)
		}
		_, err := s.Snapshot()
		require.NoError(t, err)
	})
}
