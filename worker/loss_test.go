package worker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine"
	"github.com/metrixml/metrix/engine/gorgonia"
	"github.com/metrixml/metrix/internal/exact"
	"github.com/metrixml/metrix/metrix"
)

// deviceLoss is package metrix behind what a device takes and gives. It keeps copies of a step's rows, as
// a device does.
type deviceLoss struct {
	loss   *metrix.Loss
	shares *atomic.Int64
	batch  metrix.Batch
	mix    metrix.Mix
	sums   engine.Sums
	failed error // of a summand
}

// Comparison refuses what is no sum over pairs.
func (d *deviceNet) Comparison(l engine.Loss) (engine.Comparison, error) {
	params := maps.Clone(l.Params)
	delete(params, "nonzero") // the reduction says it
	f, err := metrix.NewFormReduced(l.Form, params, l.Reduction)
	switch {
	case err != nil:
		return nil, err
	case f.Listwise != nil:
		return nil, fmt.Errorf("loss form %s is not computed here", l.Form)
	case l.ProxyAnchors != (f.Anchors == metrix.Proxy), l.ProxyCandidates != (f.Candidates == metrix.Proxy), l.OverPresent != f.MeanOverPresent:
		return nil, fmt.Errorf("loss form %s is described wrongly", l.Form)
	}
	loss, err := metrix.New(f, 1)
	return &deviceLoss{loss: loss, shares: d.shares}, err
}

func (d *deviceLoss) Begin(b engine.Batch) error {
	d.sums, d.failed = engine.Sums{Rows: make([]int64, len(b.Rows)), Proxies: make([]int64, len(b.Proxies))}, nil
	d.batch = metrix.Batch{Embeddings: slices.Clone(b.Rows), Labels: b.Labels, Dim: b.Dim, Proxies: slices.Clone(b.Proxies)}
	m := b.Mix
	d.mix = metrix.Mix{Weight: m.Weight, Hardest: m.Hardest, Lambda: m.Lambda, PerPair: m.PerPair}
	if m.AnchorNegative {
		d.mix.Pairs = metrix.AnchorNegative
	}
	if r := m.Rows; r != nil {
		d.sums.Mixed = make([]int64, len(r.Rows))
		d.mix.Rows = &metrix.MixedRows{Embeddings: slices.Clone(r.Rows), First: r.First, Second: r.Second, Lambda: r.Lambda}
	}
	return nil
}

func (d *deviceLoss) Share(grad engine.Gradients, lo, hi int) (clean, mixed float64, err error) {
	d.shares.Add(1)
	v, err := d.loss.Evaluate(metrix.Gradient{Embeddings: grad.Rows, Proxies: grad.Proxies, Mixed: grad.Mixed}, d.batch, d.mix, lo, hi)
	return v.Clean, v.Mixed, err
}

func (d *deviceLoss) Sum(lo, hi, n int) (clean, mixed float64, err error) {
	grad := engine.Gradients{Rows: make([]float32, len(d.sums.Rows)), Proxies: make([]float32, len(d.sums.Proxies))}
	if d.mix.Rows != nil {
		grad.Mixed = make([]float32, len(d.sums.Mixed))
	}
	clean, mixed, err = d.Share(grad, lo, hi)
	d.failed = errors.Join(d.failed, exact.Add(d.sums.Rows, grad.Rows, n), exact.Add(d.sums.Proxies, grad.Proxies, n), exact.Add(d.sums.Mixed, grad.Mixed, n))
	return clean, mixed, err
}

func (d *deviceLoss) Collect(acc engine.Sums) error {
	for i, x := range [][]int64{acc.Rows, acc.Proxies, acc.Mixed} {
		for k, v := range [][]int64{d.sums.Rows, d.sums.Proxies, d.sums.Mixed}[i] {
			x[k] += v
		}
	}
	return d.failed
}

var (
	_ engine.Comparer = (*deviceNet)(nil)
	_ engine.Summer   = (*deviceLoss)(nil)
)

// Where the loss is evaluated is decided before the first step, and said.
func TestPlaceOfTheLoss(t *testing.T) {
	for _, c := range []struct {
		set    []string
		host   bool // an engine that does not compare
		placed bool
		said   string
	}{
		{nil, true, false, ""},
		{nil, false, true, `msg="the loss is evaluated where the network computes" form=multi_similarity reduction=paper`},
		{[]string{"loss.form=contrastive", "loss.reduction=mean"}, false, true, "form=contrastive reduction=mean"},
		{[]string{"loss.form=proxy_nca"}, false, true, "form=proxy_nca"},
		{[]string{"loss.form=triplet", "mix.level=none"}, false, false, `msg="the loss is evaluated on the host" reason="loss form triplet is not computed here"`},
		{[]string{"memory.size=60"}, false, false, `msg="the loss is evaluated on the host" reason="memory.size is above 0, and the memory is on the host"`},
	} {
		t.Run(fmt.Sprint(c.set, c.host), func(t *testing.T) {
			var said bytes.Buffer
			cfg := Config{Recipe: parse(t, c.set...), Data: images(t), Engine: onDevice(), Threads: 1, Out: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&said, nil))}
			if c.host {
				cfg.Engine = gorgonia.New()
			}
			tr, err := newTrainer(&cfg)
			require.NoError(t, err)
			require.NoError(t, tr.close())
			require.Equal(t, c.placed, tr.comparison != nil)
			require.Contains(t, said.String(), c.said)
		})
	}
}

// What could not be compared is refused before it reaches the device.
func TestDeviceComparesCheckedRowsOnly(t *testing.T) {
	cfg := Config{Recipe: parse(t), Data: images(t), Engine: onDevice(), Threads: 1, Out: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	tr, err := newTrainer(&cfg)
	require.NoError(t, err)
	_, err = tr.beginLoss(&batch{labels: make([]int32, tr.sampler.Rows())}, metrix.Mix{})
	require.ErrorContains(t, err, "embedding row 0 has norm 0")
	require.NoError(t, tr.close())
}
