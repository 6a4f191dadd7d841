package coordinator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/run"
)

const (
	leaseCheck      = 100 * time.Millisecond // how often the leader looks for lapsed leases
	enqueuePatience = 2 * time.Second        // how long a busy raft may take to accept a proposal
)

// lead follows raft's elections and, while this node leads, ends the memberships whose leases ran
// out. One expiry is proposed at a time, and it names the join it ends, so a worker that joined
// again in between is safe.
//
// A leader that NATS does not reach hears no beat and no client. It ends nobody's membership then,
// and after a lease hands over to a node that may hear more.
func (n *Node) lead() {
	ticker := time.NewTicker(leaseCheck)
	defer ticker.Stop()
	heard := n.cfg.Now() // when NATS was last connected, or leadership handed on
	for {
		select {
		case <-n.stop:
			return
		case leader := <-n.raft.LeaderCh():
			n.leading.Store(false)
			if leader {
				n.takeOffice()
			}
		case <-ticker.C:
			now := n.cfg.Now()
			switch deaf := !n.cfg.NATS.IsConnected(); {
			case !deaf:
				heard = now
			case n.Leading() && now.Sub(heard) > n.cfg.Lease:
				n.handOver()
				heard = now
			}
			n.rule(now, heard)
		}
	}
}

// rule does a leader's regular work, at now, if NATS was last connected at heard.
func (n *Node) rule(now, heard time.Time) {
	switch {
	case n.raft.State() != raft.Leader:
	case !n.leading.Load():
		n.takeOffice()
	case now != heard:
		n.leases.restart(now)
	default:
		n.expire(now)
	}
}

// takeOffice waits until everything committed under earlier leaders is applied here, begins all
// leases anew, and serves.
func (n *Node) takeOffice() {
	if err := n.raft.Barrier(enqueuePatience).Error(); err != nil {
		n.log.Debug("not leading yet", "error", err) // lost the office, or the next tick tries again
		return
	}
	n.leases.restart(n.cfg.Now())
	n.leading.Store(true)
	n.log.Info("leading", "term", n.raft.CurrentTerm())
}

// expire proposes the end of all lapsed memberships in one command.
func (n *Node) expire(now time.Time) {
	lapsed := n.leases.lapsed(n.fsm.members(), now)
	if len(lapsed) == 0 {
		return
	}
	n.log.Info("leases ran out", "leases", lapsed)
	if _, err := n.propose(Command{ID: rand.Text(), Op: api.OpExpire, Leases: lapsed}); err != nil {
		n.log.Debug("expiry not committed", "error", err)
	}
}

// propose commits a command and publishes the plans that it changed. An error means that this node
// could not; whether another one commits it is unknown.
func (n *Node) propose(cmd Command) (Result, error) {
	cmd.At = n.cfg.Now().UnixMilli()
	entry, err := api.Encode(cmd)
	if err != nil {
		return Result{}, err
	}
	future := n.raft.Apply(entry, enqueuePatience)
	if err := future.Error(); err != nil {
		return Result{}, fmt.Errorf("coordinator %s: commit %s: %w", n.cfg.ID, cmd.Op, err)
	}
	result, ok := future.Response().(Result)
	if !ok {
		return Result{}, errors.New("coordinator: a log entry was applied without a result")
	}
	for _, id := range result.Changed {
		n.publish(id)
	}
	return result, nil
}

// publish pushes a run's plan to whoever watches. A lost one is learnt from the next beat.
func (n *Node) publish(id run.ID) {
	plan, ok := n.fsm.plan(id)
	if !ok {
		return
	}
	payload, err := api.Encode(plan)
	if err == nil {
		err = n.cfg.NATS.Publish(api.SubjectPlan(n.cfg.Group, id), payload)
	}
	if err != nil {
		n.log.Warn("plan not pushed; beats will carry it", "run", id, "error", err)
	}
}
