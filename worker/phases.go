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

func newPhases(hist metric.Float64Histogram, now clock) *phases {
	return &phases{now: now, total: map[string]time.Duration{}, hist: hist}
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
