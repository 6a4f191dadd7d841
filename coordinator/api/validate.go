package api

import (
	"encoding/json"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/metrixml/metrix/run"
)

// Validate reports what is wrong with the command in itself, whatever the state: an *Error with
// CodeInvalid, or nil. Every replica must come to the same answer.
func (c *Command) Validate() *Error {
	if !printable(c.ID, 1, 64) {
		return Errorf(CodeInvalid, "a command needs an id of 1 to 64 printable characters")
	}
	if len(c.Reason) > MaxReason || !utf8.ValidString(c.Reason) {
		return Errorf(CodeInvalid, "a reason is at most %d bytes of UTF-8", MaxReason)
	}
	if c.Op == OpExpire {
		return validateLeases(c.Leases)
	}
	if !run.ValidID(c.Run) {
		return Errorf(CodeInvalid, "%.80q cannot name a run: use 1 to 64 letters, digits, '-' or '_'", c.Run)
	}
	switch c.Op {
	case OpCreate:
		return c.Spec.validate(c.Run)
	case OpJoin:
		return c.Member.validate()
	case OpLeave, OpRegroup:
		return validateWorker(c.Worker)
	case OpCommit:
		return c.Checkpoint.validate()
	case OpScore:
		return c.Score.validate()
	case OpFinish:
		return validateStep(c.Step)
	case OpFail:
		return nil
	}
	return Errorf(CodeInvalid, "%.40q is no command", c.Op)
}

func (s *Spec) validate(id run.ID) *Error {
	switch {
	case s == nil:
		return Errorf(CodeInvalid, "create needs a spec")
	case s.Run != id:
		return Errorf(CodeInvalid, "the command names run %s, its spec %.80q", id, s.Run)
	case !printable(s.Hash, 1, 128):
		return Errorf(CodeInvalid, "run %s needs the hash of its recipe, 1 to 128 characters", id)
	case len(s.Recipe) > MaxRecipe:
		return Errorf(CodeInvalid, "the recipe of run %s has %d bytes, more than the %d allowed", id, len(s.Recipe), MaxRecipe)
	case s.Shards < 1 || s.Shards > MaxShards:
		return Errorf(CodeInvalid, "run %s has %d shards: give 1 to %d", id, s.Shards, MaxShards)
	case s.MinWorkers < 0 || s.MinWorkers > s.Shards:
		return Errorf(CodeInvalid, "run %s waits for %d workers but has %d shards: give 0 to %d", id, s.MinWorkers, s.Shards, s.Shards)
	}
	return nil
}

func (m *Member) validate() *Error {
	if m == nil {
		return Errorf(CodeInvalid, "join needs a member")
	}
	if err := validateWorker(m.Worker); err != nil {
		return err
	}
	if !printable(m.Host, 0, MaxName) {
		return Errorf(CodeInvalid, "the host of worker %s is at most %d printable characters", m.Worker, MaxName)
	}
	if m.Weight != 0 && !(m.Weight >= 0.001 && m.Weight <= 1000) {
		return Errorf(CodeInvalid, "worker %s has weight %g: give 0.001 to 1000, or 0 for 1", m.Worker, m.Weight)
	}
	return nil
}

func (c *Checkpoint) validate() *Error {
	if c == nil {
		return Errorf(CodeInvalid, "commit needs a checkpoint")
	}
	if !printable(c.Path, 1, MaxPath) || !printable(c.Hash, 0, 128) {
		return Errorf(CodeInvalid, "the checkpoint of step %d needs a path of 1 to %d and a hash of at most 128 printable characters", c.Step, MaxPath)
	}
	return validateStep(c.Step)
}

func (s *Score) validate() *Error {
	switch {
	case s == nil:
		return Errorf(CodeInvalid, "score needs a score")
	case math.IsNaN(s.RecallAt1) || math.IsInf(s.RecallAt1, 0):
		return Errorf(CodeInvalid, "the recall of step %d is %g, not a finite number", s.Step, s.RecallAt1)
	case len(s.Metrics) > MaxMetrics:
		return Errorf(CodeInvalid, "the metrics of step %d have %d bytes, more than the %d allowed", s.Step, len(s.Metrics), MaxMetrics)
	case len(s.Metrics) > 0 && !json.Valid(s.Metrics):
		return Errorf(CodeInvalid, "the metrics of step %d are not JSON", s.Step)
	}
	return validateStep(s.Step)
}

func validateLeases(leases []Lease) *Error {
	for _, l := range leases {
		if !run.ValidID(l.Run) {
			return Errorf(CodeInvalid, "a lease names %.80q, which is no run", l.Run)
		}
		if err := validateWorker(l.Worker); err != nil {
			return err
		}
	}
	return nil
}

func validateWorker(worker string) *Error {
	if !printable(worker, 1, MaxName) {
		return Errorf(CodeInvalid, "%.80q cannot name a worker: use 1 to %d printable characters", worker, MaxName)
	}
	return nil
}

func validateStep(step run.Step) *Error {
	if step < 0 {
		return Errorf(CodeInvalid, "step %d is negative", step)
	}
	return nil
}

// printable reports whether s has lo to hi bytes of printable UTF-8.
func printable(s string, lo, hi int) bool {
	if len(s) < lo || len(s) > hi || !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
