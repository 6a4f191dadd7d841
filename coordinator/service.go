package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/coordinator/api"
)

const (
	maxWorking    = 64          // commands and queries answered at once
	drainPatience = time.Second // how long the NATS server may take to confirm that it sends no more
)

// startService subscribes to the node's subjects. Finding and beats have a goroutine of their own
// and never wait; commands and queries are answered side by side, so that one waiting for a commit
// holds up no other.
func (n *Node) startService() error {
	group, id := n.cfg.Group, n.cfg.ID
	for subject, to := range map[string]chan *nats.Msg{
		api.SubjectFind(group):        n.inbox,
		api.SubjectBeat(group, id):    n.inbox,
		api.SubjectCommand(group, id): n.work,
		api.SubjectQuery(group, id):   n.work,
	} {
		sub, err := n.cfg.NATS.ChanSubscribe(subject, to)
		if err != nil {
			return fmt.Errorf("coordinator %s: subscribe to %s: %w", id, subject, err)
		}
		n.subs = append(n.subs, sub)
	}
	n.goDo(n.serveInbox)
	n.goDo(n.serveWork)
	return nil
}

// stopService ends the subscriptions. When it returns, every message that the server still had for
// this node is in its channels, so that none is left without an answer.
func (n *Node) stopService() error {
	var errs []error
	for _, sub := range n.subs {
		if err := sub.Drain(); !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			errs = append(errs, err)
		}
	}
	if n.cfg.NATS.IsConnected() && len(n.subs) > 0 {
		if err := n.cfg.NATS.FlushTimeout(drainPatience); err != nil {
			n.log.Debug("last messages not fetched; their senders will ask again", "error", err)
		}
	}
	return errors.Join(errs...)
}

func (n *Node) serveInbox() {
	answer := func(m *nats.Msg) {
		if m.Subject == api.SubjectFind(n.cfg.Group) {
			n.respond(m, api.Hello{ID: n.cfg.ID, Leading: n.Leading()})
		} else {
			n.respond(m, n.beat(m.Data))
		}
	}
	for {
		select {
		case <-n.stop:
			n.dismiss(n.inbox)
			return
		case m := <-n.inbox:
			answer(m)
		}
	}
}

func (n *Node) serveWork() {
	slots := make(chan struct{}, maxWorking)
	answer := func(m *nats.Msg) {
		defer func() { <-slots }()
		if m.Subject == api.SubjectCommand(n.cfg.Group, n.cfg.ID) {
			n.respond(m, n.command(m.Data))
		} else {
			n.respond(m, n.query(m.Data))
		}
	}
	for {
		select {
		case <-n.stop:
			n.dismiss(n.work)
			return
		case slots <- struct{}{}:
		}
		select {
		case <-n.stop:
			n.dismiss(n.work)
			return
		case m := <-n.work:
			n.goDo(func() { answer(m) })
		}
	}
}

// dismiss tells whoever still asks a node that ends to ask another.
func (n *Node) dismiss(messages chan *nats.Msg) {
	for {
		select {
		case m := <-messages:
			if m.Subject != api.SubjectFind(n.cfg.Group) {
				n.respond(m, n.notLeader())
			}
		default:
			return
		}
	}
}

// respond answers a message. An answer that cannot be sent is the client's to miss and ask again.
func (n *Node) respond(m *nats.Msg, v any) {
	payload, err := api.Encode(v)
	if err != nil {
		payload, _ = api.Encode(refuse(api.Errorf(api.CodeInvalid, "the answer cannot be sent: %v", err)))
	}
	if m.Reply == "" {
		return
	}
	if err := m.Respond(payload); err != nil {
		n.log.Debug("answer not sent", "subject", m.Subject, "error", err)
	}
}

// command commits what a client asks for.
func (n *Node) command(data []byte) api.Reply {
	if !n.Leading() {
		return n.notLeader()
	}
	cmd, err := api.DecodeCommand(data)
	if err != nil {
		return refuse(err)
	}
	if cmd.Op == api.OpExpire {
		return refuse(api.Errorf(api.CodeInvalid, "only the leader ends memberships by expiry: leave instead"))
	}
	if err := cmd.Validate(); err != nil { // keeps garbage out of the log
		return refuse(err)
	}
	result, err := n.propose(cmd)
	if err != nil {
		n.log.Debug("command not committed", "op", cmd.Op, "run", cmd.Run, "error", err)
		return n.notLeader() // the client repeats it under the same id
	}
	return api.Reply{Error: result.Err}
}

func (n *Node) beat(data []byte) api.Reply {
	if !n.Leading() {
		return n.notLeader()
	}
	return n.answerBeat(data)
}

// answerBeat renews a lease and tells the worker of a plan it does not know.
func (n *Node) answerBeat(data []byte) api.Reply {
	b, err := api.DecodeBeat(data)
	if err != nil {
		return refuse(err)
	}
	lease, member, plan, refusal := n.fsm.lookup(b)
	if member {
		n.leases.beat(lease, b.Progress, n.cfg.Now())
	}
	return api.Reply{Error: refusal, Plan: plan}
}

// query answers from the leader's state.
func (n *Node) query(data []byte) api.Reply {
	if !n.Leading() {
		return n.notLeader()
	}
	q, err := api.DecodeQuery(data)
	if err != nil {
		return refuse(err)
	}
	switch q.What {
	case api.AskStatus:
		status := n.Status()
		return api.Reply{Status: &status}
	case api.AskSpec:
		if spec, ok := n.fsm.spec(q.Run); ok {
			return api.Reply{Spec: &spec}
		}
		return refuse(unknownRun(q.Run))
	case api.AskPlan:
		if plan, ok := n.fsm.plan(q.Run); ok {
			return api.Reply{Plan: &plan}
		}
		return refuse(unknownRun(q.Run))
	}
	return refuse(api.Errorf(api.CodeInvalid, "%.40q is no question: ask for %s, %s or %s", q.What, api.AskSpec, api.AskPlan, api.AskStatus))
}

// notLeader sends a client to the leader, if this node knows one.
func (n *Node) notLeader() api.Reply {
	_, leader := n.raft.LeaderWithID()
	reply := refuse(api.Errorf(api.CodeNotLeader, "coordinator %s does not lead group %s", n.cfg.ID, n.cfg.Group))
	if string(leader) != n.cfg.ID {
		reply.Leader = string(leader)
	}
	return reply
}

func refuse(err error) api.Reply {
	var refusal *api.Error
	if !errors.As(err, &refusal) {
		refusal = api.Errorf(api.CodeInvalid, "%v", err)
	}
	return api.Reply{Error: refusal}
}
