// Package allreduce sums and moves float32 vectors among the ranks of one generation of a run, on
// a ring or straight from rank to rank, over a Transport: memory inside one process, core NATS
// between processes and machines, and over NATS shared memory between processes of one machine
// (Local).
//
// # The ring
//
// Around the ring rank r sends chunks to its successor r+1 and nothing else; credits go the other
// way. A vector is
// cut into World segments. In the reduce-scatter each segment starts at the rank after its own,
// goes once around, and every rank it passes adds its own part: after World-1 hops segment i is
// complete on rank i. The all-gather sends the complete segments once more around:
//
//	      chunks                      reduce-scatter, World = 4, what each rank sends:
//	+--> 0 ------> 1 --+
//	|                  |              hop    rank 0   rank 1   rank 2   rank 3
//	|      credits     |               0       3        0        1        2
//	|    <- - - - -    |               1       2        3        0        1
//	|                  |               2       1        2        3        0
//	+--- 3 <------ 2 <-+              then rank i holds the whole sum of segment i
//
// Segments travel in chunks of about 1 MiB: receive, add, send on, so all hops are at work at once,
// and a chunk that comes in is summed and sent on in the buffer it came in. Broadcast is a chain
// along the same ring, Barrier a reduce-scatter of nothing.
//
// Between ranks of one machine a chunk is written once, in the memory that both share, and read there.
// It has no checksum of its payload, which no wire has touched. ReduceScatterIntegers lets the caller
// make integers in that memory and take sums from it, so that they lie nowhere else.
//
// # The exchange
//
// Exchange gives every rank a vector of every rank, of any lengths, and is for what only one rank
// needs: the feature maps of mixed examples. A ring would carry them past all ranks in between, so
// they go straight from rank to rank, in rounds: in round o rank r sends to r+o and receives from
// r-o. Peers meet when they first exchange. Frames, sequence numbers, credits and errors are those of
// the ring, for each pair of ranks, and exchanges and collectives of the ring may follow each other in
// any order. Between any two ranks at least an empty chunk travels, which compares what both are doing.
//
// # Cost
//
// For S bytes and N ranks, each rank sends and receives S(N-1)/N bytes in ReduceScatter and in
// AllGather, twice that in AllReduce, S in Broadcast; the latency is N-1 hops for the first two and
// 2(N-1) for AllReduce. Bus bandwidth, the number that does not depend on N, is S/t * 2(N-1)/N.
//
// In an Exchange a rank sends and receives exactly the bytes that go between it and others, 4 for
// each number or 2 as BFloat16, and a frame of 64 bytes to and from every rank it has nothing for. The
// latency is about one hop, as nothing waits for a third rank while chunks are within their windows;
// the first exchange adds a round trip for each of N/2 peers. With even shares the time is that of
// the bytes of one rank; at worst it is that of the longest vector of every round, one round after
// the other.
//
// # What never happens
//
// A late or foreign frame never enters a sum. Every frame carries run, generation, step, a hash of
// operation, phase and lengths, a sequence number, the sender and checksums, and is compared
// with the one frame that is due. Left-over frames of older generations are dropped and counted;
// anything else that is not the frame that is due ends the generation on this rank with an error,
// and an abort frame tells all other ranks. Nothing is sent twice and nothing is waited for beyond
// Config.Stall: repair is the next generation's work, not the ring's.
//
// The order of summation of an element depends on its index, the length and World alone, so the
// same inputs give the same bits every time, and all ranks hold the same bits. Sums that must not
// depend on World either are made of integers: ReduceScatterInt64.
//
// # Flow control
//
// Core NATS has none: it drops what a slow subscriber cannot take. So a rank sends at most
// Config.Window chunks that its successor has not consumed. The successor grants credit by the
// number of chunks it has consumed in total, so a credit is a statement rather than a token and
// needs no answer. In an exchange, where all ranks may send to one, each pair of ranks has such a
// window, smaller in worlds of more than 5 ranks: 4 windows together, or one chunk of every rank.
package allreduce
