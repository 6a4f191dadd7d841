package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/run"
)

// Interval is the time between two beats of a watching worker.
const Interval = 150 * time.Millisecond

// beatPatience is how long a beat waits for its answer; a leader answers from memory.
const beatPatience = 400 * time.Millisecond

// Watch beats to the leader every Interval with what beat returns (called from Watch's goroutine;
// it must not block), and delivers every new plan, pushed by the leader or learnt from the answer
// to a beat. The channel holds one plan, the newest. A plan that does not list the worker means the
// membership is lost (the lease ran out): join again, the same Watch goes on. The channel is closed
// when ctx ends. While no leader answers, Watch keeps trying and delivers nothing.
func (c *Client) Watch(ctx context.Context, id run.ID, worker string, beat func() Progress) (<-chan Plan, error) {
	if !ValidToken(c.group) || !run.ValidID(id) {
		return nil, fmt.Errorf("coordinator: watch run %.80q in group %.80q: names are 1 to 64 letters, digits, '-' or '_'", id, c.group)
	}
	if err := validateWorker(worker); err != nil {
		return nil, fmt.Errorf("coordinator: watch run %s: %w", id, err)
	}
	box := &mailbox{plans: make(chan Plan, 1)}
	sub, err := c.nc.Subscribe(SubjectPlan(c.group, id), func(m *nats.Msg) {
		if plan, err := DecodePlan(m.Data); err == nil && plan.Run == id {
			box.offer(plan)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("coordinator: watch run %s: %w", id, err)
	}
	go func() {
		defer box.close()
		defer sub.Unsubscribe() //nolint:errcheck // fails only on a closed connection
		c.beats(ctx, box, Beat{Run: id, Worker: worker}, beat)
	}()
	return box.plans, nil
}

// beats sends a beat every Interval until ctx ends, sooner after one that found no leader.
func (c *Client) beats(ctx context.Context, box *mailbox, b Beat, progress func() Progress) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := Interval
		b.Progress = progress()
		if !c.beat(ctx, box, b) {
			next /= 3
		}
		timer.Reset(next)
	}
}

// beat sends one beat and offers the plan of its answer. It reports whether a leader answered.
func (c *Client) beat(ctx context.Context, box *mailbox, b Beat) bool {
	b.Revision = box.newest()
	payload, err := Encode(b)
	if err != nil {
		return false
	}
	patient, cancel := context.WithTimeout(ctx, beatPatience)
	defer cancel()
	reply, err := c.try(patient, SubjectBeat, payload)
	switch {
	case errors.Is(err, ErrUnknownRun):
		box.lose(Plan{Run: b.Run, Phase: Waiting, Reason: err.Error()})
	case reply.Plan != nil:
		box.offer(*reply.Plan)
	}
	var refusal *Error
	return err == nil || errors.As(err, &refusal)
}

// mailbox holds the newest plan for a reader that may be busy.
type mailbox struct {
	plans chan Plan // of capacity 1

	mu       sync.Mutex
	revision uint64 // of the newest plan offered
	lost     bool   // the coordinator does not know the run; said once
	closed   bool
}

// newest returns the revision of the newest plan seen.
func (m *mailbox) newest() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision
}

// offer delivers p if it is newer than all before.
func (m *mailbox) offer(p Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Revision <= m.revision {
		return
	}
	m.revision, m.lost = p.Revision, false
	m.put(p)
}

// lose delivers p, which says that the coordinator has forgotten the run, and takes any plan as new
// afterwards: the run may be created again and count from 1.
func (m *mailbox) lose(p Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost {
		return
	}
	m.revision, m.lost = 0, true
	m.put(p)
}

// put replaces what the reader has not taken yet. The caller holds mu.
func (m *mailbox) put(p Plan) {
	if m.closed {
		return
	}
	select {
	case <-m.plans:
	default:
	}
	m.plans <- p
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	close(m.plans)
}
