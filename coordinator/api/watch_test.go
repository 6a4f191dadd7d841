package api

import (
	"context"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWatch: plans arrive by push and by beat; older ones, and those of other runs, do not; the
// channel holds the newest and is closed in the end.
func TestWatch(t *testing.T) {
	server := serve(t)
	n := newNode(t, server, "a", true, func(int) *Reply { return &Reply{} })
	beats := make(chan Beat, 100)
	first := Plan{Run: "demo", Revision: 5, Phase: Waiting, Members: []Member{{Worker: "w", Rank: NoRank}}}
	n.on(SubjectBeat("g", "a"), func(data []byte) any {
		b, err := DecodeBeat(data)
		require.NoError(t, err)
		beats <- b
		if b.Revision != 0 {
			return Reply{}
		}
		return Reply{Plan: &first}
	})
	require.NoError(t, n.nc.Flush())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plans, err := Dial(connect(t, server), "g").Watch(ctx, "demo", "w", func() Progress { return Progress{Step: 3, Loss: math.NaN()} })
	require.NoError(t, err)
	require.Equal(t, first, next(t, plans))

	b := next(t, beats)
	require.Equal(t, "w", b.Worker)
	require.True(t, math.IsNaN(b.Progress.Loss), "a diverged loss travels")
	for b.Revision == 0 {
		b = next(t, beats)
	}
	require.EqualValues(t, 5, b.Revision, "beats say what the worker knows")

	push := func(p Plan) {
		data, err := Encode(p)
		require.NoError(t, err)
		require.NoError(t, n.nc.Publish(SubjectPlan("g", "demo"), data))
	}
	push(Plan{Run: "demo", Revision: 4})
	push(Plan{Run: "other", Revision: 9})
	require.NoError(t, n.nc.Publish(SubjectPlan("g", "demo"), []byte("garbage")))
	push(Plan{Run: "demo", Revision: 6})
	require.EqualValues(t, 6, next(t, plans).Revision)

	cancel()
	for range plans {
		t.Error("no plan was left")
	}
}

func next[T any](t *testing.T, from <-chan T) T {
	select {
	case v, ok := <-from:
		require.True(t, ok, "closed")
		return v
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing came")
		panic("unreachable")
	}
}

// TestMailbox: the newest plan wins while nobody reads.
func TestMailbox(t *testing.T) {
	box := &mailbox{plans: make(chan Plan, 1)}
	for _, revision := range []uint64{3, 7, 5, 7} {
		box.offer(Plan{Revision: revision})
	}
	require.EqualValues(t, 7, (<-box.plans).Revision)
	box.lose(Plan{Reason: "unknown"})
	box.lose(Plan{Reason: "unknown, again"})
	require.Equal(t, "unknown", (<-box.plans).Reason)
	box.offer(Plan{Revision: 1})
	require.EqualValues(t, 1, (<-box.plans).Revision, "a run created again counts from 1")
	box.close()
	box.offer(Plan{Revision: 2})
	_, open := <-box.plans
	require.False(t, open)
}

// TestPlan: a spare is a member without a rank.
func TestPlan(t *testing.T) {
	p := Plan{Members: []Member{{Worker: "a", Rank: 0}, {Worker: "b", Rank: 1}, {Worker: "c", Rank: NoRank}}}
	require.Equal(t, 2, p.World())
	rank, ok := p.Rank("b")
	require.True(t, ok)
	require.EqualValues(t, 1, rank)
	_, ok = p.Rank("c")
	require.False(t, ok)
	require.True(t, p.Has("c"))
	rank, ok = p.Rank("d")
	require.False(t, ok)
	require.Equal(t, NoRank, rank)
	require.False(t, p.Has("d"))
}

// TestReal: numbers that JSON has not survive, also in a status.
func TestReal(t *testing.T) {
	for _, f := range []float64{0, -1.5, math.Inf(1), math.Inf(-1), math.NaN()} {
		in := Progress{Step: 2, Loss: f, ImagesPerSecond: f, Phases: map[string]float64{"load": f}}
		b, err := json.Marshal(in)
		require.NoError(t, err)
		var out Progress
		require.NoError(t, json.Unmarshal(b, &out))
		for _, got := range []float64{out.Loss, out.ImagesPerSecond, out.Phases["load"]} {
			require.True(t, got == f || math.IsNaN(got) && math.IsNaN(f), "%v is not %v", got, f)
		}
	}
	var r Real
	require.ErrorContains(t, json.Unmarshal([]byte(`"many"`), &r), "is no number")
}
