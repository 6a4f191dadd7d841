// Package worker trains: it is the loop that a GPU or CPU process runs.
//
// # Vocabulary
//
// A run is described by a recipe and advanced in steps. The global batch of a step is cut into
// shards; a worker owns a contiguous range of them and therefore a contiguous range of the batch's
// rows. The coordinator hands out plans: a generation number, the members with their ranks, and who
// owns which shards. A generation is one fixed membership; any change of it ends the generation and
// starts the next one.
//
//	Run ── joins ──> plan g ──> meet ──> step, step, step … ──> finish
//	                   ^                       │
//	                   └── generation g+1 ─────┘  (a worker joined, left or was lost)
//
// # Invariants
//
//   - Nothing that happens within a step depends on the number of workers: batches, augmentations,
//     pairs and lambdas are functions of (seed, step); gradients are exact sums over shards of a mean
//     that is taken once, over the global batch.
//   - The optimizer is the last thing a step does, so an aborted step has changed nothing.
//   - After the reduction all ranks hold the same bits, so they hold the same parameters for ever.
//   - A generation meets first: whoever has done most steps gives its state to the others. A lost
//     worker therefore costs at most the step in flight.
//   - No step calls the coordinator. Beats go from a goroutine of their own, on their own connection.
package worker
