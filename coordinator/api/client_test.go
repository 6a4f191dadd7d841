package api

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/metrixml/metrix/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node plays a coordinator whose every answer the test decides.
type node struct {
	t       *testing.T
	nc      *nats.Conn
	id      string
	mu      sync.Mutex
	leading bool
	asked   []Command
}

func serve(t *testing.T) *natsd.Server {
	server, err := natsd.Start(natsd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func connect(t *testing.T, server *natsd.Server) *nats.Conn {
	nc, err := nats.Connect(server.URL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// newNode answers commands with answer(n-th command); a nil reply is no answer at all.
func newNode(t *testing.T, server *natsd.Server, id string, leading bool, answer func(n int) *Reply) *node {
	n := &node{t: t, nc: connect(t, server), id: id, leading: leading}
	n.on(SubjectFind("g"), func([]byte) any {
		n.mu.Lock()
		defer n.mu.Unlock()
		return Hello{ID: id, Leading: n.leading}
	})
	n.on(SubjectCommand("g", id), func(data []byte) any {
		cmd, err := DecodeCommand(data)
		require.NoError(t, err)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.asked = append(n.asked, cmd)
		if reply := answer(len(n.asked)); reply != nil {
			return reply
		}
		return nil
	})
	require.NoError(t, n.nc.Flush())
	return n
}

func (n *node) on(subject string, answer func([]byte) any) {
	_, err := n.nc.Subscribe(subject, func(m *nats.Msg) {
		v := answer(m.Data)
		if v == nil {
			return
		}
		b, err := json.Marshal(v)
		require.NoError(n.t, err)
		require.NoError(n.t, m.Respond(b))
	})
	require.NoError(n.t, err)
}

func (n *node) lead(leading bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leading = leading
}

func limit(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestLostAnswer: a command whose answer is lost is sent again under the same id.
func TestLostAnswer(t *testing.T) {
	server := serve(t)
	n := newNode(t, server, "a", true, func(n int) *Reply {
		if n == 1 {
			return nil
		}
		return &Reply{}
	})
	client := Dial(connect(t, server), "g")
	require.NoError(t, client.Join(limit(t, 20*time.Second), "demo", Member{Worker: "w"}))
	require.NoError(t, client.Leave(limit(t, 20*time.Second), "demo", "w"))
	require.Len(t, n.asked, 3)
	require.Equal(t, n.asked[0], n.asked[1])
	require.NotEqual(t, n.asked[1].ID, n.asked[2].ID, "another command has another id")
}

// TestFollowsLeader: a node that lost the office names its successor, who gets the same command.
func TestFollowsLeader(t *testing.T) {
	server := serve(t)
	a := newNode(t, server, "a", true, func(n int) *Reply {
		if n == 1 {
			return &Reply{}
		}
		return &Reply{Error: errNotLeader, Leader: "b"}
	})
	b := newNode(t, server, "b", false, func(int) *Reply { return &Reply{} })
	client := Dial(connect(t, server), "g")
	require.NoError(t, client.Fail(limit(t, 20*time.Second), "demo", "one"))
	a.lead(false) // b does not say that it leads: the hint alone must do
	require.NoError(t, client.Fail(limit(t, 20*time.Second), "demo", "two"))
	require.Equal(t, a.asked[1], b.asked[0])
}

// TestRefusal: what the state refuses is final and typed.
func TestRefusal(t *testing.T) {
	server := serve(t)
	n := newNode(t, server, "a", true, func(n int) *Reply { return &Reply{Error: Errorf(CodeRunOver, "run demo is finished")} })
	err := Dial(connect(t, server), "g").Join(limit(t, 20*time.Second), "demo", Member{Worker: "w"})
	require.ErrorIs(t, err, ErrRunOver)
	require.NotErrorIs(t, err, ErrConflict)
	require.EqualError(t, err, "coordinator: join run demo: run demo is finished")
	require.Len(t, n.asked, 1)
}

// TestInvalid: what cannot be right is not even sent.
func TestInvalid(t *testing.T) {
	client := Dial(connect(t, serve(t)), "g")
	ctx := limit(t, 20*time.Second)
	for name, err := range map[string]error{
		"run id":   client.Leave(ctx, "a.b", "w"),
		"worker":   client.Leave(ctx, "demo", ""),
		"control":  client.Join(ctx, "demo", Member{Worker: "a\nb"}),
		"weight":   client.Join(ctx, "demo", Member{Worker: "w", Weight: -1}),
		"hash":     client.Create(ctx, Spec{Run: "demo", Shards: 4}),
		"shards":   client.Create(ctx, Spec{Run: "demo", Hash: "h"}),
		"recipe":   client.Create(ctx, Spec{Run: "demo", Hash: "h", Shards: 4, Recipe: make([]byte, MaxRecipe+1)}),
		"metrics":  client.Score(ctx, "demo", Score{Metrics: []byte("{")}),
		"path":     client.Commit(ctx, "demo", Checkpoint{}),
		"step":     client.Finish(ctx, "demo", -1),
		"too many": client.Create(ctx, Spec{Run: "demo", Hash: "h", Shards: 4, MinWorkers: 5}),
	} {
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	require.ErrorContains(t, Dial(client.nc, "a b").Finish(ctx, "demo", 1), "cannot name a group")
	_, err := client.Watch(ctx, "demo", "", nil)
	require.ErrorIs(t, err, ErrInvalid)
	require.LessOrEqual(t, len(clip(strings.Repeat("é", MaxReason))), MaxReason)
}

// TestNobody: without a coordinator the error says where it looked; on a closed connection it comes
// at once.
func TestNobody(t *testing.T) {
	nc := connect(t, serve(t))
	client := Dial(nc, "g")
	_, err := client.Status(limit(t, 300*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no coordinator of group g answers on nats://127.0.0.1")
	nc.Close()
	_, err = client.Describe(context.Background(), "demo")
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}
