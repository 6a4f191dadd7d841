package coordinator

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/coordinator/api"
	"github.com/metrixml/metrix/internal/natsd"
	"github.com/metrixml/metrix/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for an event before it fails; nothing is expected to take a
// tenth of it.
const patience = 20 * time.Second

// cluster is a group of nodes in this process around an embedded NATS server. Every node has its own
// connection, port and data directory, so it can crash and come back.
type cluster struct {
	t       testing.TB
	server  *natsd.Server
	peers   map[string]string
	dirs    map[string]string
	nodes   map[string]*Node
	conns   map[string]*nats.Conn
	changed chan struct{} // gets a token when a node has applied something
}

// newCluster starts size nodes n0, n1, ... whose peers are known by name, not by IP address.
func newCluster(t testing.TB, size int) *cluster {
	server, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	c := &cluster{t: t, server: server, peers: map[string]string{}, dirs: map[string]string{},
		nodes: map[string]*Node{}, conns: map[string]*nats.Conn{}, changed: make(chan struct{}, 1)}
	listeners := map[string]net.Listener{}
	for i := range size {
		id := fmt.Sprint("n", i)
		listeners[id], err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.dirs[id] = t.TempDir()
		c.peers[id] = fmt.Sprint("localhost:", listeners[id].Addr().(*net.TCPAddr).Port)
	}
	for id, l := range listeners {
		c.start(id, l)
	}
	t.Cleanup(func() {
		for id, n := range c.nodes {
			require.NoError(t, n.Close())
			c.conns[id].Close()
		}
	})
	return c
}

// connect opens a connection that ends with the test.
func (c *cluster) connect() *nats.Conn {
	nc, err := nats.Connect(c.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	require.NoError(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

func (c *cluster) config(id string) Config {
	return Config{
		ID: id, Group: "test", NATS: c.conns[id], RaftAddr: c.peers[id], Peers: c.peers, DataDir: c.dirs[id], Lease: 600 * time.Millisecond,
		applied: func() {
			select {
			case c.changed <- struct{}{}:
			default:
			}
		},
	}
}

// start brings a node up; l is nil after a restart.
func (c *cluster) start(id string, l net.Listener) {
	c.conns[id] = c.connect()
	cfg := c.config(id)
	if l != nil {
		cfg.Listener = l
	} else {
		cfg.RaftAddr = "127.0.0.1" + c.peers[id][len("localhost"):]
	}
	node, err := Start(context.Background(), cfg)
	require.NoError(c.t, err)
	c.nodes[id] = node
}

// crash ends a node as if its process were killed: nothing is handed over, and its connections
// break in the middle of whatever they carried.
func (c *cluster) crash(id string) {
	n := c.nodes[id]
	delete(c.nodes, id)
	c.conns[id].Close()
	n.closeOnce.Do(func() {
		n.closeErr = n.halt()
		close(n.closed)
	})
	require.NoError(c.t, n.closeErr)
}

func (c *cluster) client() *api.Client { return api.Dial(c.connect(), "test") }

// leader asks who leads.
func (c *cluster) leader() string {
	s, err := c.client().Status(c.ctx())
	require.NoError(c.t, err)
	return s.Leader
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// agree waits until all nodes that run have equal states in which the check holds.
func (c *cluster) agree(check func(*State) bool) {
	deadline := time.After(patience)
	for {
		if c.agreed(check) {
			return
		}
		select {
		case <-c.changed:
		case <-deadline:
			require.Fail(c.t, "the nodes did not come to the same state")
		}
	}
}

func (c *cluster) agreed(check func(*State) bool) bool {
	var first string
	for _, n := range c.nodes {
		n.fsm.mu.RLock()
		b, err := n.fsm.state.Snapshot()
		ok := check(&n.fsm.state)
		n.fsm.mu.RUnlock()
		require.NoError(c.t, err)
		if first == "" {
			first = string(b)
		}
		if !ok || first != string(b) {
			return false
		}
	}
	return true
}

// worker is a member that watches its plans.
type worker struct {
	t      testing.TB
	name   string
	client *api.Client
	plans  <-chan api.Plan
	cancel context.CancelFunc
}

// join makes a worker a member of run demo and starts its beats.
func (c *cluster) join(name string) *worker {
	w := &worker{t: c.t, name: name, client: c.client()}
	require.NoError(c.t, w.client.Join(c.ctx(), "demo", api.Member{Worker: name, Host: "here"}))
	w.watch()
	return w
}

func (w *worker) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.t.Cleanup(w.freeze)
	var err error
	w.plans, err = w.client.Watch(ctx, "demo", w.name, func() api.Progress {
		return api.Progress{Step: 5, Loss: 0.5, ImagesPerSecond: 100, Phases: map[string]float64{"load": 0.1}}
	})
	require.NoError(w.t, err)
}

// freeze ends the beats without leaving.
func (w *worker) freeze() {
	w.cancel()
	for range w.plans { // until the watch has ended
	}
}

// until waits for a plan of which ok is true.
func (w *worker) until(what string, ok func(api.Plan) bool) api.Plan {
	deadline := time.After(patience)
	var last api.Plan
	for {
		select {
		case p, open := <-w.plans:
			require.True(w.t, open, "the watch of %s ended", w.name)
			last = p
			if ok(p) {
				return p
			}
		case <-deadline:
			require.Fail(w.t, "no plan in which "+what, "worker %s, last plan %+v", w.name, last)
		}
	}
}

func world(n int) func(api.Plan) bool { return func(p api.Plan) bool { return p.World() == n } }

func demo() api.Spec {
	return api.Spec{Run: "demo", Recipe: []byte("name: demo"), Hash: "abc", Shards: 4, MinWorkers: 2}
}

func members(id run.ID, n int) func(*State) bool {
	return func(s *State) bool {
		p, _ := s.Plan(id)
		return len(p.Members) == n
	}
}
