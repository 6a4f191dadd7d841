// Command losses holds the loss of package metrix against that of the PyTorch twin, on the same rows:
//
//	python3 bench/peers/icons_losses.py | go run ./bench/losses
//
// It prints for each case the two values and the largest difference of the gradients by clean rows,
// mixed rows and proxies, relative to the largest gradient, and exits with 1 if one is above 1e-5.
// Gradients by unit rows are compared in the tangent plane: what points along a row is removed by the
// normalisation before it, and s(a, a) is a constant to one side and a product to the other.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/metrixml/metrix/metrix"
)

const (
	weight    = 0.4
	tolerance = 1e-5
)

// testCase is one loss with one way of mixing: what goes in and what the twin makes of it.
type testCase struct {
	Name, Form, Reduction, Level string
	Params                       map[string]float64
	AnchorNegative               bool
	Hardest                      int
	Lambda                       float64

	Dim                  int
	Labels               []int32
	Rows, Proxies, Mixed []float32 // Mixed: embeddings of the mixed rows, below the embedding level
	First, Second        []int32   // of each mixed row

	Loss                           float64
	ByRows, ByProxies, ByMixedRows []float64
}

func main() {
	var cases []testCase
	err := json.NewDecoder(os.Stdin).Decode(&cases)
	for _, c := range cases {
		err = errors.Join(err, c.compare())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compare evaluates the case and prints how far the two sides are apart.
func (c *testCase) compare() error {
	form, err := metrix.NewFormReduced(c.Form, c.Params, c.Reduction)
	if err != nil {
		return err
	}
	loss, err := metrix.New(form, 1)
	if err != nil {
		return err
	}
	batch := metrix.Batch{Embeddings: c.Rows, Labels: c.Labels, Dim: c.Dim}
	grad := metrix.Gradient{Embeddings: make([]float32, len(c.Rows)), Mixed: make([]float32, len(c.Mixed))}
	anchors := len(c.Labels)
	if form.UsesProxies() {
		batch.Proxies, grad.Proxies, anchors = c.Proxies, make([]float32, len(c.Proxies)), len(c.Proxies)/c.Dim
	}
	mix, err := c.mix(batch)
	if err != nil {
		return err
	}
	if mix.Rows == nil {
		grad.Mixed = nil
	}
	value, err := loss.Evaluate(grad, batch, mix, 0, anchors)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	apart := max(apart(value.Total, c.Loss), c.tangent(grad.Embeddings, c.ByRows, c.Rows),
		c.tangent(grad.Mixed, c.ByMixedRows, c.Mixed), c.tangent(grad.Proxies, c.ByProxies, nil))
	fmt.Printf("%-52s ours %11.6f  twin %11.6f  farthest apart %.1e\n", c.Name, value.Total, c.Loss, apart)
	if !(apart < tolerance) {
		return fmt.Errorf("losses: %s: value or gradient are %.1e apart, more than %.0e", c.Name, apart, tolerance)
	}
	return nil
}

// mix is what the case mixes. Pairs that go through the network must be those that ChoosePairs chooses.
func (c *testCase) mix(b metrix.Batch) (metrix.Mix, error) {
	if c.Level == metrix.LevelNone {
		return metrix.Mix{Level: c.Level}, nil
	}
	m := metrix.Mix{Level: c.Level, Weight: weight, Lambda: c.Lambda, Hardest: c.Hardest}
	if c.AnchorNegative {
		m.Pairs = metrix.AnchorNegative
	}
	if len(c.Mixed) == 0 {
		return m, nil
	}
	first, second, err := metrix.ChoosePairs(b, metrix.PairChoice{Hardest: c.Hardest, Threads: 1})
	if err != nil {
		return m, err
	}
	if !slices.Equal(first, c.First) || !slices.Equal(second, c.Second) {
		return m, fmt.Errorf("losses: %s: the two sides mix different pairs", c.Name)
	}
	m.Rows = &metrix.MixedRows{Embeddings: c.Mixed, First: first, Second: second, Lambda: m.Lambdas(len(c.Labels), first, second)}
	return m, nil
}

// tangent is the largest difference of two gradients relative to the largest value of the twin's, both
// without what points along the unit rows, where rows are given.
func (c *testCase) tangent(ours []float32, twin []float64, rows []float32) float64 {
	if len(ours) != len(twin) {
		return math.Inf(1)
	}
	var difference, largest float64
	for at := 0; at < len(ours); at += c.Dim {
		var along float64
		for k := range c.Dim {
			if rows != nil {
				along += (float64(ours[at+k]) - twin[at+k]) * float64(rows[at+k])
			}
		}
		for k := range c.Dim {
			d := float64(ours[at+k]) - twin[at+k]
			if rows != nil {
				d -= along * float64(rows[at+k])
			}
			difference, largest = max(difference, math.Abs(d)), max(largest, math.Abs(twin[at+k]))
		}
	}
	if largest == 0 {
		return difference
	}
	return difference / largest
}

func apart(a, b float64) float64 { return math.Abs(a-b) / max(math.Abs(b), 1e-30) }
