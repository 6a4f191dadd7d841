// Package metrix is the loss of a run: the generalised loss of deep metric learning with mixup, as
// pure functions on float32 rows ("It Takes Two to Tango: Mixup for Deep Metric Learning", arXiv
// 2106.04990, ICLR 2022; equations below follow its notation).
//
// # Vocabulary
//
// An embedding is a row of unit length; s(a, x) is the inner product of two of them, their cosine.
// An anchor a is what a loss term belongs to; the candidates x it is compared with are its
// positives P(a), of its class, and its negatives N(a), of other classes; the anchor itself is in
// neither. Both ends are rows of the global batch, the union of what all workers embedded, except
// that one end may be proxies: one learned row per class.
//
// A pair that is mixed becomes one more row on the sphere, f_lam(x, x') = (lam x + (1-lam) x') /
// |lam x + (1-lam) x'|, with the label y = lam y(x) + (1-lam) y(x'), where y(x) is 1 for positives
// and 0 for negatives of the anchor. M(a) is the set of pairs that are mixed for an anchor, V(a) the
// set of their mixes (v, y). A mix of a positive and a negative is thus a positive of weight lam and
// a negative of weight 1-lam at once.
//
// # The loss
//
//	clean  l(a)  = tau( sig+( SUM_{p in P(a)} rho+(s(a,p)) ) + sig-( SUM_{n in N(a)} rho-(s(a,n)) ) )
//	mixed  lm(a) = tau( sig+( SUM_{(v,y) in V(a)} y rho+(s(a,v)) ) + sig-( SUM_{(v,y) in V(a)} (1-y) rho-(s(a,v)) ) )
//	error  E     = mean over all anchors of [ l(a) + w lm(a) ]
//
// Five scalar functions with their derivatives, a [Form], tell one loss from another (the paper's
// Table 1):
//
//	form               anchor   candidates  tau   sig+           sig-           rho+         rho-
//	contrastive        example  examples    x     x              x              -s           [s-m]+
//	multi_similarity   example  examples    x     log(1+x)/b     log(1+x)/g     e^{-b(s-m)}  e^{g(s-m)}
//	binomial_deviance  example  examples    x     log(1+x)       log(1+x)       e^{-b(s-m)}  e^{g(s-m)}
//	lifted_structure   example  examples    [x]+  log x          log x          e^{-s}       e^{s-m}
//	nca                example  examples    x     -log x         log x          e^{s/T}      e^{s/T}
//	proxy_anchor       proxy    examples    x     log(1+x) *     log(1+x)       e^{-a(s-d)}  e^{a(s+d)}
//	proxy_nca          example  proxies     x     -log x         log x          e^{s/T}      e^{s/T}
//
// (*) averaged over the proxies present in the batch; everything else over all anchors. [NewForm]
// returns these rows with the published constants as defaults; a loss of one's own is a literal.
//
// Losses that weigh every positive against the negatives are no such sums. They are a [Listwise], one
// function of an anchor's similarities, and share everything else: ranges, reductions, memory.
//
//	form         terms of an anchor                                            mixed
//	triplet      phi(d_p - d_n + m) of every triplet                           refused: a row that is both has no side
//	nt_xent      log(1 + SUM_n (1-y_n) e^{(s_n - s_p)/T}), weight y_p, of      as any form: labels weigh
//	             every positive
//	supcon       mean over positives of log SUM_x e^{s_x/T} - s_p/T            as any form: labels weigh
//	recall_at_k  one minus the smoothed recall at 1, 2, 4, 8, 16               rows of one class only ([SameClass])
//
// How terms become one number is the form's [Reduction], by [NewFormReduced]: the paper's mean over
// anchors of sums over terms, or the mean over the batch's strictly positive or over all terms.
//
// Pairs M(a) are P(a) x N(a), positive-negative, or {a} x N(a), anchor-negative ([PairType]). Forms
// with proxies mix positives with negatives only: two examples where proxies are anchors, the
// proxy of the anchor's class with each other proxy where proxies are candidates. The latter is
// the formula read literally: whatever stands in P(a) and N(a) is mixed. A [Mix] is what one step
// mixes; [DrawMix] draws it from (seed, step), lambda once per step or once per ordered pair of
// the batch. Hardest keeps the k most similar negatives of each anchor in M(a).
//
// # Levels
//
// Examples are mixed as images, as feature maps or as embeddings, by one linear [Operator]. Before the
// embedding level the mixes go through the network, and V(a) is what comes out of it: [ChoosePairs]
// lists the pairs, [MixedRows] carries the mixed embeddings with their labels into Evaluate, and
// Gradient.Mixed carries their gradient out, from where the network's backward pass and
// [Operator.Transpose] take it to both partners. docs/method.md tells the step in order.
//
// # Never a mixed row
//
// With G the Gram matrix of the unit rows,
//
//	s(a, mix(p,n)) = ( lam G[a,p] + (1-lam) G[a,n] ) / sqrt( lam^2 + (1-lam)^2 + 2 lam (1-lam) G[p,n] )
//
// so a mix is three numbers of G, and its denominator is shared by all anchors. The derivative by
// the three numbers is collected in a matrix dG like G, and
//
//	dX = (dG + dG^T) X
//
// is the gradient by the rows. (With proxies there is a second matrix H of anchors against
// candidates, with dA = dH X and dX = dH^T A.)
//
//	                 Gram form          materialised
//	products         2 B^2 d            P N d per anchor
//	scalar work      B^2 K              B^2 K
//	memory           6 B^2 + 5 B d      B^2 K d
//
// for B examples of dimension d, K per class. At B = 1024, d = 512, K = 5 all 4.2 million mixed
// pairs take 22 MB, 26 with a lambda per pair, and 4 more with one proxy per class.
//
// # Memory
//
// Rows of earlier steps (cross-batch memory) are candidates of every anchor, but no anchors and
// constants: [Batch].Memory. They add M columns to G and none to its rows, are read where they lie,
// and are mixed as negatives where Mix.Memory says so.
//
// # Invariants
//
//   - Pure: the result is a function of the arguments. A [Loss] keeps buffers, not state.
//   - [Loss.Evaluate] returns the share of a range of anchors in the global mean; shares and
//     gradients of ranges that cover all anchors sum to the whole. Workers therefore add, never
//     average. What needs the whole batch (proxies present, non-zero terms) is counted over it. The
//     bits of a range's share depend on its arguments alone, not on the ranges evaluated before.
//   - Threads change no bit: a class is the unit of work, and all that a class writes (its anchors'
//     and its positives' rows of dG, the mixed rows whose first partner is of it) no other writes.
//   - Sums of exponentials are kept relative to their greatest exponent, in float64: gamma = 75, or
//     10^4, overflows nothing. Similarities are float32, so a value is good to about 1e-7 times the
//     form's slope.
//   - An anchor without positives, or without negatives, adds 0 for the part it lacks and counts in
//     the mean; without either kind there is nothing to mix for it. (A log of an empty sum is 0
//     here, not minus infinity.)
//   - A mix of opposite rows has no direction: shorter than 1e-3, its similarity is 0 and it passes
//     no gradient.
//   - Rows enter as unit vectors and G[i,i] = 1 is a constant: gradients have meaning tangentially,
//     and [NormalizeBackward] passes on that part only.
package metrix
