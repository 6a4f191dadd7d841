package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// phases accumulates the seconds that each part of the step takes. Waiting for other workers is
// inside the communication phases: allreduce.Ring's own statistics say whom it was waited for.
type phases struct {
	now     clock
	total   map[string]time.Duration
	started time.Time
	hist    metric.Float64Histogram
}

func newPhases(meter metric.Meter, now clock) (*phases, error) {
	h, err := meter.Float64Histogram("metrix.step.phase.duration", metric.WithUnit("s"),
		metric.WithDescription("Seconds spent in one phase of a training step."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10))
	if err != nil {
		return nil, err
	}
	return &phases{now: now, total: map[string]time.Duration{}, hist: h}, nil
}

// start begins the clock of the next phase.
func (p *phases) start() { p.started = p.now() }

// done books the time since the last start or done under name.
func (p *phases) done(name string) {
	now := p.now()
	d := now.Sub(p.started)
	p.started = now
	p.total[name] += d
	p.hist.Record(context.Background(), d.Seconds(), metric.WithAttributes(attribute.String("phase", name)))
}

// seconds returns the totals so far.
func (p *phases) seconds() map[string]float64 {
	out := make(map[string]float64, len(p.total))
	for name, d := range p.total {
		out[name] = d.Seconds()
	}
	return out
}

// sum is the time of all phases together.
func (p *phases) sum() time.Duration {
	var total time.Duration
	for _, d := range p.total {
		total += d
	}
	return total
}
