package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/run"
)

// Client speaks to a group of coordinators. It finds the leader, repeats a command whose answer was
// lost with the same id, and follows a change of leader, until the context ends: give every call a
// context with a deadline unless it may wait for a leader for ever. A refusal (an *Error) is final
// and returned at once. A Client is safe for concurrent use and owns no goroutine besides those of
// Watch.
type Client struct {
	nc    *nats.Conn
	group string

	mu     sync.Mutex
	leader string // the node that led last, "" if unknown
}

// Dial returns a client of the group over nc, which stays the caller's. It sends nothing yet.
func Dial(nc *nats.Conn, group string) *Client { return &Client{nc: nc, group: group} }

// Create makes the run, or agrees that it exists with the same hash. Another hash under the same
// id is ErrConflict; a run that is over is ErrRunOver unless spec.Resume.
func (c *Client) Create(ctx context.Context, spec Spec) error {
	return c.command(ctx, Command{Op: OpCreate, Run: spec.Run, Spec: &spec})
}

// Describe returns the spec a run was created with; ErrUnknownRun if it was not.
func (c *Client) Describe(ctx context.Context, id run.ID) (Spec, error) {
	reply, err := c.query(ctx, Query{What: AskSpec, Run: id})
	if err == nil && reply.Spec == nil {
		err = fmt.Errorf("coordinator: describe run %s: the answer holds no spec", id)
	}
	if err != nil {
		return Spec{}, err
	}
	return *reply.Spec, nil
}

// Plan returns the run's current plan; ErrUnknownRun.
func (c *Client) Plan(ctx context.Context, id run.ID) (Plan, error) {
	reply, err := c.query(ctx, Query{What: AskPlan, Run: id})
	if err == nil && reply.Plan == nil {
		err = fmt.Errorf("coordinator: plan of run %s: the answer holds no plan", id)
	}
	if err != nil {
		return Plan{}, err
	}
	return *reply.Plan, nil
}

// Join makes the worker a member, ready to train. Joining twice is joining once. Watch must begin
// within the lease (about a second), or the membership ends. ErrUnknownRun, ErrRunOver.
func (c *Client) Join(ctx context.Context, id run.ID, m Member) error {
	return c.command(ctx, Command{Op: OpJoin, Run: id, Member: &m})
}

// Leave ends a membership at once; a supervisor that saw the worker's process die may call it too.
// Leaving without being a member is no error.
func (c *Client) Leave(ctx context.Context, id run.ID, worker string) error {
	return c.command(ctx, Command{Op: OpLeave, Run: id, Worker: worker})
}

// Regroup asks for a new generation with the same members, because a collective of generation gen
// failed. If gen is over already, nothing happens. ErrNotMember, ErrRunOver.
func (c *Client) Regroup(ctx context.Context, id run.ID, worker string, gen run.Generation, reason string) error {
	return c.command(ctx, Command{Op: OpRegroup, Run: id, Worker: worker, Generation: gen, Reason: clip(reason)})
}

// Commit records a checkpoint that was written whole. An older step than the committed one is
// ErrConflict.
func (c *Client) Commit(ctx context.Context, id run.ID, cp Checkpoint) error {
	return c.command(ctx, Command{Op: OpCommit, Run: id, Checkpoint: &cp})
}

// Score records an evaluation; the run keeps the best and the last.
func (c *Client) Score(ctx context.Context, id run.ID, s Score) error {
	return c.command(ctx, Command{Op: OpScore, Run: id, Score: &s})
}

// Finish ends the run well, at the given step. Finishing twice is finishing once.
func (c *Client) Finish(ctx context.Context, id run.ID, step run.Step) error {
	return c.command(ctx, Command{Op: OpFinish, Run: id, Step: step})
}

// Fail ends the run with a reason.
func (c *Client) Fail(ctx context.Context, id run.ID, reason string) error {
	return c.command(ctx, Command{Op: OpFail, Run: id, Reason: clip(reason)})
}

// Status returns what the leader knows.
func (c *Client) Status(ctx context.Context) (Status, error) {
	reply, err := c.query(ctx, Query{What: AskStatus})
	if err == nil && reply.Status == nil {
		err = fmt.Errorf("coordinator: status of group %s: the answer holds no status", c.group)
	}
	if err != nil {
		return Status{}, err
	}
	return *reply.Status, nil
}

// command sends cmd under a new id until a leader answered it.
func (c *Client) command(ctx context.Context, cmd Command) error {
	cmd.ID = rand.Text()
	what := fmt.Sprintf("%s run %s", cmd.Op, cmd.Run)
	if err := cmd.Validate(); err != nil {
		return fmt.Errorf("coordinator: %s: %w", what, err)
	}
	_, err := c.ask(ctx, what, SubjectCommand, cmd)
	return err
}

func (c *Client) query(ctx context.Context, q Query) (Reply, error) {
	what := q.What
	if q.Run != "" {
		what += " of run " + string(q.Run)
	}
	return c.ask(ctx, what, SubjectQuery, q)
}

// clip cuts a reason to what a command may carry.
func clip(reason string) string {
	reason = strings.ToValidUTF8(reason, "?")
	if len(reason) <= MaxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:MaxReason-3], "") + "..."
}
