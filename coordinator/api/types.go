package api

import (
	"encoding/json"
	"time"

	"github.com/metrixml/metrix/run"
)

// NoRank is the rank of a member that does not train in this plan: the run still waits, or the
// member is a spare.
const NoRank run.Rank = -1

// Phase is where a run is in its life.
type Phase string

// The life of a run: waiting -> running -> finished or failed; a run that lost all its members
// waits again.
const (
	Waiting  Phase = "waiting"
	Running  Phase = "running"
	Finished Phase = "finished"
	Failed   Phase = "failed"
)

// Over reports whether the run has ended, well or not.
func (p Phase) Over() bool { return p == Finished || p == Failed }

// Spec describes a run when it is created; nothing of it changes afterwards, except that a resume
// may bring another MinWorkers.
type Spec struct {
	Run        run.ID `json:"run"`
	Recipe     []byte `json:"recipe"`           // at most MaxRecipe bytes, opaque to the coordinator
	Hash       string `json:"hash"`             // of what decides the run; the same run is the same hash
	Shards     int    `json:"shards"`           // S, 1..MaxShards
	MinWorkers int    `json:"min_workers"`      // training starts once so many joined; 0 means 1, at most Shards
	Resume     bool   `json:"resume,omitempty"` // a finished or failed run with this hash goes back to waiting
}

// Member is a worker that joined a run. A joining worker fills in Worker, Host and Weight; Rank and
// Shards are the coordinator's answer in a Plan.
type Member struct {
	Worker string     `json:"worker"`           // unique instance id, 1..128 printable characters
	Host   string     `json:"host,omitempty"`   // where it runs, for people
	Weight float64    `json:"weight,omitempty"` // relative speed, 0.001..1000; 0 means 1. Faster workers own more shards
	Rank   run.Rank   `json:"rank"`             // NoRank while it does not train
	Shards run.Shards `json:"shards"`           // owned shards; Count is 0 without a rank
}

// Plan says who trains. It is immutable; every change makes a new one with a higher Revision.
type Plan struct {
	Run        run.ID         `json:"run"`
	Generation run.Generation `json:"generation"` // rises whenever ranks or shards may have changed
	Revision   uint64         `json:"revision"`   // rises with every change of generation, phase or members
	Phase      Phase          `json:"phase"`
	Members    []Member       `json:"members"`              // in order of joining; ranks 0..World()-1 come first, then spares
	Checkpoint *Checkpoint    `json:"checkpoint,omitempty"` // the last one committed when the plan was made
	Reason     string         `json:"reason"`               // why this plan replaced the one before, for people
}

// World is the number of members that train: the size of the ring.
func (p Plan) World() int {
	n := 0
	for _, m := range p.Members {
		if m.Rank != NoRank {
			n++
		}
	}
	return n
}

// Member returns the worker's entry and whether it is a member at all.
func (p Plan) Member(worker string) (Member, bool) {
	for _, m := range p.Members {
		if m.Worker == worker {
			return m, true
		}
	}
	return Member{Rank: NoRank}, false
}

// Has reports whether the worker is a member, with or without a rank. A worker that is not must
// join again.
func (p Plan) Has(worker string) bool {
	_, ok := p.Member(worker)
	return ok
}

// Rank returns the worker's rank and whether it has one: false for a spare, for everybody while the
// run waits, and for a worker that is not a member.
func (p Plan) Rank(worker string) (run.Rank, bool) {
	m, _ := p.Member(worker)
	return m.Rank, m.Rank != NoRank
}

// Checkpoint names a checkpoint that was written whole.
type Checkpoint struct {
	Step run.Step `json:"step"`
	Path string   `json:"path"` // as the workers see it
	Hash string   `json:"hash"`
}

// Score is the result of one evaluation. The run keeps the best by RecallAt1 and the last.
type Score struct {
	Step      run.Step        `json:"step"`
	RecallAt1 float64         `json:"recall_at_1"`       // finite
	Metrics   json.RawMessage `json:"metrics,omitempty"` // any JSON, at most MaxMetrics bytes
}

// Progress is what a worker tells with every beat. It stays in the leader's memory.
type Progress struct {
	Step            run.Step           // updates applied
	Loss            float64            // global loss of the last step; may be NaN
	ImagesPerSecond float64            // this worker's own rate
	Phases          map[string]float64 // seconds by phase of the step
}

// Status is what the leader knows about the group and its runs.
type Status struct {
	Group  string      `json:"group"`
	Leader string      `json:"leader"` // node id
	Term   uint64      `json:"term"`
	Index  uint64      `json:"index"` // last log entry applied
	Nodes  []Node      `json:"nodes"`
	Runs   []RunStatus `json:"runs"` // by id
}

// Node is a coordinator of the group.
type Node struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Leader  bool   `json:"leader"`
}

// RunStatus is one run as the leader sees it.
type RunStatus struct {
	Run             run.ID         `json:"run"`
	Hash            string         `json:"hash"`
	Phase           Phase          `json:"phase"`
	Generation      run.Generation `json:"generation"`
	Reason          string         `json:"reason"`
	Shards          int            `json:"shards"`
	MinWorkers      int            `json:"min_workers"`
	Created         time.Time      `json:"created"`
	Since           time.Time      `json:"since"` // when the phase began
	Members         []MemberStatus `json:"members"`
	Step            run.Step       `json:"step"`              // the most advanced member's, or where the run ended
	Loss            Real           `json:"loss"`              // of that member
	ImagesPerSecond float64        `json:"images_per_second"` // sum over the members that train
	Checkpoint      *Checkpoint    `json:"checkpoint,omitempty"`
	Best            *Score         `json:"best,omitempty"`
	Last            *Score         `json:"last,omitempty"`
}

// MemberStatus is a member with what its beats said.
type MemberStatus struct {
	Member
	Progress Progress `json:"progress"`
	Silence  float64  `json:"silence"` // seconds since the last beat
}
