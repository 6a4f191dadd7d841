package retrieval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// RecallAt is the share of queries with a match among the nearest K.
type RecallAt struct {
	K     int     `json:"k"`
	Value float64 `json:"value"`
}

// Metrics are means over the queries that have a match in the gallery, each in [0, 1].
type Metrics struct {
	Recall         []RecallAt `json:"recall"` // by rising K
	MAPAtR         float64    `json:"map_at_r"`
	RPrecision     float64    `json:"r_precision"`
	ReciprocalRank float64    `json:"mean_reciprocal_rank"`
	Queries        int        `json:"queries"` // counted in the means
	Skipped        int        `json:"skipped"` // without a possible match
}

// Measure evaluates all queries and summarizes them for opt.Recall.
func Measure(ctx context.Context, queries, gallery Rows, opt Options) (Metrics, error) {
	results, err := Evaluate(ctx, queries, gallery, 0, queries.Len(), opt)
	if err != nil {
		return Metrics{}, err
	}
	return Summarize(results, opt.Recall), nil
}

// Summarize takes the means of the results of all queries. ks lists the K's of Recall@K in any order.
// The sums run in the order of the results: joined ranges give the same bits as one range.
func Summarize(results []Result, ks []int) Metrics {
	ks = slices.Clone(ks)
	slices.Sort(ks)
	ks = slices.Compact(ks)
	m := Metrics{Recall: make([]RecallAt, len(ks))}
	for _, r := range results {
		if !r.Valid {
			m.Skipped++
			continue
		}
		m.Queries++
		m.MAPAtR += float64(r.AP)
		m.RPrecision += float64(r.RPrecision)
		m.ReciprocalRank += 1 / float64(r.FirstHit)
		for i, k := range ks {
			if int(r.FirstHit) <= k {
				m.Recall[i].Value++
			}
		}
	}
	n := float64(max(m.Queries, 1))
	m.MAPAtR /= n
	m.RPrecision /= n
	m.ReciprocalRank /= n
	for i, k := range ks {
		m.Recall[i] = RecallAt{K: k, Value: m.Recall[i].Value / n}
	}
	return m
}

// RecallAt returns Recall@k, and false if it was not asked for.
func (m Metrics) RecallAt(k int) (float64, bool) {
	for _, r := range m.Recall {
		if r.K == k {
			return r.Value, true
		}
	}
	return 0, false
}

// Header returns the column titles that belong to Row.
func (m Metrics) Header() string {
	var b strings.Builder
	for _, r := range m.Recall {
		fmt.Fprintf(&b, "%8s", fmt.Sprintf("R@%d", r.K))
	}
	fmt.Fprintf(&b, "%8s%8s", "MAP@R", "RP")
	return b.String()
}

// Row returns the figures in percent, in columns of 8: Recall by rising K, MAP@R, R-precision.
func (m Metrics) Row() string {
	var b strings.Builder
	for _, r := range m.Recall {
		fmt.Fprintf(&b, "%8.2f", 100*r.Value)
	}
	fmt.Fprintf(&b, "%8.2f%8.2f", 100*m.MAPAtR, 100*m.RPrecision)
	return b.String()
}

// EncodedWidth is the number of floats that carry one Result between workers.
const EncodedWidth = 4

// Encode writes results as float32 values, EncodedWidth each, for a gather of float32 blocks. Every
// Result comes back exactly: the rank travels in two halves of 16 bits.
func Encode(results []Result) []float32 {
	out := make([]float32, 0, EncodedWidth*len(results))
	for _, r := range results {
		rank := uint32(0)
		if r.Valid {
			rank = uint32(r.FirstHit)
		}
		out = append(out, float32(rank>>16), float32(rank&0xffff), r.AP, r.RPrecision)
	}
	return out
}

// Decode reads what Encode wrote.
func Decode(x []float32) ([]Result, error) {
	if len(x)%EncodedWidth != 0 {
		return nil, fmt.Errorf("retrieval: %d values are not whole results of %d", len(x), EncodedWidth)
	}
	out := make([]Result, 0, len(x)/EncodedWidth)
	for v := range slices.Chunk(x, EncodedWidth) {
		if !half(v[0]) || !half(v[1]) {
			return nil, fmt.Errorf("retrieval: encoded result %d has the rank halves %v and %v: not 16-bit integers",
				len(out), v[0], v[1])
		}
		rank := uint32(v[0])<<16 | uint32(v[1])
		if rank > math.MaxInt32 {
			return nil, fmt.Errorf("retrieval: encoded result %d has rank %d, above the limit of 2^31-1", len(out), rank)
		}
		if rank == 0 {
			out = append(out, Result{})
			continue
		}
		out = append(out, Result{FirstHit: int32(rank), AP: v[2], RPrecision: v[3], Valid: true})
	}
	return out, nil
}

// half says whether v is an integer of 16 bits.
func half(v float32) bool { return v >= 0 && v <= 0xffff && v == float32(uint32(v)) }
