// Package api is what crosses the wire between a coordinator and everybody else: the types, the
// subjects, and a Client that finds the leader and retries. Workers and tools import only this
// package; package coordinator (and raft with it) stays on the other side.
//
// # Vocabulary
//
//	group    the coordinators that keep one replicated state, named by a token in every subject
//	run      one training, named by run.ID, described by a Spec that never changes
//	worker   a process that trains; it is named by a unique instance id, never used twice
//	member   a worker that joined a run and keeps its lease alive by beats
//	spare    a member without a rank: there are more members than shards, so it waits
//	plan     who trains, in which generation, with which ranks and shards
//
// # How a worker uses it
//
//	client := api.Dial(nc, "default")
//	client.Create(ctx, spec)                     // idempotent, whoever comes first
//	client.Join(ctx, spec.Run, api.Member{Worker: me, Host: host})
//	plans, _ := client.Watch(ctx, spec.Run, me, progress)
//	for plan := range plans {
//		if plan.Phase.Over() { return }
//		if !plan.Has(me) { client.Join(...); continue }    // the lease ran out
//		if rank, ok := plan.Rank(me); ok { train(plan, rank) } // else: wait for the next plan
//	}
//
// # Wire
//
// Messages are JSON of at most MaxMessage bytes. A command carries an id made by the client; the
// coordinator answers a repeated id with the first answer, so a client may repeat a command whose
// answer was lost (a leader that dies after committing it) without doing it twice.
package api
