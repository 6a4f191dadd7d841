package coordinator

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/coordinator/api"
)

// BenchmarkBeat is what a beat costs a leader besides NATS: 16 members, nothing new.
func BenchmarkBeat(b *testing.B) {
	n := &Node{fsm: &fsm{}, leases: newLeases(1e9), cfg: Config{}.withDefaults()}
	n.fsm.state.Apply(Command{ID: "1", Op: api.OpCreate, Run: "demo", Spec: &api.Spec{Run: "demo", Hash: "h", Shards: 16}})
	for _, w := range "abcdefghijklmnop" {
		n.fsm.state.Apply(Command{ID: string(w), Op: api.OpJoin, Run: "demo", Member: &api.Member{Worker: string(w)}})
	}
	beat, err := api.Encode(api.Beat{Run: "demo", Worker: "p", Revision: 17, Progress: api.Progress{Step: 100, Loss: 0.5, ImagesPerSecond: 100,
		Phases: map[string]float64{"load": 0.1, "forward": 0.2, "backward": 0.3, "reduce": 0.1}}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if reply := n.answerBeat(beat); reply.Error != nil || reply.Plan != nil {
			b.Fatalf("%+v", reply)
		}
	}
}

// BenchmarkCommit is a command from a client to the answer: NATS over TCP, raft, one disk.
func BenchmarkCommit(b *testing.B) {
	c := newCluster(b, 1)
	client := c.client()
	require.NoError(b, client.Create(c.ctx(), demo()))
	for b.Loop() {
		require.NoError(b, client.Score(context.Background(), "demo", api.Score{RecallAt1: 0.5}))
	}
}
