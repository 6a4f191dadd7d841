// Customtrunk trains a trunk that the user built as a Gorgonia graph, with the rest of metrix as it
// is: the head, the flat parameter block and the engine are the project's own.
//
// The trunk is a two-layer perceptron on small images. The task is to tell the quadrant of a bright
// spot; the loss is the contrastive row of the generalised loss, written out: positives are drawn
// together, negatives pushed apart until their cosine is below a margin.
package main

import (
	"fmt"
	"os"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/draw"
	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

const (
	side    = 8
	hidden  = 32
	feature = 16
	dim     = 8
	rows    = 32
	classes = 4
	steps   = 200
)

func main() {
	first, last, err := train(steps)
	if err != nil {
		fmt.Fprintln(os.Stderr, "customtrunk:", err)
		os.Exit(1)
	}
	fmt.Printf("loss %.3f before, %.3f after %d steps\n", first, last, steps)
}

// network declares the trunk's parameters and output; how it computes is the engine's business.
func network() (*model.Network, error) {
	trunk := []model.Layer{&model.External{
		Name: "mlp",
		Params: []model.Declared{
			{Name: "w1", Shape: []int{3 * side * side, hidden}, Start: model.Kaiming, Decay: true},
			{Name: "w2", Shape: []int{hidden, feature}, Start: model.Kaiming, Decay: true},
		},
		Out: model.Shape{C: feature, H: 1, W: 1},
	}}
	head := []model.Layer{
		&model.Linear{Name: "embedding", In: feature, Out: dim, Bias: true},
		&model.L2Norm{},
	}
	return model.Assemble("custom", model.Shape{C: 3, H: side, W: side}, trunk, head)
}

// mlp is the trunk in Gorgonia's own operations: tanh(x w1) w2.
func mlp(g gorgonia.Graph) (*gg.Node, error) {
	n := g.X.Shape()[0]
	flat, err := gg.Reshape(g.X, tensor.Shape{n, 3 * side * side})
	if err != nil {
		return nil, err
	}
	h, err := gg.Mul(flat, g.Params["w1"])
	if err != nil {
		return nil, err
	}
	if h, err = gg.Tanh(h); err != nil {
		return nil, err
	}
	return gg.Mul(h, g.Params["w2"])
}

// train runs some steps of gradient descent and returns the loss of the first and the last.
func train(steps int) (first, last float64, err error) {
	m, err := network()
	if err != nil {
		return 0, 0, err
	}
	mem := engine.Memory{Params: make([]float32, m.NumParams()), Grads: make([]float32, m.NumParams())}
	m.Init(mem.Params, nil, 1)
	net, err := gorgonia.New(gorgonia.Custom("mlp", mlp)).Open(m, mem, engine.Options{Threads: 1})
	if err != nil {
		return 0, 0, err
	}
	defer net.Close()
	for s := range steps {
		x, labels := batch(uint64(s))
		if last, err = step(net, mem, x, labels); err != nil {
			return 0, 0, err
		}
		if s == 0 {
			first = last
		}
	}
	return first, last, nil
}

// step is forward, loss, backward and update.
func step(net engine.Net, mem engine.Memory, x []float32, labels []int) (float64, error) {
	const lr = 0.2
	clear(mem.Grads)
	trunk, err := net.Forward(model.Trunk, engine.Train, x, rows)
	if err != nil {
		return 0, err
	}
	head, err := net.Forward(model.Head, engine.Train, trunk.Out(), rows)
	if err != nil {
		return 0, err
	}
	loss, dEmbeddings := contrastive(head.Out(), labels)
	dFeatures, err := net.Backward(head, dEmbeddings, engine.Backward{Input: true})
	if err != nil {
		return 0, err
	}
	if _, err := net.Backward(trunk, dFeatures, engine.Backward{}); err != nil {
		return 0, err
	}
	for i, g := range mem.Grads {
		mem.Params[i] -= lr * g
	}
	return loss, nil
}

// contrastive is the mean over anchors of sum -s over positives plus sum [s - margin]+ over
// negatives, each divided by their number, and its gradient by the embeddings.
func contrastive(e []float32, labels []int) (loss float64, grad []float32) {
	const margin = 0.2
	grad = make([]float32, len(e))
	positives := float64(rows/classes - 1)
	negatives := float64(rows - rows/classes)
	for a := range rows {
		for b := range rows {
			s := cosine(e[a*dim:(a+1)*dim], e[b*dim:(b+1)*dim])
			var d float64 // of the loss by s
			switch {
			case a == b:
				continue
			case labels[a] == labels[b]:
				loss -= s / positives / rows
				d = -1 / positives / rows
			case s > margin:
				loss += (s - margin) / negatives / rows
				d = 1 / negatives / rows
			}
			for k := range dim {
				grad[a*dim+k] += float32(d) * e[b*dim+k]
				grad[b*dim+k] += float32(d) * e[a*dim+k]
			}
		}
	}
	return loss, grad
}

// cosine of unit vectors.
func cosine(a, b []float32) (s float64) {
	for k := range a {
		s += float64(a[k]) * float64(b[k])
	}
	return s
}

// batch draws noisy images with a bright spot in the quadrant that is their class.
func batch(number uint64) (x []float32, labels []int) {
	r := draw.Of(1, draw.Test, number)
	x = make([]float32, rows*3*side*side)
	for i := range x {
		x[i] = float32(0.3 * r.Norm())
	}
	for i := range rows {
		class := i % classes
		labels = append(labels, class)
		cx, cy := class%2*side/2+r.IntN(side/2), class/2*side/2+r.IntN(side/2)
		for c := range 3 {
			x[((i*3+c)*side+cy)*side+cx] += 3
		}
	}
	return x, labels
}
