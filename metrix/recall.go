package metrix

import "math"

// recallLevels are the k of the recall@k surrogate.
func recallLevels() []float64 { return []float64{1, 2, 4, 8, 16} }

// recallAtK is one minus the smoothed recall at several k, averaged over them (Patel, Tolias,
// Matas, "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", CVPR 2022):
//
//	1 - (1/|K|) SUM_k min( k, SUM_p sigma((k - r_p)/tau1) ) / min( k, |P(a)| )
//	r_p = 1 + SUM_{x != p} sigma((s_x - s_p)/tau2)
//
// where sigma is the logistic function, which stands for the step in both places: r_p is the rank
// of the positive p among all candidates (positives too, the anchor not), and the first sigma says
// whether it is within k. An anchor without positives has no recall and adds 0. The sums are
// capped at k, and divided by the greatest recall that is possible, as in the authors' code; unlike
// there, the anchor is no candidate of its own and takes up no rank. It costs P x N logistic functions.
func recallAtK(rank, near float64) *Listwise {
	ks := recallLevels()
	return &Listwise{Loss: func(n Neighbors) (value float64, nonzero int) {
		if n.Positives == 0 {
			return 0, 0
		}
		ranks := make([]float64, n.Positives)
		for p := range ranks {
			ranks[p] = smoothRank(n.S, p, near)
		}
		value = 1
		byRank := make([]float64, n.Positives) // derivative of value
		for _, k := range ks {
			value -= recallTerm(ranks, byRank, k, rank, 1/float64(len(ks)))
		}
		if n.DS != nil {
			for p, d := range byRank {
				rankSlope(n.DS, n.S, p, near, d)
			}
		}
		return value, 1
	}}
}

// recallTerm returns share times the recall at k and takes its derivative by the ranks off byRank.
func recallTerm(ranks, byRank []float64, k, temperature, share float64) float64 {
	var hits float64
	for _, r := range ranks {
		hits += logistic((k - r) / temperature)
	}
	share /= min(k, float64(len(ranks)))
	if hits >= k {
		return share * k
	}
	for p, r := range ranks {
		h := logistic((k - r) / temperature)
		byRank[p] += share * h * (1 - h) / temperature
	}
	return share * hits
}

// smoothRank returns r_p.
func smoothRank(s []float64, p int, temperature float64) float64 {
	r := 1.0
	for x, v := range s {
		if x != p {
			r += logistic((v - s[p]) / temperature)
		}
	}
	return r
}

// rankSlope adds scale times the derivative of r_p by s to ds.
func rankSlope(ds, s []float64, p int, temperature, scale float64) {
	if scale == 0 {
		return
	}
	var own float64
	for x, v := range s {
		if x == p {
			continue
		}
		h := logistic((v - s[p]) / temperature)
		d := scale * h * (1 - h) / temperature
		ds[x] += d
		own += d
	}
	ds[p] -= own
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
