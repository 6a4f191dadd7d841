package coordinator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

// TestSingleNodeRestarts: the only coordinator stops and comes back on its data directory. The run,
// its members and its checkpoint are there, also those that only a snapshot holds, and the watchers
// notice nothing.
func TestSingleNodeRestarts(t *testing.T) {
	c := newCluster(t, 1)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	a, b := c.join("a"), c.join("b")
	before := a.until("both train", world(2))
	require.NoError(t, client.Commit(c.ctx(), "demo", api.Checkpoint{Step: 10, Path: "/out/10", Hash: "h"}))
	require.NoError(t, c.nodes["n0"].raft.Snapshot().Error())
	require.NoError(t, client.Score(c.ctx(), "demo", api.Score{Step: 10, RecallAt1: 0.5, Metrics: []byte(`{"map": 1}`)}))

	require.NoError(t, c.nodes["n0"].Close())
	require.NoError(t, c.nodes["n0"].Wait(), "waiting for a closed node returns at once")
	c.start("n0", nil)

	spec, err := client.Describe(c.ctx(), "demo")
	require.NoError(t, err)
	require.Equal(t, demo(), spec)
	status, err := client.Status(c.ctx())
	require.NoError(t, err)
	r := status.Runs[0]
	require.EqualValues(t, 10, r.Checkpoint.Step)
	require.JSONEq(t, `{"map": 1}`, string(r.Best.Metrics))
	require.Equal(t, before.Generation, r.Generation)
	c.join("c")
	after := b.until("three train", world(3))
	require.Equal(t, before.Generation+1, after.Generation, "nobody lost the lease meanwhile")
	require.EqualValues(t, 10, after.Checkpoint.Step)
}

// TestForgottenRun: a coordinator without a disk comes back empty. The watcher learns that its run
// is unknown; once the run is created again, plans count from 1 and are delivered.
func TestForgottenRun(t *testing.T) {
	c := newCluster(t, 1)
	c.dirs["n0"] = ""
	require.NoError(t, c.nodes["n0"].Close())
	c.start("n0", nil)
	spec := demo()
	spec.MinWorkers = 1
	require.NoError(t, c.client().Create(c.ctx(), spec))
	a := c.join("a")
	a.until("a trains", world(1))

	require.NoError(t, c.nodes["n0"].Close())
	c.start("n0", nil)
	p := a.until("a is told", func(p api.Plan) bool { return !p.Has("a") })
	require.Contains(t, p.Reason, "unknown")
	require.ErrorIs(t, a.client.Join(c.ctx(), "demo", api.Member{Worker: "a"}), api.ErrUnknownRun)
	require.NoError(t, a.client.Create(c.ctx(), spec))
	require.NoError(t, a.client.Join(c.ctx(), "demo", api.Member{Worker: "a"}))
	require.EqualValues(t, 1, a.until("a trains again", world(1)).Generation)
}

// TestDataDirectory: one directory, one node.
func TestDataDirectory(t *testing.T) {
	c := newCluster(t, 1)
	cfg := c.config("n0")
	cfg.RaftAddr, cfg.Peers = "", nil
	_, err := Start(context.Background(), cfg)
	require.ErrorContains(t, err, "in use by another coordinator")

	require.NoError(t, c.nodes["n0"].Close())
	cfg.ID = "stranger"
	_, err = Start(context.Background(), cfg)
	require.ErrorContains(t, err, "without this node")

	cfg = c.config("n0")
	cfg.HTTPAddr = "127.0.0.1:none"
	_, err = Start(context.Background(), cfg)
	require.ErrorContains(t, err, "listen for HTTP")
	c.start("n0", nil) // the failed starts left nothing behind
}

// TestHTTP: probes need no quorum; handlers are served beside them.
func TestHTTP(t *testing.T) {
	c := newCluster(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	node, err := Start(context.Background(), Config{
		ID: "alone", NATS: c.connect(), Group: "other", HTTPAddr: "127.0.0.1:0", RaftAddr: "127.0.0.1:0",
		Peers: map[string]string{"alone": "127.0.0.1:1", "gone": taken.Addr().String(), "never": "nowhere.invalid:1"},
		Handlers: map[string]http.Handler{"/metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "metrix_steps 5\n")
		})},
	})
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	require.Equal(t, "200 ok", get(t, node, "/healthz"))
	require.Equal(t, "200 ready", get(t, node, "/readyz"))
	require.Equal(t, "200 metrix_steps 5", get(t, node, "/metrics"))
	node.cfg.NATS.Close()
	require.Equal(t, "503 NATS is not connected", get(t, node, "/readyz"))
	require.NoError(t, node.Close())
}

func get(t *testing.T, n *Node, path string) string {
	resp, err := http.Get("http://" + n.HTTPAddr() + path)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return resp.Status[:4] + strings.TrimSpace(string(body))
}

// TestStatus: progress of the members is added up.
func TestStatus(t *testing.T) {
	c := newCluster(t, 1)
	require.NoError(t, c.client().Create(c.ctx(), demo()))
	a := c.join("a")
	c.join("b")
	a.until("both train", world(2))
	node := c.nodes["n0"]
	node.beat(encode(t, api.Beat{Run: "demo", Worker: "a", Progress: api.Progress{Step: 5, Loss: 0.5, ImagesPerSecond: 100}}))
	node.beat(encode(t, api.Beat{Run: "demo", Worker: "b", Progress: api.Progress{Step: 5, Loss: 0.5, ImagesPerSecond: 100}}))
	status, err := c.client().Status(c.ctx())
	require.NoError(t, err)
	require.Equal(t, "test", status.Group)
	require.Equal(t, "n0", status.Leader)
	require.Equal(t, []api.Node{{ID: "n0", Address: c.peers["n0"], Leader: true}}, status.Nodes)
	r := status.Runs[0]
	require.EqualValues(t, 5, r.Step)
	require.EqualValues(t, 0.5, r.Loss)
	require.EqualValues(t, 200, r.ImagesPerSecond)
	require.EqualValues(t, "here", r.Members[1].Host)
	require.Less(t, r.Members[1].Silence, 5.0)
}

// TestConfig: what cannot work is said before anything starts.
func TestConfig(t *testing.T) {
	nc := newCluster(t, 1).connect()
	ok := Config{ID: "a", NATS: nc}
	require.NoError(t, ok.Validate())
	for want, change := range map[string]func(*Config){
		"cannot be a node's id":    func(c *Config) { c.ID = "a.b" },
		"cannot name a group":      func(c *Config) { c.Group = "*" },
		"needs a NATS connection":  func(c *Config) { c.NATS = nil },
		"is too short for beats":   func(c *Config) { c.Lease = api.Interval },
		"raft heartbeat":           func(c *Config) { c.Heartbeat = 1 },
		"needs a raft address":     func(c *Config) { c.Peers = map[string]string{"b": "h:1"} },
		"give host:port":           func(c *Config) { c.RaftAddr = "host" },
		"as the others reach it":   func(c *Config) { c.RaftAddr = ":1"; c.Peers = map[string]string{"b": ":1"} },
		"an id is 1 to 64 letters": func(c *Config) { c.RaftAddr = ":1"; c.Peers = map[string]string{"b.c": "h:1"} },
		"give a plain path":        func(c *Config) { c.Handlers = map[string]http.Handler{"GET /x": nil} },
	} {
		cfg := ok
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
	require.Equal(t, ":7000", bindAddress("coordinator-0.coordinator:7000"))
	require.Equal(t, "10.0.0.1:7000", bindAddress("10.0.0.1:7000"))
	require.Equal(t, "localhost:7000", bindAddress("localhost:7000"))
}
