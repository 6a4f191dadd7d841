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
