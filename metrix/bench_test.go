package metrix_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/metrix"
)

// large returns a class-sorted batch of unit rows, perClass examples of each class, with one raw
// proxy per class.
func large(size, perClass, dim int) metrix.Batch {
	r := draw.Of(1, draw.Test)
	classes := (size + perClass - 1) / perClass
	b := metrix.Batch{Dim: dim, Proxies: make([]float32, classes*dim)}
	for i := range b.Proxies {
		b.Proxies[i] = float32(r.Norm())
	}
	for i := range size {
		class := i / perClass
		b.Labels = append(b.Labels, int32(class))
		for j := range dim {
			b.Embeddings = append(b.Embeddings, float32(r.Norm())+0.8*b.Proxies[class*dim+j])
		}
	}
	metrix.Normalize(b.Embeddings, b.Embeddings, dim)
	return b
}

// A global batch of 1024, 512-d, 5 per class: value and gradient with all P x N mixed pairs, about
// 4.2 million. Memory per call is what -benchmem prints; the kept workspace is reported beside it.
func BenchmarkLoss1024(b *testing.B) {
	batch := large(1024, 5, 512)
	grad := metrix.Gradient{Embeddings: make([]float32, len(batch.Embeddings)), Proxies: make([]float32, len(batch.Proxies))}
	mixes := map[string]metrix.Mix{
		"step": {Weight: 0.4, Lambda: 0.4},
		"pair": metrix.DrawMix(metrix.MixConfig{Level: "embed", Weight: 0.4, Alpha: 2, Per: "pair"}, 1, 1),
	}
	for _, name := range []string{"contrastive", "multi_similarity", "proxy_anchor"} {
		for _, per := range []string{"step", "pair"} {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/lambda=%s/threads=%d", name, per, threads), func(b *testing.B) {
					l := loss(b, form(b, name, nil), threads)
					anchors := metrix.NumAnchors(l.Form(), batch)
					step := func() {
						_, err := l.Evaluate(grad, batch, mixes[per], 0, anchors)
						require.NoError(b, err)
					}
					step() // makes the workspace
					b.ReportAllocs()
					for b.Loop() {
						step()
					}
					b.ReportMetric(float64(l.WorkspaceBytes())/(1<<20), "workspace-MB")
				})
			}
		}
	}
}

// The products alone, to see what is left for the pairs.
func BenchmarkLoss1024Clean(b *testing.B) {
	batch := large(1024, 5, 512)
	grad := metrix.Gradient{Embeddings: make([]float32, len(batch.Embeddings))}
	l := loss(b, form(b, "multi_similarity", nil), 2)
	step := func() {
		_, err := l.Evaluate(grad, batch, metrix.Mix{}, 0, 1024)
		require.NoError(b, err)
	}
	step()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// A batch of 104 against a memory of 50 000 rows of 128, one of eight shards: 13 anchors.
func BenchmarkMemory50k(b *testing.B) {
	all := large(50_104, 4, 128)
	all.Proxies = nil
	split := appended(all, 104)
	grad := metrix.Gradient{Embeddings: make([]float32, len(split.Embeddings))}
	for _, name := range []string{"contrastive", "multi_similarity"} {
		b.Run(name, func(b *testing.B) {
			l := loss(b, form(b, name, nil), 1)
			for b.Loop() {
				_, err := l.Evaluate(grad, split, metrix.Mix{}, 0, 13)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(l.WorkspaceBytes())/1e6, "workspace-MB")
		})
	}
}
