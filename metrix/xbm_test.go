package metrix_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/metrix"
)

// appended splits a batch of n+m rows into a batch of n and a memory of m rows.
func appended(b metrix.Batch, n int) metrix.Batch {
	c := b
	c.Embeddings, c.Memory = b.Embeddings[:n*b.Dim], b.Embeddings[n*b.Dim:]
	c.Labels, c.MemoryLabels = b.Labels[:n], b.Labels[n:]
	return c
}

// A memory is what the same rows would be at the end of the batch, seen by the batch's own anchors
// only: value and gradient by the batch are equal but for the mean, which is over n anchors.
func TestMemoryIsAppendedRows(t *testing.T) {
	const n = 16
	p := mixedBatch()
	q := random(33, []int32{2, 4, 4, 5, 1, 3, 5, 0, 2}, 6, 7) // class 5 is in the memory alone
	p.x, p.labels = append(p.x, q.x...), append(p.labels, q.labels...)
	_, all := p.batch(7)
	split := appended(all, n)
	mixes := map[string]metrix.Mix{
		"clean":           {},
		"mixed with":      {Weight: 0.4, PerPair: perPair, Pairs: metrix.AnchorNegative, Memory: true},
		"hardest, lambda": {Weight: 0.4, Lambda: 0.3, Hardest: 5, Pairs: metrix.AnchorNegative, Memory: true},
	}
	for _, name := range []string{"contrastive", "multi_similarity", "binomial_deviance", "lifted_structure", "nca", "nt_xent", "supcon", "recall_at_k"} {
		f, err := metrix.NewFormReduced(name, nil, "paper")
		require.NoError(t, err)
		for kind, mix := range mixes {
			if f.Virtual {
				mix = metrix.Mix{}
			}
			want, wantX, _ := sumOfRanges(t, f, all, mix, 0, n)
			got, x, _ := sumOfRanges(t, f, split, mix, 0, 5, n)
			scale := float64(n+9) / n
			require.InDelta(t, scale*want.Clean, got.Clean, 1e-6*(1+abs(want.Clean)), "%s, %s", name, kind)
			require.InDelta(t, scale*want.Mixed, got.Mixed, 1e-6*(1+abs(want.Mixed)), "%s, %s", name, kind)
			wide := widen(wantX[:n*7])
			for i := range wide {
				wide[i] *= scale
			}
			require.Less(t, distance(wide, x), 3e-6, "%s, %s", name, kind)
		}
	}
}

// Proxy anchors see memory rows too, and gradients by proxies include them.
func TestMemoryOfProxyAnchors(t *testing.T) {
	p := mixedBatch()
	_, all := p.batch(7)
	split := appended(all, 10)
	f := form(t, "proxy_anchor", nil)
	want, wantX, wantProxies := sumOfRanges(t, f, all, metrix.Mix{}, 0, 6)
	got, x, proxies := sumOfRanges(t, f, split, metrix.Mix{}, 0, 2, 6)
	require.InEpsilon(t, want.Total, got.Total, 1e-6)
	require.Less(t, distance(widen(wantX[:70]), x), 3e-6)
	require.Less(t, distance(widen(wantProxies), proxies), 3e-6)
}

// Mixing with memory rows off, a memory changes the clean part alone.
func TestMemoryIsMixedOnlyWhenAsked(t *testing.T) {
	p := mixedBatch()
	_, all := p.batch(7)
	split := appended(all, 12)
	alone := split
	alone.Memory, alone.MemoryLabels = nil, nil
	for _, name := range []string{"multi_similarity", "proxy_anchor"} {
		f := form(t, name, nil)
		n := metrix.NumAnchors(f, alone)
		mix := metrix.Mix{Weight: 0.4, PerPair: perPair, Hardest: 4}
		want, _, _ := sumOfRanges(t, f, alone, mix, 0, n)
		got, _, _ := sumOfRanges(t, f, split, mix, 0, n)
		if name == "multi_similarity" { // proxy anchors' mean is over classes present, memory included
			require.Equal(t, want.Mixed, got.Mixed)
		}
		require.NotEqual(t, want.Clean, got.Clean)
		mix.Memory = true
		more, _, _ := sumOfRanges(t, f, split, mix, 0, n)
		require.NotEqual(t, got.Mixed, more.Mixed)
	}
}

// Rows of classes that a batch lacks, as positive-negative partners: those are what appended rows
// give as well, since they are positives of no anchor.
func TestPositivesAreMixedWithMemory(t *testing.T) {
	p := random(2, []int32{0, 0, 1, 1, 1, 2, 2, 3, 3, 4}, 5, 6)
	_, all := p.batch(6)
	split := appended(all, 5)
	f := form(t, "multi_similarity", nil)
	mix := metrix.Mix{Weight: 0.4, PerPair: perPair, Memory: true}
	want, wantX, _ := sumOfRanges(t, f, all, mix, 0, 5)
	got, x, _ := sumOfRanges(t, f, split, mix, 0, 5)
	require.InEpsilon(t, 2*want.Total, got.Total, 1e-6)
	wide := widen(wantX[:30])
	for i := range wide {
		wide[i] *= 2
	}
	require.Less(t, distance(wide, x), 3e-6)
}

// A memory longer than a block of the backward pass, for any number of threads, bit for bit.
func TestMemoryAndThreads(t *testing.T) {
	all := large(1300, 13, 5)
	all.Proxies = nil
	split := appended(all, 60)
	for _, name := range []string{"contrastive", "multi_similarity", "nt_xent"} {
		f := form(t, name, nil)
		want, wantX, _ := sumOfRanges(t, f, split, metrix.Mix{}, 0, 60)
		l := loss(t, f, 7)
		grad := metrix.Gradient{Embeddings: make([]float32, len(wantX))}
		got, err := l.Evaluate(grad, split, metrix.Mix{}, 0, 60)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, wantX, grad.Embeddings)
	}
}

func TestMemoryMistakesAreSentences(t *testing.T) {
	p := mixedBatch()
	_, all := p.batch(7)
	split := appended(all, 10)
	try := func(name string, params map[string]float64, b metrix.Batch) string {
		_, err := loss(t, form(t, name, params), 1).Evaluate(metrix.Gradient{}, b, metrix.Mix{}, 0, 1)
		require.Error(t, err)
		return err.Error()
	}
	require.Contains(t, try("proxy_nca", nil, split), "memory rows would not count")
	require.Contains(t, try("triplet", map[string]float64{"swap": 1}, split), "memory rows cannot be")
	short, long := split, split
	short.Memory = short.Memory[1:]
	require.Contains(t, try("nca", nil, short), "6 memory labels of dimension 7 need 42 floats, got 41")
	long.Memory = make([]float32, len(split.Memory))
	require.Contains(t, try("nca", nil, long), "memory row 0 has norm 0")
}
