package coordinator

import (
	"slices"
	"strings"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

// Bounds of the replicated state. Reaching one is a refusal or the oldest entry's end, never growth.
const (
	MaxRuns     = 256  // runs kept; a new one takes the place of the run that has been over longest
	MaxMembers  = 1024 // members of one run
	MaxRemember = 4096 // command ids remembered
)

// Command is one change of the state, as it stands in the log.
type Command = api.Command

// State is everything the coordinators of a group agree on. It changes only by Apply, which depends
// on nothing but the state and the command: replicas that apply the same commands in the same order
// are equal to the byte (see Snapshot). The zero value is an empty group. State is not safe for
// concurrent use.
type State struct {
	count uint64    // commands applied; numbers the memberships
	runs  []*record // sorted by id
	seen  seen
}

// Result is what a command came to.
type Result struct {
	Err      *api.Error // a refusal; the state is unchanged
	Changed  []run.ID   // runs with a new plan, sorted
	Repeated bool       // the id was known: Err is the first answer, nothing was done
}

// Apply carries out one command. It never fails otherwise than by a refusal, whatever the command
// holds.
func (s *State) Apply(cmd Command) Result {
	if err := cmd.Validate(); err != nil {
		return Result{Err: err}
	}
	if answer, ok := s.seen.answer(cmd.ID); ok {
		return Result{Err: answer, Repeated: true}
	}
	s.count++
	result := s.apply(cmd)
	s.seen.remember(cmd.ID, result.Err)
	return result
}

func (s *State) apply(cmd Command) Result {
	switch cmd.Op {
	case api.OpExpire:
		return s.expire(cmd)
	case api.OpCreate:
		return s.create(cmd)
	}
	r := s.find(cmd.Run)
	if r == nil {
		return Result{Err: unknownRun(cmd.Run)}
	}
	before := r.Revision
	var err *api.Error
	switch cmd.Op {
	case api.OpJoin:
		err = r.join(cmd, s.count)
	case api.OpLeave:
		r.leave(cmd, s.count)
	case api.OpRegroup:
		err = r.regroup(cmd, s.count)
	case api.OpCommit:
		err = r.commit(cmd)
	case api.OpScore:
		r.score(cmd)
	case api.OpFinish:
		err = r.finish(cmd, s.count)
	case api.OpFail:
		err = r.fail(cmd, s.count)
	}
	result := Result{Err: err}
	if r.Revision != before {
		result.Changed = []run.ID{r.Spec.Run}
	}
	return result
}

// create makes a run, agrees with the one that is there, or opens one that is over again.
func (s *State) create(cmd Command) Result {
	if r := s.find(cmd.Run); r != nil {
		before := r.Revision
		if err := r.recreate(cmd, s.count); err != nil || r.Revision == before {
			return Result{Err: err}
		}
		return Result{Changed: []run.ID{cmd.Run}}
	}
	if len(s.runs) >= MaxRuns && !s.forgetOldest() {
		return Result{Err: api.Errorf(api.CodeConflict,
			"the group keeps %d runs and none of them is over: finish or fail one before creating run %s", MaxRuns, cmd.Run)}
	}
	i, _ := slices.BinarySearchFunc(s.runs, cmd.Run, byID)
	s.runs = slices.Insert(s.runs, i, newRecord(cmd, s.count))
	return Result{Changed: []run.ID{cmd.Run}}
}

// forgetOldest drops the run that has been over longest and reports whether there was one.
func (s *State) forgetOldest() bool {
	oldest := -1
	for i, r := range s.runs {
		if r.Phase.Over() && (oldest < 0 || r.Began < s.runs[oldest].Began) {
			oldest = i
		}
	}
	if oldest >= 0 {
		s.runs = slices.Delete(s.runs, oldest, oldest+1)
	}
	return oldest >= 0
}

// expire ends memberships whose leases ran out: one new generation per run, however many it lost.
func (s *State) expire(cmd Command) Result {
	var result Result
	for _, r := range s.runs {
		if r.expire(cmd, s.count) {
			result.Changed = append(result.Changed, r.Spec.Run)
		}
	}
	return result
}

// find returns the run's record or nil.
func (s *State) find(id run.ID) *record {
	i, ok := slices.BinarySearchFunc(s.runs, id, byID)
	if !ok {
		return nil
	}
	return s.runs[i]
}

func byID(r *record, id run.ID) int { return strings.Compare(string(r.Spec.Run), string(id)) }

// Plan returns the run's current plan; nothing in it is shared with the state.
func (s *State) Plan(id run.ID) (api.Plan, bool) {
	r := s.find(id)
	if r == nil {
		return api.Plan{}, false
	}
	return r.plan(), true
}

// Spec returns what the run was created with.
func (s *State) Spec(id run.ID) (api.Spec, bool) {
	r := s.find(id)
	if r == nil {
		return api.Spec{}, false
	}
	spec := r.Spec
	spec.Recipe = slices.Clone(spec.Recipe)
	return spec, true
}

// Leases returns every membership of every run, by run, then in order of joining.
func (s *State) Leases() []api.Lease {
	var leases []api.Lease
	for _, r := range s.runs {
		for i := range r.Members {
			leases = append(leases, r.lease(i))
		}
	}
	return leases
}

func unknownRun(id run.ID) *api.Error {
	return api.Errorf(api.CodeUnknownRun, "run %s is unknown: create it first", id)
}
