package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/nats-io/nats.go"
)

// Node is one coordinator of a group: a raft node with the replicated state, and the service on
// NATS in front of it. Only the leader's service answers; the others say who leads.
type Node struct {
	cfg       Config
	log       hclog.Logger
	raft      *raft.Raft
	fsm       *fsm
	store     *store
	transport io.Closer
	leases    *leases
	leading   atomic.Bool // leads and has applied everything committed before

	inbox     chan *nats.Msg // find and beat: answered from memory
	work      chan *nats.Msg // command and query: may wait for a commit
	subs      []*nats.Subscription
	http      *http.Server
	httpAddr  string
	stop      chan struct{}  // closed when the node ends
	running   sync.WaitGroup // everything that stop ends
	closeOnce sync.Once
	closed    chan struct{} // closed when nothing runs any more
	closeErr  error
	failure   chan error // holds the first thing that ended the node from inside
}

// Start brings a node up and returns as soon as it serves, which needs neither its peers nor a
// leader. ctx bounds the start only; the node runs until Close.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("coordinator %s: start: %w", cfg.ID, err)
	}
	cfg = cfg.withDefaults()
	n := &Node{
		cfg: cfg, log: cfg.Logger.Named(cfg.ID), fsm: &fsm{applied: cfg.applied}, leases: newLeases(cfg.Lease),
		inbox: make(chan *nats.Msg, 4096), work: make(chan *nats.Msg, 1024),
		stop: make(chan struct{}), closed: make(chan struct{}), failure: make(chan error, 1),
	}
	for _, part := range []func() error{n.startRaft, n.startService, n.startHTTP} {
		if err := part(); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// startRaft opens the store and the transport, makes the group at the first start, and joins it.
func (n *Node) startRaft() error {
	var err error
	if n.store, err = openStore(n.cfg.DataDir, n.log); err != nil {
		return err
	}
	transport, peers, err := n.openTransport()
	if err != nil {
		return err
	}
	config := n.raftConfig()
	if err := n.store.bootstrap(config, peers, transport); err != nil {
		return err
	}
	if n.raft, err = raft.NewRaft(config, n.fsm, n.store.logs, n.store.stable, n.store.snapshots, transport); err != nil {
		return fmt.Errorf("coordinator %s: start raft: %w", n.cfg.ID, err)
	}
	n.goDo(n.lead)
	return n.belongs()
}

// openTransport returns raft's network and the nodes of the group with their addresses. A single
// node without an address needs no network.
func (n *Node) openTransport() (raft.Transport, map[string]string, error) {
	if n.cfg.RaftAddr == "" && n.cfg.Listener == nil {
		addr, memory := raft.NewInmemTransport(raft.ServerAddress(n.cfg.ID))
		n.transport = memory
		return memory, n.cfg.members(string(addr)), nil
	}
	s, err := listen(n.cfg)
	if err != nil {
		return nil, nil, err
	}
	network := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: s, Stream: s, MaxPool: 3, Logger: n.log,
		Timeout: max(time.Second, 4*n.cfg.Heartbeat), MsgpackUseNewTimeFormat: true,
	})
	n.transport = network
	return network, s.peers, nil
}

// raftConfig ties raft's times to one: a leader that reaches no majority for a heartbeat steps down,
// a follower that hears nothing for 1-2 heartbeats stands, so losing the leader costs 1-2 of them
// and an election.
func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.HeartbeatTimeout = n.cfg.Heartbeat
	c.ElectionTimeout = n.cfg.Heartbeat
	c.LeaderLeaseTimeout = n.cfg.Heartbeat * 4 / 5
	c.CommitTimeout = 20 * time.Millisecond
	c.SnapshotThreshold = 2048
	c.SnapshotInterval = 30 * time.Second
	c.TrailingLogs = 1024
	c.NoLegacyTelemetry = true
	c.Logger = n.log
	return c
}

// belongs checks that an existing data directory is this node's.
func (n *Node) belongs() error {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return fmt.Errorf("coordinator %s: read the group: %w", n.cfg.ID, err)
	}
	var ids []raft.ServerID
	for _, s := range future.Configuration().Servers {
		if s.ID == raft.ServerID(n.cfg.ID) {
			return nil
		}
		ids = append(ids, s.ID)
	}
	return fmt.Errorf("coordinator %s: the data directory %s belongs to a group of %v, without this node: give the directory of this id, or an empty one",
		n.cfg.ID, n.cfg.DataDir, ids)
}

// goDo runs f as a goroutine that Close waits for.
func (n *Node) goDo(f func()) {
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		f()
	}()
}

// ID returns the node's id.
func (n *Node) ID() string { return n.cfg.ID }

// Leading reports whether this node leads and serves.
func (n *Node) Leading() bool { return n.leading.Load() && n.raft.State() == raft.Leader }

// HTTPAddr returns where HTTP is served, with the port that was chosen, or "".
func (n *Node) HTTPAddr() string { return n.httpAddr }

// Wait returns when the node has ended: nil after Close, or what ended it from inside.
func (n *Node) Wait() error {
	select {
	case err := <-n.failure:
		return errors.Join(err, n.Close())
	case <-n.closed:
		return n.closeErr
	}
}

// Close hands leadership to another node if there is one, stops serving and waits for everything
// the node started. Closing twice is closing once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.closeErr = n.shutdown()
		close(n.closed)
	})
	<-n.closed
	return n.closeErr
}

func (n *Node) shutdown() error {
	n.handOver()
	return n.halt()
}

// handOver makes another node the leader, so that the group need not notice this one's end first.
func (n *Node) handOver() {
	if n.raft == nil || n.raft.State() != raft.Leader || len(n.cfg.members("")) == 1 {
		return
	}
	if err := n.raft.LeadershipTransfer().Error(); err != nil {
		n.log.Warn("leadership was not transferred; the others will elect a leader", "error", err)
	}
}

// halt stops everything where it stands.
func (n *Node) halt() error {
	errs := []error{n.stopHTTP(), n.stopService()}
	close(n.stop)
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
	}
	n.running.Wait()
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("coordinator %s: close: %w", n.cfg.ID, err)
	}
	return nil
}
