package coordinator

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/run"
)

// TestReplicasAgree applies random logs to three replicas: one gets the commands as they
// are, two through the wire format, and one of these is restored from a snapshot now and then. They stay equal to the
// byte, and every plan on the way keeps the invariants of the package comment.
func TestReplicasAgree(t *testing.T) {
	running := 0
	for seed := range uint64(12) {
		r := draw.Of(seed, draw.Test)
		var plain, restored, wired State
		before := map[run.ID]api.Plan{}
		for i := range 300 {
			cmd := randomCommand(r, &plain, i)
			result := plain.Apply(cmd)
			for _, s := range []*State{&restored, &wired} {
				if got := s.Apply(overTheWire(t, cmd)); !reflect.DeepEqual(result, got) {
					t.Fatalf("seed %d, command %d: %+v: one replica says %+v, another %+v", seed, i, cmd, result, got)
				}
			}
			if r.IntN(20) == 0 {
				restored = throughSnapshot(t, &restored)
			}
			for _, id := range result.Changed {
				before[id] = checkPlan(t, &plain, id, before[id])
				running += before[id].World()
			}
		}
		want, err := plain.Snapshot()
		require.NoError(t, err)
		for _, s := range []*State{&restored, &wired} {
			got, err := s.Snapshot()
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "seed %d", seed)
		}
	}
	require.Greater(t, running, 1000, "the random commands must lead somewhere")
}

// checkPlan checks one plan by itself and against the plan before it.
func checkPlan(t *testing.T, s *State, id run.ID, before api.Plan) api.Plan {
	p, ok := s.Plan(id)
	require.True(t, ok)
	spec, _ := s.Spec(id)
	require.Greater(t, p.Revision, before.Revision)
	require.GreaterOrEqual(t, p.Generation, before.Generation)
	if ringOf(p) != ringOf(before) && !p.Phase.Over() {
		require.Greater(t, p.Generation, before.Generation, "%+v\n%+v", before, p)
	}
	if p.Phase == api.Waiting {
		require.Zero(t, p.World())
	}
	if p.Phase != api.Running {
		return p
	}
	require.Equal(t, min(len(p.Members), spec.Shards), p.World())
	next := run.Shard(0)
	for i, m := range p.Members {
		if i >= p.World() {
			require.Equal(t, api.NoRank, m.Rank)
			require.Zero(t, m.Shards.Count)
			continue
		}
		require.Equal(t, run.Rank(i), m.Rank)
		require.Equal(t, next, m.Shards.First)
		require.Positive(t, m.Shards.Count)
		next += run.Shard(m.Shards.Count)
	}
	require.Equal(t, run.Shard(spec.Shards), next, "every shard has one owner")
	return p
}

func ringOf(p api.Plan) string {
	ring := ""
	for _, m := range p.Members {
		if m.Rank != api.NoRank {
			ring += fmt.Sprint(m.Worker, m.Shards)
		}
	}
	return ring
}

var randomOps = []api.Op{api.OpCreate, api.OpCreate, api.OpCreate, api.OpCreate, api.OpJoin, api.OpJoin, api.OpJoin, api.OpJoin,
	api.OpJoin, api.OpJoin, api.OpJoin, api.OpJoin, api.OpJoin, api.OpJoin, api.OpLeave, api.OpLeave, api.OpExpire,
	api.OpRegroup, api.OpCommit, api.OpScore, api.OpFinish, api.OpFail, "nonsense"}

