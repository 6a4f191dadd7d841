package coordinator

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// leaves returns a channel that is closed when the node does not lead.
func leaves(n *Node) <-chan struct{} {
	gone := make(chan struct{})
	events := make(chan raft.Observation, 64)
	observer := raft.NewObserver(events, false, nil)
	n.raft.RegisterObserver(observer)
	go func() {
		defer close(gone)
		defer n.raft.DeregisterObserver(observer)
		for n.raft.State() == raft.Leader {
			<-events
		}
	}()
	return gone
}

// TestMembership follows two watchers through joins, a leave, a frozen worker and its return.
func TestMembership(t *testing.T) {
	c := newCluster(t, 1)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	a := c.join("a")
	require.Equal(t, api.Waiting, a.until("a waits", func(p api.Plan) bool { return p.Has("a") }).Phase)
	b := c.join("b")
	plan := a.until("both train", world(2))
	require.Equal(t, plan, b.until("both train", world(2)))
	require.Equal(t, api.Running, plan.Phase)

	third := c.join("c")
	for _, w := range []*worker{a, b, third} {
		p := w.until("three train", world(3))
		require.Equal(t, plan.Generation+1, p.Generation)
	}
	require.NoError(t, third.client.Leave(c.ctx(), "demo", "c"))
	p := third.until("c is out", func(p api.Plan) bool { return !p.Has("c") })
	require.Equal(t, plan.Generation+2, p.Generation)
	a.until("two train", world(2))

	b.freeze()
	start := time.Now()
	p = a.until("b is out", func(p api.Plan) bool { return !p.Has("b") })
	t.Logf("last beat to the next generation: %v with a lease of %v", time.Since(start).Round(time.Millisecond), c.config("n0").Lease)
	require.Equal(t, api.Running, p.Phase, "a running run goes on below MinWorkers")
	require.ErrorIs(t, b.client.Regroup(c.ctx(), "demo", "b", p.Generation, "stalled"), api.ErrNotMember)

	b.watch()
	b.until("b is told that it is out", func(p api.Plan) bool { return !p.Has("b") })
	require.NoError(t, b.client.Join(c.ctx(), "demo", api.Member{Worker: "b"}))
	p = b.until("b is back", world(2))
	require.NoError(t, b.client.Regroup(c.ctx(), "demo", "b", p.Generation, "ring: stalled"))
	a.until("a new generation", func(next api.Plan) bool { return next.Generation == p.Generation+1 })

	require.NoError(t, client.Finish(c.ctx(), "demo", 40))
	require.Equal(t, api.Finished, a.until("it is over", func(p api.Plan) bool { return p.Phase.Over() }).Phase)
	require.ErrorIs(t, client.Join(c.ctx(), "demo", api.Member{Worker: "d"}), api.ErrRunOver)
}

// TestLostPush: a worker that misses a push learns the plan from its next beat.
func TestLostPush(t *testing.T) {
	c := newCluster(t, 1)
	require.NoError(t, c.client().Create(c.ctx(), demo()))
	a := c.join("a")
	seen := a.until("a waits", func(p api.Plan) bool { return p.Has("a") })
	node := c.nodes["n0"]
	answer := node.beat(encode(t, api.Beat{Run: "demo", Worker: "a", Revision: seen.Revision}))
	require.Equal(t, api.Reply{}, answer, "nothing new is said in a few bytes")
	answer = node.beat(encode(t, api.Beat{Run: "demo", Worker: "a", Revision: seen.Revision - 1}))
	require.Equal(t, seen.Revision, answer.Plan.Revision)
	answer = node.beat(encode(t, api.Beat{Run: "demo", Worker: "z"}))
	require.ErrorIs(t, answer.Error, api.ErrNotMember)
	require.Equal(t, seen.Revision, answer.Plan.Revision)
	answer = node.beat(encode(t, api.Beat{Run: "other", Worker: "a"}))
	require.ErrorIs(t, answer.Error, api.ErrUnknownRun)
}

func encode(t *testing.T, v any) []byte {
	b, err := api.Encode(v)
	require.NoError(t, err)
	return b
}
