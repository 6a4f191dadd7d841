package coordinator

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

// TestLeaderKilled: of three nodes the leader dies without a word. Commands in flight and later ones
// take effect exactly once, the members keep their membership, and the dead node catches up from its
// disk when it comes back.
func TestLeaderKilled(t *testing.T) {
	c := newCluster(t, 3)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	a, b := c.join("a"), c.join("b")
	first := a.until("both train", world(2))
	b.until("both train", world(2))

	dead := c.leader()
	joins := c.manyJoins(20)
	start := time.Now()
	c.crash(dead)
	require.NoError(t, client.Commit(c.ctx(), "demo", api.Checkpoint{Step: 10, Path: "/out/10", Hash: "h"}))
	t.Logf("leader killed to the next commit: %v", time.Since(start).Round(time.Millisecond))
	joins.Wait()

	c.agree(members("demo", 22))
	status, err := client.Status(c.ctx())
	require.NoError(t, err)
	require.NotEqual(t, dead, status.Leader)
	require.Len(t, status.Nodes, 3)
	require.EqualValues(t, 10, status.Runs[0].Checkpoint.Step)
	require.EqualValues(t, first.Generation+2, status.Runs[0].Generation, "two of the joins got ranks, the others are spares")

	c.start(dead, nil)
	c.agree(func(s *State) bool { return members("demo", 2)(s) }) // the joiners never beat
	plan, err := client.Plan(c.ctx(), "demo")
	require.NoError(t, err)
	require.True(t, plan.Has("a") && plan.Has("b"), "who beats stays: %+v", plan)
}

// manyJoins lets n workers join at the same time, each over its own client.
func (c *cluster) manyJoins(n int) *sync.WaitGroup {
	var wg sync.WaitGroup
	client, ctx := c.client(), c.ctx()
	for i := range n {
		wg.Go(func() {
			if err := client.Join(ctx, "demo", api.Member{Worker: fmt.Sprint("late", i)}); err != nil {
				c.t.Errorf("join: %v", err)
			}
		})
	}
	return &wg
}

// TestLeaderCloses: a leader that is stopped in order hands over first, which costs less than an
// election, and a client that knows only the old one is led to the new one.
func TestLeaderCloses(t *testing.T) {
	c := newCluster(t, 3)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	for round := range 2 {
		old := c.leader()
		start := time.Now()
		require.NoError(t, c.nodes[old].Close())
		delete(c.nodes, old)
		closed := time.Since(start)
		require.NoError(t, client.Score(c.ctx(), "demo", api.Score{RecallAt1: 0.5}))
		t.Logf("round %d: close took %v, the next commit %v more", round, closed.Round(time.Millisecond), (time.Since(start) - closed).Round(time.Millisecond))
		require.NotEqual(t, old, c.leader())
		c.start(old, nil)
		c.agree(func(s *State) bool { return s.find("demo") != nil })
	}
}

// TestFollowerRedirects: a follower does nothing and says who leads.
func TestFollowerRedirects(t *testing.T) {
	c := newCluster(t, 3)
	require.NoError(t, c.client().Create(c.ctx(), demo()))
	c.agree(func(s *State) bool { return s.find("demo") != nil })
	leader := c.leader()
	nc := c.connect()
	for id := range c.nodes {
		for _, subject := range []string{api.SubjectCommand("test", id), api.SubjectQuery("test", id), api.SubjectBeat("test", id)} {
			m, err := nc.Request(subject, []byte(`{"what":"status"}`), patience)
			require.NoError(t, err)
			reply, err := api.DecodeReply(m.Data)
			require.NoError(t, err)
			if id != leader {
				require.ErrorIs(t, reply.Error, &api.Error{Code: api.CodeNotLeader})
				require.Equal(t, leader, reply.Leader)
			}
		}
	}
}

// TestDeafLeader: a leader that lost NATS ends nobody's membership and makes way for one that hears.
func TestDeafLeader(t *testing.T) {
	c := newCluster(t, 3)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	a, b := c.join("a"), c.join("b")
	before := a.until("both train", world(2))
	b.until("both train", world(2))
	deaf := c.leader()
	start := time.Now()
	c.conns[deaf].Close()
	require.NoError(t, client.Score(c.ctx(), "demo", api.Score{RecallAt1: 0.5}))
	t.Logf("leader loses NATS to the next commit: %v with a lease of %v", time.Since(start).Round(time.Millisecond), c.config(deaf).Lease)
	require.NotEqual(t, deaf, c.leader())
	plan, err := client.Plan(c.ctx(), "demo")
	require.NoError(t, err)
	require.Equal(t, before.Revision, plan.Revision)
}

// TestNoMajority: a node alone is ready, to let its peers find it, but leads nobody, and the client
// says so.
func TestNoMajority(t *testing.T) {
	c := newCluster(t, 3)
	client := c.client()
	require.NoError(t, client.Create(c.ctx(), demo()))
	survivor := c.leader()
	for id := range c.peers {
		if id != survivor {
			c.crash(id)
		}
	}
	<-leaves(c.nodes[survivor])
	ctx, cancel := contextWithTimeout(500 * time.Millisecond)
	defer cancel()
	_, err := client.Status(ctx)
	require.ErrorContains(t, err, "none leads")
	require.ErrorContains(t, err, survivor)
}
