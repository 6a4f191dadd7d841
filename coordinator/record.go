package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
	"github.com/metrixml/metrix/sampler"
)

// record is one run in the state. Its JSON is part of the snapshot.
type record struct {
	Spec       api.Spec        `json:"spec"`
	Phase      api.Phase       `json:"phase"`
	Generation run.Generation  `json:"generation"`
	Revision   uint64          `json:"revision"`
	Members    []member        `json:"members"` // in order of joining: those with a rank come first
	Reason     string          `json:"reason"`
	Checkpoint *api.Checkpoint `json:"checkpoint,omitempty"`
	Best       *api.Score      `json:"best,omitempty"`
	Last       *api.Score      `json:"last,omitempty"`
	Step       run.Step        `json:"step"`    // where the run finished
	Created    int64           `json:"created"` // milliseconds since 1970
	Since      int64           `json:"since"`   // when the phase began, likewise
	Began      uint64          `json:"began"`   // number of the command that began the phase
}

// member is a membership; Joined tells two of the same worker apart.
type member struct {
	api.Member
	Joined uint64 `json:"joined"`
}

func newRecord(cmd Command, count uint64) *record {
	spec := *cmd.Spec
	spec.Recipe = slices.Clone(spec.Recipe)
	spec.MinWorkers = max(1, spec.MinWorkers)
	spec.Resume = false
	return &record{
		Spec: spec, Phase: api.Waiting, Revision: 1, Created: cmd.At, Since: cmd.At, Began: count,
		Reason: waitingFor("the run was created", spec.MinWorkers),
	}
}

// index returns where the worker stands among the members, or -1.
func (r *record) index(worker string) int {
	return slices.IndexFunc(r.Members, func(m member) bool { return m.Worker == worker })
}

func (r *record) lease(i int) api.Lease {
	return api.Lease{Run: r.Spec.Run, Worker: r.Members[i].Worker, Joined: r.Members[i].Joined}
}

// plan copies what workers need to know.
func (r *record) plan() api.Plan {
	p := api.Plan{
		Run: r.Spec.Run, Generation: r.Generation, Revision: r.Revision, Phase: r.Phase,
		Members: make([]api.Member, len(r.Members)), Reason: r.Reason,
	}
	for i, m := range r.Members {
		p.Members[i] = m.Member
	}
	if r.Checkpoint != nil {
		checkpoint := *r.Checkpoint
		p.Checkpoint = &checkpoint
	}
	return p
}

// enter begins a phase.
func (r *record) enter(phase api.Phase, cmd Command, count uint64) {
	if r.Phase != phase {
		r.Phase, r.Since, r.Began = phase, cmd.At, count
	}
}

// settle makes the plan that follows from the members: the phase, the ranks, the shards. The
// generation rises unless the ring is the same as before, which is so when a spare comes or goes;
// again asks for a new one in any case.
//
//	members in order of joining   a  b  c  d  e        with 3 shards
//	rank                          0  1  2  -  -        d and e are spares
//	b leaves                      a     c  d  e
//	rank                          0     1  2  -        d is taken in: generation + 1
func (r *record) settle(reason string, again bool, cmd Command, count uint64) {
	before := r.ring()
	if r.Phase == api.Waiting && len(r.Members) >= r.Spec.MinWorkers {
		r.enter(api.Running, cmd, count)
	}
	if r.Phase == api.Running && len(r.Members) == 0 {
		r.enter(api.Waiting, cmd, count)
	}
	if err := r.assign(); err != nil {
		r.enter(api.Failed, cmd, count)
		reason = err.Error()
	}
	if r.Phase == api.Waiting {
		reason = waitingFor(reason, r.Spec.MinWorkers-len(r.Members))
	}
	r.Revision++
	r.Reason = reason
	if again || r.Phase == api.Waiting || !slices.Equal(before, r.ring()) {
		r.Generation++
	}
}

// assign gives ranks and shards to the members that train and takes them from the others.
func (r *record) assign() error {
	active := 0
	if r.Phase == api.Running {
		active = min(len(r.Members), r.Spec.Shards)
	}
	weights := make([]float64, active)
	for i := range r.Members {
		m := &r.Members[i]
		m.Rank, m.Shards = api.NoRank, run.Shards{}
		if i < active {
			m.Rank = run.Rank(i)
			weights[i] = m.Weight
		}
	}
	if active == 0 {
		return nil
	}
	shards, err := sampler.Assign(r.Spec.Shards, weights)
	if err != nil {
		return fmt.Errorf("run %s: assign %d shards to %d workers: %w", r.Spec.Run, r.Spec.Shards, active, err)
	}
	for i, s := range shards {
		r.Members[i].Shards = s
	}
	return nil
}

// seat is a place in the ring: who sits there and what he owns.
type seat struct {
	joined uint64
	shards run.Shards
}

// ring lists the seats by rank. Two equal rings need no new generation.
func (r *record) ring() []seat {
	var seats []seat
	for _, m := range r.Members {
		if m.Rank != api.NoRank {
			seats = append(seats, seat{joined: m.Joined, shards: m.Shards})
		}
	}
	return seats
}

func waitingFor(reason string, missing int) string {
	if missing == 1 {
		return reason + "; waiting for 1 more worker"
	}
	return fmt.Sprintf("%s; waiting for %d more workers", reason, missing)
}

// names joins workers for a sentence.
func names(workers []string) string {
	if len(workers) == 1 {
		return "worker " + workers[0]
	}
	return "workers " + strings.Join(workers, ", ")
}
