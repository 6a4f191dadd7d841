// Package retrieval measures how well embeddings find images of their own class: Recall@K, MAP@R,
// R-precision, mean reciprocal rank and NMI, by exact search.
//
// Conventions, which the field leaves open and this package fixes:
//   - Order: the larger cosine similarity (or the smaller Euclidean distance) first; ties by the
//     smaller gallery index.
//   - A query never finds itself: gallery rows with the query's ID are left out.
//   - R is the number of gallery rows of the query's class, itself not counted. R-precision is the
//     number of them in the top R, divided by R. MAP@R = (1/R) sum over i <= R of P(i) rel(i), where
//     rel(i) says that rank i is of the query's class and P(i) is the precision of the top i.
//   - Recall@K is the share of queries with a match in the top K.
//   - A query whose class the gallery lacks has no result (Valid is false). It is counted as skipped
//     and enters no mean.
//   - NMI is that of k-means clusters and classes, with the arithmetic mean of the two entropies
//     below the line.
//
// How ranks are found. No sorted list of the gallery is kept. The scores of a query's R matches are
// computed first and sorted; then the gallery streams by, and every other row that scores above some
// match is counted at the best match it precedes:
//
//	matches of the query   0.9      0.7           0.4
//	rows counted                2        0              5
//	rank                     1        4 = 2 + 2     5      (rows with scores in 0.7 .. 0.9 precede 0.7)
//
// The rank of match i (from 0) is 1 + i + all counts up to it. Matches that fall behind rank R no
// longer matter, except the first, and are dropped, so that soon hardly a row needs more than one
// comparison.
//
// Cost: N*M*d multiply-adds for N queries and M gallery rows of dimension d, some 90 GFLOP/s per core
// with AVX (assembly for amd64) and 6 in plain Go elsewhere; memory for one block of queries and their
// matches per thread: no N x M matrix. Stanford Online Products with 128 dimensions takes about 14
// core-seconds and 55 MB in all.
//
// The result of a query depends on the query and the gallery alone, bit for bit: not on the range, the
// blocks, the threads or the machine, as every kernel sums an inner product in the same order. So
// workers that evaluate ranges of the queries (Range) need no padding, and their results joined in the
// order of ranks are those of one worker.
//
// Beside finding, MeasureGeometry describes how the embeddings lie: alignment (mean |x-y|^2 over
// positive pairs), uniformity (log of the mean of exp(-2 |x-y|^2) over all pairs) and utilisation
// (mean over test rows of the least |q-x|^2 to a training row, with or without mixed rows), exact and
// with the same independence of threads, blocks and ranges.
package retrieval
