package api

import (
	"encoding/json"
	"fmt"

	"github.com/metrixml/metrix/run"
)

// Limits of what is accepted from the wire.
const (
	MaxMessage = 1 << 20   // bytes of one message
	MaxRecipe  = 256 << 10 // bytes of Spec.Recipe
	MaxMetrics = 64 << 10  // bytes of Score.Metrics
	MaxReason  = 2 << 10   // bytes of a reason; longer ones are cut by the client
	MaxName    = 128       // bytes of a worker's or host's name
	MaxPath    = 4 << 10   // bytes of a checkpoint's path
	MaxShards  = 1 << 16
)

// Op names what a Command does.
type Op string

// The commands. Expire comes from the leader alone and is refused from the wire.
const (
	OpCreate  Op = "create"
	OpJoin    Op = "join"
	OpLeave   Op = "leave"
	OpRegroup Op = "regroup"
	OpCommit  Op = "commit"
	OpScore   Op = "score"
	OpFinish  Op = "finish"
	OpFail    Op = "fail"
	OpExpire  Op = "expire"
)

// Command is one change of the replicated state. Which fields count depends on Op.
type Command struct {
	ID         string         `json:"id"` // unique; a repeated id changes nothing
	Op         Op             `json:"op"`
	At         int64          `json:"at,omitempty"` // the leader's clock, milliseconds since 1970, stamped by the leader
	Run        run.ID         `json:"run,omitempty"`
	Spec       *Spec          `json:"spec,omitempty"`       // create
	Member     *Member        `json:"member,omitempty"`     // join
	Worker     string         `json:"worker,omitempty"`     // leave, regroup
	Generation run.Generation `json:"generation,omitempty"` // regroup
	Step       run.Step       `json:"step,omitempty"`       // finish
	Checkpoint *Checkpoint    `json:"checkpoint,omitempty"` // commit
	Score      *Score         `json:"score,omitempty"`      // score
	Reason     string         `json:"reason,omitempty"`     // regroup, fail, expire
	Leases     []Lease        `json:"leases,omitempty"`     // expire
}

// Lease is one membership, from one join on: a worker that joined again holds another.
type Lease struct {
	Run    run.ID `json:"run"`
	Worker string `json:"worker"`
	Joined uint64 `json:"joined"` // number of the command that made the member
}

// Beat says that a worker is alive and which plan it knows.
type Beat struct {
	Run      run.ID   `json:"run"`
	Worker   string   `json:"worker"`
	Revision uint64   `json:"revision"` // of the newest plan known, 0 for none
	Progress Progress `json:"progress"`
}

// Query asks for something without changing it. What is one of the Ask constants.
type Query struct {
	What string `json:"what"`
	Run  run.ID `json:"run,omitempty"`
}

// The questions.
const (
	AskSpec   = "spec"
	AskPlan   = "plan"
	AskStatus = "status"
)

// Reply answers a Command, a Beat or a Query.
type Reply struct {
	Error  *Error  `json:"error,omitempty"`
	Leader string  `json:"leader,omitempty"` // with CodeNotLeader: the node that may lead, if known
	Spec   *Spec   `json:"spec,omitempty"`
	Plan   *Plan   `json:"plan,omitempty"` // to a beat: only if the worker knows another revision
	Status *Status `json:"status,omitempty"`
}

// Hello answers a client that looks for the leader.
type Hello struct {
	ID      string `json:"id"`
	Leading bool   `json:"leading"` // leads and has applied everything committed before
}

// DecodeCommand reads a command from the wire or the log. It checks its form, not its meaning:
// that is Command.Validate.
func DecodeCommand(b []byte) (Command, error) { return decode[Command]("command", b) }

// DecodeBeat reads a beat.
func DecodeBeat(b []byte) (Beat, error) { return decode[Beat]("beat", b) }

// DecodeQuery reads a query.
func DecodeQuery(b []byte) (Query, error) { return decode[Query]("query", b) }

// DecodeReply reads a reply.
func DecodeReply(b []byte) (Reply, error) { return decode[Reply]("reply", b) }

// DecodePlan reads a pushed plan.
func DecodePlan(b []byte) (Plan, error) { return decode[Plan]("plan", b) }

func decode[T any](what string, b []byte) (T, error) {
	var v T
	if len(b) > MaxMessage {
		return v, Errorf(CodeInvalid, "a %s of %d bytes is longer than the %d allowed", what, len(b), MaxMessage)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, Errorf(CodeInvalid, "a %s cannot be read: %v", what, err)
	}
	return v, nil
}

// Encode writes a message.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("coordinator: encode %T: %w", v, err)
	}
	if len(b) > MaxMessage {
		return nil, Errorf(CodeInvalid, "a %T of %d bytes is longer than the %d allowed", v, len(b), MaxMessage)
	}
	return b, nil
}
