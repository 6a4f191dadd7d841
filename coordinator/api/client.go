package api

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/run"
)

// Interval is the time between two beats of a watching worker.
const Interval = 150 * time.Millisecond

// Client speaks to a group of coordinators. It finds the leader, repeats a command whose answer was
// lost with the same id, and follows a change of leader, until the context ends: give every call a
// context with a deadline unless it may wait for a leader for ever. A refusal (an *Error) is final
// and returned at once. A Client is safe for concurrent use and owns no goroutine besides those of
// Watch.
type Client struct {
	nc    *nats.Conn
	group string
}

// Dial returns a client of the group over nc, which stays the caller's. It sends nothing yet.
func Dial(nc *nats.Conn, group string) *Client { return &Client{nc: nc, group: group} }

// Create makes the run, or agrees that it exists with the same hash. Another hash under the same
// id is ErrConflict; a run that is over is ErrRunOver unless spec.Resume.
func (c *Client) Create(ctx context.Context, spec Spec) error { panic("soon") }

// Describe returns the spec a run was created with; ErrUnknownRun if it was not.
func (c *Client) Describe(ctx context.Context, id run.ID) (Spec, error) { panic("soon") }

// Plan returns the run's current plan.
func (c *Client) Plan(ctx context.Context, id run.ID) (Plan, error) { panic("soon") }

// Join makes the worker a member, ready to train. Joining twice is joining once. Watch must begin
// within the lease (about a second), or the membership ends. ErrUnknownRun, ErrRunOver.
func (c *Client) Join(ctx context.Context, id run.ID, m Member) error { panic("soon") }

// Leave ends a membership at once; a supervisor that saw the worker's process die may call it too.
// Leaving without being a member is no error.
func (c *Client) Leave(ctx context.Context, id run.ID, worker string) error { panic("soon") }

// Watch beats to the leader every Interval with what beat returns (called from Watch's goroutine;
// it must not block), and delivers every new plan, pushed by the leader or learnt from the answer
// to a beat. The channel holds one plan, the newest. A plan that does not list the worker means the
// membership is lost (the lease ran out): join again, the same Watch goes on. The channel is closed
// when ctx ends.
func (c *Client) Watch(ctx context.Context, id run.ID, worker string, beat func() Progress) (<-chan Plan, error) {
	panic("soon")
}

// Regroup asks for a new generation with the same members, because a collective of generation gen
// failed. If gen is over already, nothing happens. ErrNotMember, ErrRunOver.
func (c *Client) Regroup(ctx context.Context, id run.ID, worker string, gen run.Generation, reason string) error {
	panic("soon")
}

// Commit records a checkpoint that was written whole. An older step than the committed one is
// ErrConflict.
func (c *Client) Commit(ctx context.Context, id run.ID, cp Checkpoint) error { panic("soon") }

// Score records an evaluation; the run keeps the best and the last.
func (c *Client) Score(ctx context.Context, id run.ID, s Score) error { panic("soon") }

// Finish ends the run well, at the given step. Finishing twice is finishing once.
func (c *Client) Finish(ctx context.Context, id run.ID, step run.Step) error { panic("soon") }

// Fail ends the run with a reason.
func (c *Client) Fail(ctx context.Context, id run.ID, reason string) error { panic("soon") }

// Status returns what the leader knows.
func (c *Client) Status(ctx context.Context) (Status, error) { panic("soon") }
