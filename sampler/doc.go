// Package sampler decides which images make the global batch of a step. A batch is a function of
// (seed, step) and the classes of the training set alone: the number of workers, a restart or a
// change of membership cannot alter it.
//
// Vocabulary. The global batch has P classes with K images each, P*K rows. It is made of S equal
// shards; S divides P, so a shard contributes P/S classes to every step. A worker owns a contiguous
// range of shards (Assign). An epoch consists of a number of passes; a pass shows every class.
//
// An epoch is planned from (seed, epoch) in three layers:
//
//	deal    classes to shards: class counts differ by at most 1, image counts by at most the size
//	        of the largest class
//	order   of a shard's classes, shuffled anew in each pass and cut into steps of P/S classes; the
//	        last step of a pass is completed with the first classes of the same order
//	images  of a class, a fresh permutation per round; a visit takes the next K of them
//
// Invariants, each of them a test:
//   - Within a shard and a pass no class appears twice before all have appeared once; only the last
//     step of a pass can hold a class for the second time, and no step holds a class twice.
//   - Within an epoch all images of a class are used once before any is used twice, and so on:
//     Item.Use is the round of its class.
//   - A visit holds no image twice if the class has at least K images; a smaller class shows all
//     its images before any of them again.
//   - StepsPerEpoch is the same in every epoch.
//
// A class with a single image is allowed: it fills its K rows with K uses of that image, which the
// augmentation makes different (it is keyed by Item.Use). Such a class has only itself as positive;
// whether that is wanted is for the owner of the data to say ("metrix data verify" counts them).
//
// Cost: a plan of Stanford Online Products (59 551 images, 11 318 classes) takes about 5 ms and
// 12 bytes per row of the epoch; the two plans used last are kept.
package sampler