// randomCommand draws a command on one of three runs and six workers; one in ten repeats an id.
func randomCommand(r *draw.Rand, s *State, i int) Command {
	id := run.ID(fmt.Sprintf("run%d", r.IntN(3)))
	worker := string(rune('a' + r.IntN(6)))
	cmd := Command{ID: fmt.Sprint(i), Op: randomOps[r.IntN(len(randomOps))], Run: id, At: int64(i)}
	if r.IntN(10) == 0 {
		cmd.ID = fmt.Sprint(r.IntN(i + 1))
	}
	plan, _ := s.Plan(id)
	switch cmd.Op {
	case api.OpCreate:
		cmd.Spec = &api.Spec{Run: id, Hash: "h", Recipe: []byte{1, 2}, Shards: 1 + 2*int(id[3]-'0'), MinWorkers: r.IntN(2), Resume: r.IntN(2) == 0}
	case api.OpJoin:
		cmd.Member = &api.Member{Worker: worker, Weight: float64(r.IntN(4))}
	case api.OpLeave:
		cmd.Worker = worker
	case api.OpExpire:
		leases := s.Leases()
		cmd.Leases = slices.DeleteFunc(leases, func(api.Lease) bool { return r.IntN(3) > 0 })
	case api.OpRegroup:
		cmd.Worker, cmd.Reason = worker, "because"
		cmd.Generation = plan.Generation - run.Generation(min(uint64(plan.Generation), uint64(r.IntN(2))))
	case api.OpCommit:
		cmd.Checkpoint = &api.Checkpoint{Step: run.Step(i - r.IntN(9)), Path: "/out"}
	case api.OpScore:
		cmd.Score = &api.Score{Step: run.Step(i), RecallAt1: r.Float64(), Metrics: []byte(`{ "k": [1, 2] }`)}
	case api.OpFinish:
		cmd.Step = run.Step(i)
	}
	return cmd
}

func overTheWire(t *testing.T, cmd Command) Command {
	b, err := api.Encode(cmd)
	if err != nil {
		return cmd
	}
	out, err := api.DecodeCommand(b)
	require.NoError(t, err)
	return out
}

func throughSnapshot(t *testing.T, s *State) State {
	b, err := s.Snapshot()
	require.NoError(t, err)
	var out State
	require.NoError(t, out.Restore(b))
	return out
}

// TestBounds fills the state beyond its limits.
func TestBounds(t *testing.T) {
	var s State
	n := 0
	apply := func(cmd Command) Result {
		n++
		cmd.ID = fmt.Sprint(n)
		return s.Apply(cmd)
	}
	create := func(id run.ID) Result {
		return apply(Command{Op: api.OpCreate, Run: id, Spec: &api.Spec{Run: id, Hash: "h", Shards: 2}})
	}
	for i := range MaxRuns {
		require.Nil(t, create(run.ID(fmt.Sprintf("r%03d", i))).Err)
	}
	require.ErrorIs(t, create("more").Err, api.ErrConflict, "no run is over")
	require.Nil(t, apply(Command{Op: api.OpFinish, Run: "r007"}).Err)
	require.Nil(t, apply(Command{Op: api.OpFinish, Run: "r003"}).Err)
	require.Nil(t, create("more").Err)
	_, known := s.Plan("r007")
	require.False(t, known, "the run over longest has made room")

	for i := range MaxMembers {
		require.Nil(t, apply(Command{Op: api.OpJoin, Run: "more", Member: &api.Member{Worker: fmt.Sprint("w", i)}}).Err)
	}
	require.ErrorIs(t, apply(Command{Op: api.OpJoin, Run: "more", Member: &api.Member{Worker: "x"}}).Err, api.ErrConflict)

	for range 2 * MaxRemember {
		apply(Command{Op: api.OpScore, Run: "more", Score: &api.Score{}})
	}
	require.Len(t, s.seen.order, MaxRemember)
	require.Len(t, s.seen.answers, MaxRemember)
	again := throughSnapshot(t, &s)
	require.Equal(t, s.seen.list(), again.seen.list())
	require.True(t, again.Apply(Command{ID: fmt.Sprint(n), Op: api.OpScore, Run: "more", Score: &api.Score{}}).Repeated)
}

// TestRestoreRefuses keeps the state when a snapshot cannot be read.
func TestRestoreRefuses(t *testing.T) {
	var s State
	require.Nil(t, s.Apply(Command{ID: "1", Op: api.OpCreate, Run: "demo", Spec: &api.Spec{Run: "demo", Hash: "h", Shards: 2}}).Err)
	before, err := s.Snapshot()
	require.NoError(t, err)
	for _, bad := range []string{``, `{`, `{"format":2}`, `{"format":1,"runs":[null]}`,
		`{"format":1,"runs":[{"spec":{"run":"a","hash":"h","shards":-1}}]}`,
		`{"format":1,"runs":[{"spec":{"run":"b","hash":"h","shards":2}},{"spec":{"run":"a","hash":"h","shards":2}}]}`,
	} {
		require.Error(t, s.Restore([]byte(bad)), bad)
	}
	after, err := s.Snapshot()
	require.NoError(t, err)
	require.Equal(t, before, after)
}
