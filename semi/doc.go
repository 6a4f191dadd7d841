// Package semi trains on batches of which only some images have labels, after Dutta, Harandi and
// Chandra Sekhar, "Semi-Supervised Metric Learning: A Deep Resurrection" (AAAI 2021). docs/semi.md
// says which parts are the paper's and which are ours. Everything here is a pure function of its
// arguments.
//
// # Vocabulary
//
// A row is an embedding of the global batch; its label is a class number, or negative if unknown. The
// affinity of two rows says whether they are of one class: 1 yes, -1 no, 0 unknown. Known labels give
// the affinities of labelled pairs; a graph of nearest neighbours carries them to all pairs
// (propagation); where affinities and distances disagree there is something to learn (triplets).
//
// # A step
//
//	[SplitLabels]    once: which images keep their label
//	sampler.Semi     the batch: each shard has labelled rows, then unlabelled ones
//	[Labelled]       the rows a supervised loss sees
//	[Loss].Prepare   [NewGraph], [Propagate], [Mine]: the triplets of the batch, on every worker
//	[Loss].Evaluate  the loss of a range of anchors with its gradient by all rows
//	[Retract]        after the optimizer's step: the head's weights stay orthonormal
//
// # Invariants
//
//   - Every worker that holds the gathered rows computes the same graph, affinities and triplets to
//     the bit. Sums have one order, whatever the number of threads; products are rounded before they
//     are added. (Weights use math.Exp, whose last bit may differ between kinds of processors.)
//   - Shares of ranges of anchors add up to the loss: the mean is over the triplets of the batch.
//   - Known labels are never contradicted by a triplet.
//   - Triplets are constants of a step: nothing is differentiated through graph or affinities.
//
// # Cost
//
// N rows of d floats, k neighbours, C labelled classes, T propagation steps (22 at gamma = 0.5, 61 at 0.9):
//
//	graph         N^2 d / 2   multiply-adds, 9 N^2 bytes for its time
//	propagation   2 k N C T
//	triplets      N k C
//	loss          N k/2 x 6 d
package semi
