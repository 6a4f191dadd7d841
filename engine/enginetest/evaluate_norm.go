package enginetest

import (
	"fmt"
	"math"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/model"
)

// batchNorm normalises with statistics of the rows (Train) or with the running ones.
func (e *evaluation) batchNorm(l *model.BatchNorm, x rows) (rows, back, error) {
	area := x.shape.H * x.shape.W
	mean := view(e.model.Buffers[l.Mean], e.buffers)
	variance := view(e.model.Buffers[l.Var], e.buffers)
	channel := func(i int) int { return i / area % l.Channels }
	live := e.mode == engine.Train
	if live {
		m := float64(x.n * area)
		if m < 2 {
			return x, nil, fmt.Errorf("batch norm %s sees one value per channel", l.Name)
		}
		mean, variance = statistics(x.v, l.Channels, channel)
		for c := range l.Channels {
			view(e.model.Buffers[l.Mean], e.sums)[c] += mean[c]
			view(e.model.Buffers[l.Var], e.sums)[c] += variance[c] * m / (m - 1)
		}
	}
	y, b := e.normalise(x, channel, l.W, l.B, mean, variance, live)
	return y, b, nil
}

// groupNorm normalises each row's groups of channels.
func (e *evaluation) groupNorm(l *model.GroupNorm, x rows) (rows, back) {
	per := x.shape.Size() / l.Groups
	group := func(i int) int { return i / per }
	mean, variance := statistics(x.v, x.n*l.Groups, group)
	return e.normalise(x, group, l.W, l.B, mean, variance, true)
}

// statistics returns the mean and the biased variance of every set; set gives the set of a value.
func statistics(x []float64, sets int, set func(i int) int) (mean, variance []float64) {
	mean, variance = make([]float64, sets), make([]float64, sets)
	m := float64(len(x) / sets)
	for i, v := range x {
		mean[set(i)] += v / m
	}
	for i, v := range x {
		d := v - mean[set(i)]
		variance[set(i)] += d * d / m
	}
	return mean, variance
}

// normalise computes w (x - mean) / sqrt(variance + eps) + b. If live, the gradient goes through the
// statistics: dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(variance + eps) with g = w dy and means
// over the set.
func (e *evaluation) normalise(x rows, set func(i int) int, wRef, bRef model.Ref, mean, variance []float64, live bool) (rows, back) {
	area := x.shape.H * x.shape.W
	channel := func(i int) int { return i / area % x.shape.C }
	w, b := e.param(wRef), e.param(bRef)
	xhat, y := newRows(x.n, x.shape), newRows(x.n, x.shape)
	deviation := func(i int) float64 { return math.Sqrt(variance[set(i)] + model.NormEps) }
	for i, v := range x.v {
		xhat.v[i] = (v - mean[set(i)]) / deviation(i)
		y.v[i] = w[channel(i)]*xhat.v[i] + b[channel(i)]
	}
	return y, func(dy rows) rows {
		dx := newRows(x.n, x.shape)
		m1, m2 := make([]float64, len(mean)), make([]float64, len(mean))
		m := float64(len(x.v) / len(mean))
		for i, d := range dy.v {
			c := channel(i)
			e.grad(wRef)[c] += d * xhat.v[i]
			e.grad(bRef)[c] += d
			if live {
				m1[set(i)] += w[c] * d / m
				m2[set(i)] += w[c] * d * xhat.v[i] / m
			}
		}
		for i, d := range dy.v {
			dx.v[i] = (w[channel(i)]*d - m1[set(i)] - xhat.v[i]*m2[set(i)]) / deviation(i)
		}
		return dx
	}
}
