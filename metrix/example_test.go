package metrix_test

import (
	"fmt"
	"math"

	"github.com/metrixml/metrix/metrix"
)

// Two workers share a batch of four: each evaluates its own anchors against all rows, and the sum
// of what they return is the loss of the batch.
func ExampleLoss_Evaluate() {
	rows := []float32{1, 0, 0.9, 0.3, 0, 1, 0.2, 0.8}
	metrix.Normalize(rows, rows, 2)
	batch := metrix.Batch{Embeddings: rows, Labels: []int32{0, 0, 1, 1}, Dim: 2}
	mix := metrix.DrawMix(metrix.DefaultMixConfig(), 1, 0)

	form, err := metrix.NewForm("multi_similarity", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var sum metrix.Value
	grad := metrix.Gradient{Embeddings: make([]float32, len(rows))}
	for _, anchors := range [][2]int{{0, 3}, {3, 4}, {0, 4}} {
		loss, err := metrix.New(form, 1)
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := loss.Evaluate(grad, batch, mix, anchors[0], anchors[1])
		if err != nil {
			fmt.Println(err)
			return
		}
		if anchors == [2]int{0, 4} {
			fmt.Printf("whole %.4f, sum of shares %.4f\n", v.Total, sum.Total)
			return
		}
		sum = sum.Add(v)
	}
	// Output: whole 0.1213, sum of shares 0.1213
}

// A loss of one's own: binomial deviance as first proposed, log(1 + e^x) of every pair rather than
// of the sum over pairs.
func ExampleForm() {
	softplus := func(slope float64) metrix.Scalar {
		return func(s float64) (y, dy float64) {
			e := math.Exp(slope * (s - 0.5))
			return math.Log1p(e), slope * e / (1 + e)
		}
	}
	form := metrix.Form{
		Name:     "pairwise binomial deviance",
		Positive: metrix.Part{Rho: softplus(-2), Sigma: metrix.Identity},
		Negative: metrix.Part{Rho: softplus(5), Sigma: metrix.Identity},
	}
	loss, err := metrix.New(form, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := metrix.Batch{Embeddings: []float32{1, 0, 0.6, 0.8, 0, 1}, Labels: []int32{0, 0, 1}, Dim: 2}
	v, err := loss.Evaluate(metrix.Gradient{}, batch, metrix.Mix{Weight: 0.4, Lambda: 0.4}, 0, 3)
	fmt.Printf("%.4f + 0.4 x %.4f = %.4f, %v\n", v.Clean, v.Mixed, v.Total, err)
	// Output: 1.5856 + 0.4 x 0.7366 = 1.8803, <nil>
}

// A new form in under 30 lines: the circle loss (Sun et al. 2020) without its self-paced weights,
//
//	log( 1 + SUM_n e^{g(s_n + m)} SUM_p e^{-g(s_p - 1 + m)} ),
//
// is tau(x) = log(1 + e^x) of the sum of two logarithms. Its four functions state their
// derivatives; ranges, threads, memory and mixing at every level come with them. (An anchor that
// lacks one side is judged by the other alone.)
func ExampleForm_newForm() {
	const g, m = 8, 0.25
	circle := metrix.Form{
		Name: "circle",
		Tau: func(x float64) (y, dy float64) {
			return math.Log1p(math.Exp(x)), 1 / (1 + math.Exp(-x))
		},
		// rho is given by its exponent, so that no sum of exponentials overflows.
		Positive: metrix.Part{Rho: metrix.Line(-g, 1-m), Exponential: true, Sigma: metrix.Log(1)},
		Negative: metrix.Part{Rho: metrix.Line(g, -m), Exponential: true, Sigma: metrix.Log(1)},
	}
	loss, err := metrix.New(circle, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := metrix.Batch{Embeddings: []float32{1, 0, 0.6, 0.8, 0, 1}, Labels: []int32{0, 0, 1}, Dim: 2}
	grad := metrix.Gradient{Embeddings: make([]float32, 6)}
	v, err := loss.Evaluate(grad, batch, metrix.Mix{Weight: 0.4, Lambda: 0.4}, 0, 3)
	fmt.Printf("%.4f + 0.4 x %.4f = %.4f, %v\n", v.Clean, v.Mixed, v.Total, err)
	// Output: 7.0806 + 0.4 x 4.6139 = 8.9262, <nil>
}

// Mixing inside the network: the pairs are chosen on the clean embeddings, the operator mixes
// feature maps (here: what the head is given), the head embeds the mixes, and the gradient by them
// goes back through the head and the operator's transpose to both partners.
func ExampleMixedRows() {
	const width = 3 // floats of a feature map
	features := []float32{2, 0, 0, 1, 1, 0, 0, 1, 1, 0, 2, 1}
	head := func(dst, x []float32) { metrix.Normalize(dst, x, width) }
	embeddings := make([]float32, len(features))
	head(embeddings, features)
	batch := metrix.Batch{Embeddings: embeddings, Labels: []int32{0, 0, 1, 1}, Dim: width}

	cfg := metrix.DefaultMixConfig()
	cfg.Level, cfg.Hardest = metrix.LevelFeature, 1
	mix := metrix.DrawMix(cfg, 1, 0)
	first, second, err := metrix.ChoosePairs(batch, metrix.PairChoice{Hardest: mix.Hardest, Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	rows := &metrix.MixedRows{First: first, Second: second, Lambda: mix.Lambdas(batch.Size(), first, second)}
	mixed := make([]float32, len(first)*width)
	rows.Operator().Apply(mixed, features, width)
	rows.Embeddings = make([]float32, len(mixed))
	head(rows.Embeddings, mixed)
	mix.Rows = rows

	form, err := metrix.NewForm("multi_similarity", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	loss, err := metrix.New(form, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	grad := metrix.Gradient{Embeddings: make([]float32, len(features)), Mixed: make([]float32, len(mixed))}
	v, err := loss.Evaluate(grad, batch, mix, 0, batch.Size())
	byFeature := make([]float32, len(features))
	metrix.NormalizeBackward(byFeature, grad.Embeddings, features, width) // the head, backwards
	byMixed := make([]float32, len(mixed))
	metrix.NormalizeBackward(byMixed, grad.Mixed, mixed, width)
	rows.Operator().Transpose(byFeature, byMixed, width)
	fmt.Println(mix.Level, mix.Pairs, first, second)
	fmt.Printf("%.4f, %v\n", v.Total, err)
	// Output:
	// feature anchor_negative [0 1 2 3] [2 3 1 1]
	// 0.0831, <nil>
}
