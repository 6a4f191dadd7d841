package coordinator

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/metrixml/metrix/coordinator/api"
)

// The commands on one run. Each leaves the record unchanged if it refuses, and raises the revision
// if it makes a new plan. Commit and score make none: workers need not hear of them.

func (r *record) recreate(cmd Command, count uint64) *api.Error {
	spec := cmd.Spec
	switch {
	case spec.Hash != r.Spec.Hash:
		return api.Errorf(api.CodeConflict, "run %s exists with recipe hash %.12s, not %.12s: give another run id or the same recipe",
			r.Spec.Run, r.Spec.Hash, spec.Hash)
	case spec.Shards != r.Spec.Shards:
		return api.Errorf(api.CodeConflict, "run %s exists with %d shards, not %d: give another run id or the same recipe",
			r.Spec.Run, r.Spec.Shards, spec.Shards)
	case !r.Phase.Over():
		return nil
	case !spec.Resume:
		return r.over("give another run id, or resume it")
	}
	r.Spec.MinWorkers = max(1, spec.MinWorkers)
	r.Members = nil
	r.Step = 0
	r.enter(api.Waiting, cmd, count)
	r.settle("the run was resumed", true, cmd, count)
	return nil
}

func (r *record) join(cmd Command, count uint64) *api.Error {
	if r.Phase.Over() {
		return r.over("create it again with resume before joining")
	}
	m := member{Member: *cmd.Member, Joined: count}
	if m.Weight == 0 {
		m.Weight = 1
	}
	m.Rank = api.NoRank
	reason := fmt.Sprintf("worker %s joined", m.Worker)
	if i := r.index(m.Worker); i >= 0 {
		old := &r.Members[i]
		if old.Host == m.Host && old.Weight == m.Weight {
			return nil
		}
		old.Host, old.Weight = m.Host, m.Weight
		r.settle(reason+" again with another host or weight", false, cmd, count)
		return nil
	}
	if len(r.Members) >= MaxMembers {
		return api.Errorf(api.CodeConflict, "run %s has %d members and takes no more: worker %s may join when one leaves",
			r.Spec.Run, MaxMembers, m.Worker)
	}
	r.Members = append(r.Members, m)
	if len(r.Members) > r.Spec.Shards {
		reason += " as a spare"
	}
	r.settle(reason, false, cmd, count)
	return nil
}

func (r *record) leave(cmd Command, count uint64) {
	r.drop(cmd, count, "left", func(m member) bool { return m.Worker == cmd.Worker })
}

func (r *record) expire(cmd Command, count uint64) bool {
	return r.drop(cmd, count, "sent no beat within the lease", func(m member) bool {
		return slices.Contains(cmd.Leases, api.Lease{Run: r.Spec.Run, Worker: m.Worker, Joined: m.Joined})
	})
}

// drop ends memberships and reports whether there were any. A run that is over keeps its plan
// otherwise: its reason is why it ended.
func (r *record) drop(cmd Command, count uint64, why string, gone func(member) bool) bool {
	var workers []string
	for _, m := range r.Members {
		if gone(m) {
			workers = append(workers, m.Worker)
		}
	}
	if len(workers) == 0 {
		return false
	}
	r.Members = slices.DeleteFunc(r.Members, gone)
	if r.Phase.Over() {
		r.Revision++
		return true
	}
	r.settle(names(workers)+" "+why, false, cmd, count)
	return true
}

// regroup starts a new generation unless somebody has already: every member of a broken ring asks.
func (r *record) regroup(cmd Command, count uint64) *api.Error {
	i := r.index(cmd.Worker)
	switch {
	case r.Phase.Over():
		return r.over("there is nothing to regroup")
	case i < 0:
		return api.Errorf(api.CodeNotMember, "worker %s is not a member of run %s: its lease ran out or it left, so join again",
			cmd.Worker, r.Spec.Run)
	case r.Members[i].Rank == api.NoRank || cmd.Generation != r.Generation:
		return nil
	}
	r.settle(fmt.Sprintf("worker %s asked for a new generation: %s", cmd.Worker, cmd.Reason), true, cmd, count)
	return nil
}

// commit records a checkpoint; the committed step never falls. The last writer of a step wins.
func (r *record) commit(cmd Command) *api.Error {
	if last := r.Checkpoint; last != nil && cmd.Checkpoint.Step < last.Step {
		return api.Errorf(api.CodeConflict, "run %s has committed the checkpoint of step %d; that of step %d is older",
			r.Spec.Run, last.Step, cmd.Checkpoint.Step)
	}
	checkpoint := *cmd.Checkpoint
	r.Checkpoint = &checkpoint
	return nil
}

// score keeps the last evaluation and the best; the earlier of two equal ones.
func (r *record) score(cmd Command) {
	score := *cmd.Score
	score.Metrics = compact(score.Metrics)
	r.Last = &score
	if r.Best == nil || score.RecallAt1 > r.Best.RecallAt1 {
		r.Best = &score
	}
}

func (r *record) finish(cmd Command, count uint64) *api.Error {
	switch r.Phase {
	case api.Finished:
		return nil
	case api.Failed:
		return r.over("resume it before finishing it")
	}
	r.end(api.Finished, fmt.Sprintf("finished at step %d", cmd.Step), cmd, count)
	r.Step = cmd.Step
	return nil
}

func (r *record) fail(cmd Command, count uint64) *api.Error {
	switch r.Phase {
	case api.Failed:
		return nil
	case api.Finished:
		return r.over("it cannot fail any more")
	}
	reason := cmd.Reason
	if reason == "" {
		reason = "failed without a reason given"
	}
	r.end(api.Failed, reason, cmd, count)
	return nil
}

// end closes the run. Members and ranks stay in the plan until they leave.
func (r *record) end(phase api.Phase, reason string, cmd Command, count uint64) {
	r.enter(phase, cmd, count)
	r.Revision++
	r.Reason = reason
}

func (r *record) over(remedy string) *api.Error {
	return api.Errorf(api.CodeRunOver, "run %s is %s (%s): %s", r.Spec.Run, r.Phase, r.Reason, remedy)
}

// compact removes the white space of JSON, so that equal metrics are equal bytes after a snapshot.
func compact(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	b, err := json.Marshal(raw)
	if err != nil { // Validate has seen that it is JSON
		return nil
	}
	return b
}
