package coordinator

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/metrixml/metrix/coordinator/api"
)

// roomForMetrics is how many bytes of metrics a status may carry, so that it fits a message.
const roomForMetrics = api.MaxMessage / 4

// Status returns what this node knows. Progress is known to the leader only.
func (n *Node) Status() api.Status {
	_, leader := n.raft.LeaderWithID()
	s := api.Status{
		Group: n.cfg.Group, Leader: string(leader), Term: n.raft.CurrentTerm(), Index: n.raft.AppliedIndex(),
		Nodes: n.nodes(leader), Runs: []api.RunStatus{},
	}
	now := n.cfg.Now()
	room := roomForMetrics
	n.fsm.mu.RLock()
	defer n.fsm.mu.RUnlock()
	for _, r := range n.fsm.state.runs {
		rs := r.status()
		for i := range rs.Members {
			m := &rs.Members[i]
			progress, silence := n.leases.pulse(r.lease(i), now)
			m.Progress, m.Silence = progress, silence.Seconds()
		}
		summarize(&rs)
		rs.Best, room = fit(rs.Best, room)
		rs.Last, room = fit(rs.Last, room)
		s.Runs = append(s.Runs, rs)
	}
	return s
}

func (n *Node) nodes(leader raft.ServerID) []api.Node {
	future := n.raft.GetConfiguration()
	if future.Error() != nil { // shutting down
		return nil
	}
	var nodes []api.Node
	for _, server := range future.Configuration().Servers {
		addr := string(server.Address)
		if current := n.cfg.Peers[string(server.ID)]; current != "" {
			addr = current
		}
		nodes = append(nodes, api.Node{ID: string(server.ID), Address: addr, Leader: server.ID == leader})
	}
	return nodes
}

// status copies what the state knows of the run.
func (r *record) status() api.RunStatus {
	rs := api.RunStatus{
		Run: r.Spec.Run, Hash: r.Spec.Hash, Phase: r.Phase, Generation: r.Generation, Reason: r.Reason,
		Shards: r.Spec.Shards, MinWorkers: r.Spec.MinWorkers,
		Created: time.UnixMilli(r.Created).UTC(), Since: time.UnixMilli(r.Since).UTC(),
		Members: make([]api.MemberStatus, len(r.Members)), Step: r.Step,
	}
	for i, m := range r.Members {
		rs.Members[i].Member = m.Member
	}
	if r.Checkpoint != nil {
		checkpoint := *r.Checkpoint
		rs.Checkpoint = &checkpoint
	}
	if r.Best != nil {
		best := *r.Best
		rs.Best = &best
	}
	if r.Last != nil {
		last := *r.Last
		rs.Last = &last
	}
	return rs
}

// summarize takes step and loss from the most advanced member and adds up the rates.
func summarize(rs *api.RunStatus) {
	for i, m := range rs.Members {
		if i == 0 || m.Progress.Step > rs.Step {
			rs.Loss = api.Real(m.Progress.Loss)
		}
		rs.Step = max(rs.Step, m.Progress.Step)
		if m.Rank != api.NoRank {
			rs.ImagesPerSecond += m.Progress.ImagesPerSecond
		}
	}
}

// fit drops a score's metrics when there is no room left for them.
func fit(score *api.Score, room int) (*api.Score, int) {
	if score == nil {
		return nil, room
	}
	if len(score.Metrics) > room {
		score.Metrics = nil
	}
	return score, room - len(score.Metrics)
}
