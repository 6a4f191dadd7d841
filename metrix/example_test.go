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
	// Output: whole 0.0364, sum of shares 0.0364
}

// A loss of one's own: a soft margin on cosine, log(1 + e^x) of each side's plain sum.
func ExampleForm() {
	soft := func(x metrix.Sum) (y, dy float64) { // plain sums: x.Log is 0
		return math.Log1p(math.Exp(x.Value)), 1 / (1 + math.Exp(-x.Value))
	}
	part := func(slope float64) metrix.Part {
		return metrix.Part{Rho: metrix.Line(slope, 0.5), Sigma: soft}
	}
	form := metrix.Form{Name: "soft margin", Positive: part(-1), Negative: part(1)}
	loss, err := metrix.New(form, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := metrix.Batch{Embeddings: []float32{1, 0, 0.6, 0.8, 0, 1}, Labels: []int32{0, 0, 1}, Dim: 2}
	v, err := loss.Evaluate(metrix.Gradient{}, batch, metrix.Mix{}, 0, 3)
	fmt.Printf("%.4f %v\n", v.Clean, err)
	// Output: 1.3079 <nil>
}
