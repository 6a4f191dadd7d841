package coordinator

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/metrixml/metrix/coordinator/api"
)

// Config says how a node runs. ID and NATS must be given; DefaultConfig has the rest for a single
// node in this process.
type Config struct {
	ID    string     // names the node in its group for good: the pod's name, say
	Group string     // token in every subject; one NATS can carry several groups
	NATS  *nats.Conn // stays the caller's; should be the coordinator's own, reconnecting for ever

	// RaftAddr is host:port where raft listens. A host that is a name, not an IP address, means all
	// interfaces, because at boot it may not resolve yet. Without peers it may be empty: no port is
	// opened then.
	RaftAddr string
	// Peers are the nodes of the group, id to host:port. The group is made of them when it first
	// starts, the same on every node; names are resolved again at every dial, so addresses may
	// change. The node itself may be left out, then RaftAddr is its address. Empty: a single node.
	Peers map[string]string
	// DataDir keeps the log and the snapshots. Empty: in memory, which only a single node may lose
	// safely: in a larger group a node must not forget whom it voted for.
	DataDir string

	Lease     time.Duration // a member that sends no beat for so long is out; at least 3 beats of api.Interval
	Heartbeat time.Duration // raft's: a follower that hears no leader for 1-2 heartbeats stands for election

	HTTPAddr string                  // serves /healthz, /readyz and Handlers; empty: no HTTP
	Handlers map[string]http.Handler // by path, /metrics say

	Logger   hclog.Logger     // nil: silence
	Now      func() time.Time // nil: time.Now; used for leases and for times in the status
	Listener net.Listener     // used instead of listening on RaftAddr, and closed by the node

	applied func() // called after every change of the replicated state; for tests
}

// DefaultConfig returns a single in-memory node of the group "default".
func DefaultConfig() Config {
	return Config{ID: "coordinator", Group: "default", Lease: 1200 * time.Millisecond, Heartbeat: 200 * time.Millisecond}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Group == "" {
		c.Group = d.Group
	}
	if c.Lease == 0 {
		c.Lease = d.Lease
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = d.Heartbeat
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports the first thing that cannot work.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case !api.ValidToken(c.ID):
		return fmt.Errorf("coordinator: %.80q cannot be a node's id: use 1 to 64 letters, digits, '-' or '_'", c.ID)
	case !api.ValidToken(c.Group):
		return fmt.Errorf("coordinator: %.80q cannot name a group: use 1 to 64 letters, digits, '-' or '_'", c.Group)
	case c.NATS == nil:
		return fmt.Errorf("coordinator %s: it needs a NATS connection", c.ID)
	case c.Lease < 3*api.Interval:
		return fmt.Errorf("coordinator %s: a lease of %s is too short for beats every %s: give at least %s", c.ID, c.Lease, api.Interval, 3*api.Interval)
	case c.Heartbeat < 20*time.Millisecond:
		return fmt.Errorf("coordinator %s: a raft heartbeat of %s is too short: give at least 20ms", c.ID, c.Heartbeat)
	case c.RaftAddr == "" && c.Listener == nil && len(c.Peers) > 0:
		return fmt.Errorf("coordinator %s: with peers it needs a raft address, host:port", c.ID)
	}
	return c.validateNetwork()
}

func (c Config) validateNetwork() error {
	if c.RaftAddr != "" {
		if _, _, err := net.SplitHostPort(c.RaftAddr); err != nil {
			return fmt.Errorf("coordinator %s: raft address %q: %w: give host:port", c.ID, c.RaftAddr, err)
		}
	}
	for id, addr := range c.Peers {
		if !api.ValidToken(id) {
			return fmt.Errorf("coordinator %s: peer %.80q: an id is 1 to 64 letters, digits, '-' or '_'", c.ID, id)
		}
		if host, _, err := net.SplitHostPort(addr); err != nil || host == "" {
			return fmt.Errorf("coordinator %s: peer %s has address %q: give host:port, as the others reach it", c.ID, id, addr)
		}
	}
	for path := range c.Handlers {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " {}") {
			return fmt.Errorf("coordinator %s: a handler is for %q: give a plain path such as /metrics", c.ID, path)
		}
	}
	return nil
}

// members returns all nodes of the group by id, this one among them.
func (c Config) members(own string) map[string]string {
	all := map[string]string{c.ID: own}
	for id, addr := range c.Peers {
		all[id] = addr
	}
	return all
}
