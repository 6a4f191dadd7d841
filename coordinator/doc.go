// Package coordinator decides who trains: a few nodes keep one small state by raft, give workers
// ranks and shards, and notice when one is gone. No training step waits for a coordinator; a step
// needs only the plan that a worker got when the membership last changed.
//
// # Vocabulary
//
//   - A group is the nodes that keep one state; it can hold several runs.
//   - A member is a worker that joined a run; its lease lasts as long as its beats come.
//   - The ring is the members with a rank: the first S in order of joining, for S shards.
//   - A spare is a member beyond S. It beats and waits, and is taken in when somebody leaves.
//   - A plan is phase, generation, members, ranks and shards at one moment, numbered by revision.
//   - The generation numbers the rings: collectives of an older generation are stale.
//
// # Life of a run
//
//	          MinWorkers joined            finish
//	waiting ----------------------> running ------> finished
//	 ^   ^                          |     |             |
//	 |   +-- the last member left --+     +--> failed   |
//	 |                                fail       |      |
//	 +------------------------------- resume ----+------+
//
// Once running, a run goes on with any number of members from 1 to S: MinWorkers only holds the
// start. A run that is over keeps its last plan for those who still watch, and refuses to be joined
// until it is created again with Spec.Resume. It may fail while it waits as well.
//
// # How a command travels
//
//	client --NATS--> leader --raft log--> majority --> State.Apply on every node --> answer
//	                    \__ plan pushed to watchers after the commit; a lost push is repaired
//	                        by the next beat, whose answer carries the plan if it is news
//
// Every command has an id made by the client. A command whose answer was lost is sent again under
// the same id, to the next leader if need be, and the state answers a known id as it did the first
// time. Beats and progress never enter the log: the leader alone remembers them, and a new leader
// begins every lease anew.
//
// # Invariants
//
//   - State.Apply is a function of state and command: no clock, no network, no order of a map. Time
//     is stamped on the command by the leader. Equal logs give snapshots equal to the byte.
//   - Ranks are 0..W-1 in order of joining, 1 <= W <= S while running; every shard has one owner.
//   - Revision never falls; generation never falls, and rises whenever a rank or shard changed hands.
//     Only a spare may come or go without a new generation, since the ring does not notice.
//   - The committed checkpoint's step never falls.
//   - An expiry names the join that it ends; a worker that joined again keeps its new membership.
//
// # Cost
//
// A command is one raft commit, a few milliseconds on a disk. A beat is one message each way and a
// lookup in memory. Losing the leader costs one to two heartbeats (200 ms by default) and an
// election before the next commit; members' leases (1.2 s) outlast it.
package coordinator
