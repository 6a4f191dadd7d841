package gorgonia

import (
	"fmt"
	"math"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
	gg "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// norm is a normalisation of n x C planes: y = w_c (x - mean) inv + b_c, then possibly a ReLU, with
// a mean and an inverse deviation for every plane. Group norm, live and frozen batch norm differ only in
// which planes share their statistics, and in whether these depend on x:
//
//	group    the planes of one group of channels of one row
//	batch    the planes of one channel
//	fixed    statistics are given; the gradient does not go through them
//
// Gorgonia's BatchNorm has no gradient in evaluation mode and keeps its statistics where the caller
// cannot fold them over workers, so it is not used.
type norm struct {
	p        *program
	name     string
	w, b     model.Ref
	shape    model.Shape
	area     int
	kind     normKind
	groups   int // group
	mean     model.Ref
	variance model.Ref // of the buffers; batch and fixed
	relu     bool

	mu, inv []float32 // per plane, set by forward
}

type normKind uint8

const (
	groupKind normKind = iota
	batchKind
	fixedKind
)

// groupNorm adds a group norm.
func (p *program) groupNorm(l *model.GroupNorm, x *gg.Node, in model.Shape, relu bool) (*gg.Node, error) {
	return p.norm(&norm{name: l.Name, w: l.W, b: l.B, kind: groupKind, groups: l.Groups, relu: relu}, x, in)
}

// batchNorm adds a batch norm in the program's mode.
func (p *program) batchNorm(l *model.BatchNorm, x *gg.Node, in model.Shape, relu bool) (*gg.Node, error) {
	kind := fixedKind
	if p.mode == engine.Train {
		kind = batchKind
	}
	return p.norm(&norm{name: l.Name, w: l.W, b: l.B, kind: kind, mean: l.Mean, variance: l.Var, relu: relu}, x, in)
}

func (p *program) norm(n *norm, x *gg.Node, in model.Shape) (*gg.Node, error) {
	n.p, n.shape, n.area = p, in, in.H*in.W
	n.mu, n.inv = make([]float32, p.n*in.C), make([]float32, p.n*in.C)
	o := &op{name: n.name, out: p.rows(in), run: n.forward, diff: n.diff, wrt: []bool{true, true, true}}
	return p.apply(o, x, p.param(n.w), p.param(n.b))
}

// planes calls do for every plane, over the threads.
func (n *norm) planes(do func(i, channel, lo, hi int)) {
	parallel(n.p.net.threads, n.p.n*n.shape.C, func(_, i int) {
		do(i, i%n.shape.C, i*n.area, (i+1)*n.area)
	})
}

func (n *norm) forward(y []float32, in [][]float32) error {
	x, w, b := in[0], in[1], in[2]
	if err := n.statistics(x); err != nil {
		return err
	}
	n.planes(func(i, c, lo, hi int) {
		scale := w[c] * n.inv[i]
		shift := b[c] - n.mu[i]*scale
		dst, src := y[lo:hi], x[lo:hi]
		if !n.relu {
			for j, v := range src {
				dst[j] = v*scale + shift
			}
			return
		}
		for j, v := range src {
			dst[j] = positive(v*scale + shift)
		}
	})
	return nil
}

// statistics sets mu and inv of every plane.
func (n *norm) statistics(x []float32) error {
	C := n.shape.C
	if n.kind == fixedKind {
		mean, variance := n.p.net.buffer(n.mean), n.p.net.buffer(n.variance)
		for i := range n.mu {
			n.mu[i] = mean[i%C]
			n.inv[i] = float32(1 / math.Sqrt(float64(variance[i%C])+model.NormEps))
		}
		return nil
	}
	if n.kind == batchKind && n.p.n*n.area < 2 {
		return fmt.Errorf("live batch norm %s sees one value per channel, which has no variance: use more rows or larger images", n.name)
	}
	sums := make([][2]float64, n.p.n*C)
	n.planes(func(i, _, lo, hi int) { sums[i] = moments(x[lo:hi]) })
	for i, members := range n.sets() {
		var s [2]float64
		for k := range members.count {
			s[0] += sums[members.first+k*members.step][0]
			s[1] += sums[members.first+k*members.step][1]
		}
		m := float64(members.count * n.area)
		mean := s[0] / m
		variance := max(0, s[1]/m-mean*mean)
		members.fill(n.mu, float32(mean))
		members.fill(n.inv, float32(1/math.Sqrt(variance+model.NormEps)))
		if n.kind == batchKind {
			n.p.net.bufferSum(n.mean)[i] += float32(mean)
			n.p.net.bufferSum(n.variance)[i] += float32(variance * m / (m - 1))
		}
	}
	return nil
}

// planeSet is an arithmetic sequence of planes that share their statistics.
type planeSet struct{ first, step, count int }

func (s planeSet) fill(dst []float32, v float32) {
	for k := range s.count {
		dst[s.first+k*s.step] = v
	}
}

// sets lists the sets of planes that share statistics: channel by channel for batch norm, row by row
// and group by group for group norm.
func (n *norm) sets() []planeSet {
	C := n.shape.C
	if n.kind == batchKind {
		sets := make([]planeSet, C)
		for c := range sets {
			sets[c] = planeSet{c, C, n.p.n}
		}
		return sets
	}
	per := C / n.groups
	sets := make([]planeSet, n.p.n*n.groups)
	for i := range sets {
		sets[i] = planeSet{i * per, 1, per}
	}
	return sets
}

// moments returns the sum and the sum of squares of x. In double precision the variance follows from
// them without loss.
func moments(x []float32) [2]float64 {
	var s0, s1, q0, q1 float64
	i := 0
	for ; i+1 < len(x); i += 2 {
		a, b := float64(x[i]), float64(x[i+1])
		s0 += a
		s1 += b
		q0 += a * a
		q1 += b * b
	}
	if i < len(x) {
		a := float64(x[i])
		s0 += a
		q0 += a * a
	}
	return [2]float64{s0 + s1, q0 + q1}
}

// diff builds the gradients. All need, per plane, the sums of dy and of dy (x - mean) inv, which are an op of
// their own:
//
//	dw_c = sum of the second, db_c = sum of the first, over rows
//	dx   = inv (w_c dy - M1 - xhat M2)
//
// with M1 and M2 the means of w dy and of w dy xhat over the planes that share statistics, 0 if these
// are fixed. Behind a ReLU dy counts only where y > 0.
func (n *norm) diff(in gg.Nodes, y, dy *gg.Node) (gg.Nodes, error) {
	sums, err := n.sumsOp(in[0], y, dy)
	if err != nil {
		return nil, err
	}
	db, err := n.paramOp(".bias'", n.b, 0, sums)
	if err != nil {
		return nil, err
	}
	dw, err := n.paramOp(".weight'", n.w, 1, sums)
	if err != nil {
		return nil, err
	}
	d := &op{name: n.name + ".input'", out: n.p.rows(n.shape)}
	d.run = n.p.inputGrad(in[0], n.inputGrad)
	dx, err := n.p.apply(d, in[0], y, dy, sums, in[1], db, dw)
	return gg.Nodes{dx, dw, db}, err
}

func (n *norm) sumsOp(x, y, dy *gg.Node) (*gg.Node, error) {
	o := &op{name: n.name + ".sums", out: tensor.Shape{n.p.n * n.shape.C, 2}}
	o.run = func(dst []float32, in [][]float32) error {
		x, y, dy := in[0], in[1], in[2]
		n.planes(func(i, _, lo, hi int) {
			var s [2]float64
			if n.relu {
				s = gatedSums(x[lo:hi], y[lo:hi], dy[lo:hi])
			} else {
				s = dotSums(x[lo:hi], dy[lo:hi])
			}
			dst[2*i] = float32(s[0])
			dst[2*i+1] = float32((s[1] - s[0]*float64(n.mu[i])) * float64(n.inv[i]))
		})
		return nil
	}
	return n.p.apply(o, x, y, dy)
}

// dotSums returns the sums of d and of d x, with two accumulators each so that additions overlap.
func dotSums(x, d []float32) [2]float64 {
	var s0, s1, q0, q1 float64
	d = d[:len(x)]
	i := 0
	for ; i+1 < len(x); i += 2 {
		a, b := float64(d[i]), float64(d[i+1])
		s0 += a
		s1 += b
		q0 += a * float64(x[i])
		q1 += b * float64(x[i+1])
	}
	if i < len(x) {
		s0 += float64(d[i])
		q0 += float64(d[i]) * float64(x[i])
	}
	return [2]float64{s0 + s1, q0 + q1}
}

// gatedSums is dotSums where y > 0.
func gatedSums(x, y, d []float32) [2]float64 {
	var s0, s1, q0, q1 float64
	d, y = d[:len(x)], y[:len(x)]
	i := 0
	for ; i+1 < len(x); i += 2 {
		a, b := float64(gate(d[i], y[i])), float64(gate(d[i+1], y[i+1]))
		s0 += a
		s1 += b
		q0 += a * float64(x[i])
		q1 += b * float64(x[i+1])
	}
	if i < len(x) {
		a := float64(gate(d[i], y[i]))
		s0 += a
		q0 += a * float64(x[i])
	}
	return [2]float64{s0 + s1, q0 + q1}
}

// paramOp adds, per channel, one of the two sums over all rows to Grads.
func (n *norm) paramOp(suffix string, ref model.Ref, which int, sums *gg.Node) (*gg.Node, error) {
	o := n.p.gradOp(n.name+suffix, ref)
	o.run = n.p.paramGrad(ref, func(dst []float32, in [][]float32) error {
		for c := range dst {
			var sum float64
			for i := range n.p.n {
				sum += float64(in[0][2*(i*n.shape.C+c)+which])
			}
			dst[c] += float32(sum)
		}
		return nil
	})
	return n.p.apply(o, sums)
}

// inputGrad computes dx = a dy + b x + c with three numbers per plane.
func (n *norm) inputGrad(dx []float32, in [][]float32) error {
	x, y, dy, sums, w := in[0], in[1], in[2], in[3], in[4]
	coef := n.coefficients(sums, w)
	n.planes(func(i, _, lo, hi int) {
		a, b, c := coef[i][0], coef[i][1], coef[i][2]
		dst, x, y, dy := dx[lo:hi], x[lo:hi], y[lo:hi], dy[lo:hi]
		if !n.relu {
			for j, v := range x {
				dst[j] = a*dy[j] + (b*v + c)
			}
			return
		}
		for j, v := range x {
			dst[j] = a*gate(dy[j], y[j]) + (b*v + c)
		}
	})
	return nil
}

func (n *norm) coefficients(sums, w []float32) [][3]float32 {
	C := n.shape.C
	coef := make([][3]float32, n.p.n*C)
	for i := range coef {
		coef[i][0] = w[i%C] * n.inv[i]
	}
	if n.kind == fixedKind {
		return coef
	}
	for _, members := range n.sets() {
		var m1, m2 float64
		for k := range members.count {
			i := members.first + k*members.step
			m1 += float64(w[i%C]) * float64(sums[2*i])
			m2 += float64(w[i%C]) * float64(sums[2*i+1])
		}
		m := float64(members.count * n.area)
		inv, mu := float64(n.inv[members.first]), float64(n.mu[members.first])
		m1, m2 = m1/m, m2/m
		for k := range members.count {
			i := members.first + k*members.step
			coef[i][1] = float32(-inv * inv * m2)
			coef[i][2] = float32(inv * (inv*m2*mu - m1))
		}
	}
	return coef
}
